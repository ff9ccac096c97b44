"""The critic: its verdicts, how it is trained, and the figures that are told of it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.core.checkpoint import load
from musegen.errors import DataError
from musegen.music import vocabulary as v
from musegen.music.critic import Critic, CriticConfig
from musegen.music.critic_task import CriticTask, CriticTaskConfig, accuracy, auc
from musegen.train.loop import run
from musegen.train.recipe import TrainConfig
from musegen.train.shards import prepare
from musegen.train.task import OptimizerConfig

TINY = CriticConfig(d_model=8, d_hidden=4, dropout=0.0)


def batch_of(item: object, shift: float) -> tuple[dict, dict[str, np.ndarray]]:
    """Four pieces and what was written in their place, which differs from them by `shift` in one channel."""
    split, number = str(item).split()
    rng = np.random.default_rng(int(number))
    lengths = rng.integers(5, 60, size=8)
    is_real = [1, 0] * 4
    states = [
        rng.normal(size=(n, 8)) + np.array([shift * real] + 7 * [0]) for n, real in zip(lengths, is_real, strict=True)
    ]
    pieces = [4 * int(number) + place // 2 for place in range(8)]
    record = {"split": split, "piece": pieces, "is_real": is_real, "n": lengths.tolist()}
    return record, {"hidden": np.concatenate(states).astype(np.float16).ravel()}


def made(folder: Path, shift: float) -> Path:
    items = [f"{'train' if n < 12 else 'valid'} {n}" for n in range(24)]
    meta = {"vocabulary": v.fingerprint(), "muse": "some weights", "d_model": 8}
    prepare(items, partial(batch_of, shift=shift), folder, meta=meta, n_workers=1, chunk=1)
    return folder


def trained(folder: Path, shift: float, steps: int) -> dict[str, float]:
    torch.manual_seed(0)
    data = made(folder / "data", shift)
    task = CriticTask(TINY, CriticTaskConfig(data, batch_size=16, n_positions=32, optimizer=OptimizerConfig(lr=3e-2)))
    config = TrainConfig(steps=steps, validate_every=20, precision="32-true", accelerator="cpu")
    run(task, config, folder / "run")
    return load(folder / "run" / "best").config["training"]["metrics"]


def test_it_learns_to_tell_what_differs_and_nothing_where_nothing_does(tmp_path: Path):
    differing = trained(tmp_path / "differing", shift=1.0, steps=60)
    assert differing["valid_accuracy"] > 0.9 and differing["valid_auc"] > 0.95
    assert differing["valid_nats"] < 0.6
    assert differing["valid_pieces"] == 48
    alike = trained(tmp_path / "alike", shift=0.0, steps=60)
    assert abs(alike["valid_auc"] - 0.5) < 3 * alike["valid_auc_se"]
    assert 0.03 < alike["valid_accuracy_se"] < 0.1  # 96 verdicts, half of them right: 0.05


def test_the_checkpoint_names_the_muse(tmp_path: Path):
    task = CriticTask(TINY, CriticTaskConfig(made(tmp_path, 1.0)))
    assert task.checkpoint_config()["muse"] == "some weights"


def test_pieces_that_choose_the_weights_are_neither_learned_from_nor_held_out(tmp_path: Path):
    task = CriticTask(TINY, CriticTaskConfig(made(tmp_path, 1.0)))
    parts = [{one.piece for one in part} for part in (task.train, task.held_back, task.valid)]
    assert [len(part) for part in parts] == [42, 6, 48]
    assert len(set.union(*parts)) == 96


def test_a_batch_is_pairs_of_a_real_piece_and_one_written_in_its_place(tmp_path: Path):
    task = CriticTask(TINY, CriticTaskConfig(made(tmp_path, 100.0), batch_size=8, n_positions=16))
    hidden, counted, is_real = task.batch("verdict", 0, np.random.default_rng(0))
    assert hidden.shape[0] == 8 and hidden.shape[1] <= 16
    assert is_real.tolist() == [False, True] * 4
    means = np.array([row[used, 0].mean() for row, used in zip(hidden.astype(float), counted, strict=True)])
    assert (means[is_real] > 90).all() and (means[~is_real] < 10).all()


def test_data_of_another_muse_or_none_is_refused(tmp_path: Path):
    data = made(tmp_path / "data", 1.0)
    with pytest.raises(DataError, match="width 8, not 16"):
        CriticTask(CriticConfig(d_model=16), CriticTaskConfig(data))
    prepare(["train 1"], partial(batch_of, shift=0.0), tmp_path / "other", meta={}, n_workers=1)
    with pytest.raises(DataError, match="musegen data critic"):
        CriticTask(TINY, CriticTaskConfig(tmp_path / "other"))


def test_a_verdict_does_not_depend_on_what_lies_beside_it():
    torch.manual_seed(1)
    critic = Critic(TINY).eval()
    torch.nn.init.normal_(critic.head.weight)
    short, long = torch.randn(1, 5, 8), torch.randn(1, 9, 8)
    both = torch.full((2, 9, 8), torch.nan).nan_to_num(7.0)
    both[0, :5], both[1] = short[0], long[0]
    counted = torch.arange(9) < torch.tensor([[5], [9]])
    alone = torch.cat([critic(one, torch.ones(one.shape[:2], dtype=torch.bool)) for one in (short, long)])
    torch.testing.assert_close(critic(both, counted), alone)


def test_figures_by_hand():
    logits, is_real = np.array([2.0, -1.0, 0.5, 0.5], dtype=np.float32), np.array([True, True, False, False])
    assert accuracy(logits, is_real) == (0.5 + 0.0) / 2
    assert auc(logits, is_real) == 0.5
    assert auc(np.array([1.0, 1.0], dtype=np.float32), np.array([True, False])) == 0.5  # a tie
