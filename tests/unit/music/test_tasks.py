"""What Muse is trained on: batches, targets, weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.errors import DataError
from musegen.music import vocabulary as v
from musegen.music.corpus import prepare_corpus
from musegen.music.features import FEATURES
from musegen.music.grid import VELOCITY, GridScore
from musegen.music.muse import MuseConfig
from musegen.music.reference import grid_of
from musegen.music.tasks import MuseTask, MuseTaskConfig

TINY = MuseConfig(d_model=32, n_heads=4, n_layers=1, context=128, block=16, n_summary=2)


def write_piece(path: Path, seed: int, n_notes: int):
    rng = np.random.default_rng(seed)
    n_bars = n_notes // 8 + 1
    meters = np.full(n_bars, v.METER_INDEX[4, 4])
    columns = (np.arange(n_notes) * 12, rng.choice([0, 17, 38], n_notes), rng.integers(45, 80, n_notes))
    lengths = (np.full(n_notes, 12), rng.integers(0, 8, n_notes))
    path.parent.mkdir(parents=True, exist_ok=True)
    GridScore(meters, np.full(n_bars, 30), np.stack([*columns, *lengths], 1)).to_score().write(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Long pieces of one label and short ones of another, which share rows."""
    folder = tmp_path_factory.mktemp("data")
    for n in range(12):
        write_piece(folder / "raw" / "long" / f"{n}.mid", n, 200)
        write_piece(folder / "raw" / "short" / f"{n}.mid", 100 + n, 10)
    prepare_corpus(folder / "raw", folder / "shards", n_workers=1)
    return folder / "shards"


def batches(task: MuseTask, seed: int = 0, n: int = 10) -> list[tuple[np.ndarray, np.ndarray]]:
    return [task.batch("next-token", step, np.random.default_rng([seed, step])) for step in range(n)]


@pytest.fixture(scope="module")
def task(data: Path) -> MuseTask:
    return MuseTask(TINY, MuseTaskConfig(data, batch_size=4, n_valid=6))


def test_a_batch_depends_on_its_generator_only(task: MuseTask, data: Path):
    other = MuseTask(TINY, MuseTaskConfig(data, batch_size=4, n_valid=6))
    first = batches(task)
    other.batch("next-token", 99, np.random.default_rng(99))
    for (inputs, targets), (same_inputs, same_targets) in zip(first, batches(other), strict=True):
        assert np.array_equal(inputs, same_inputs) and np.array_equal(targets, same_targets)
    assert not np.array_equal(first[0][0], batches(task, seed=1)[0][0])


def test_targets_are_the_next_tokens_of_bodies(task: MuseTask):
    shared = 0
    for inputs, targets in batches(task):
        assert inputs.shape == (4, TINY.context, 1 + len(FEATURES)) and targets.shape == (4, TINY.context)
        assert (inputs >= 0).all() and (inputs[..., 1:] < list(FEATURES.values())).all()
        for row, wanted in zip(inputs[..., 0], targets, strict=True):
            shared += (row == v.START).sum() > 1
            is_counted = wanted >= 0
            assert np.array_equal(wanted[:-1][is_counted[:-1]], row[1:][is_counted[:-1]])
            assert not np.isin(wanted, [v.PAD, v.START]).any()
            in_header = True
            for token, target in zip(row[1:].tolist(), wanted[:-1].tolist(), strict=True):
                in_header = token == v.START or (in_header and token != v.BAR)
                assert (target == -1) == (in_header or token in (v.PAD, v.GAP))
    assert shared  # short pieces stand side by side


def test_rows_are_full(task: MuseTask):
    assert all((inputs[..., 0] != v.PAD).all() for inputs, _ in batches(task))


@pytest.mark.parametrize(("temperature", "power"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_labels_are_drawn_by_their_tempered_share(data: Path, temperature: float, power: float):
    task = MuseTask(TINY, MuseTaskConfig(data, label_temperature=temperature))
    labels = np.array(task.corpus.labels)[task.train]
    n_tokens = task.corpus.n_tokens[task.train]
    is_long = labels == "long"
    total = n_tokens[is_long].sum(), n_tokens[~is_long].sum()
    assert task.weights.sum() == pytest.approx(1)
    assert task.weights[is_long].sum() / task.weights[~is_long].sum() == pytest.approx((total[0] / total[1]) ** power)
    for within in (is_long, ~is_long):
        expected = n_tokens[within] / n_tokens[within].sum()
        assert task.weights[within] / task.weights[within].sum() == pytest.approx(expected)


def test_loss_and_validation(task: MuseTask):
    torch.manual_seed(0)
    inputs, targets = (torch.from_numpy(array) for array in batches(task)[0])
    loss, metrics = task.loss("next-token", (inputs, targets))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(v.N_TOKENS), abs=0.5) and metrics["tokens"] == 4 * TINY.context
    with torch.no_grad():
        found = task.validate()
        assert task.validate() == found
    assert found["valid_nats_per_note"] > found[task.score] == pytest.approx(np.log(v.N_TOKENS), abs=0.5)


def test_what_a_checkpoint_says_is_plain(task: MuseTask):
    config = task.checkpoint_config()
    assert json.loads(json.dumps(config)) == config
    assert config["styles"] == ["long", "short"] and config["vocabulary"] == v.fingerprint()
    assert MuseConfig(**config["model"]) == TINY
    for style, settings in config["settings"].items():
        own = [index for index in task.train if task.corpus.labels[index] == style]
        piece = grid_of(task.corpus.piece(own[0]))
        assert settings[0]["velocity"] == v.VELOCITIES[int(np.median(piece.notes[:, VELOCITY]))]


def test_data_without_a_split(tmp_path: Path):
    write_piece(tmp_path / "raw" / "one.mid", 0, 50)
    prepare_corpus(tmp_path / "raw", tmp_path / "out", n_workers=1)
    with pytest.raises(
        DataError, match=r"no piece with a beat in its valid split; labels of fewer than 10 works hold none out$"
    ):
        MuseTask(TINY, MuseTaskConfig(tmp_path / "out"))
    with pytest.raises(DataError, match="does not exist; prepare them first"):
        MuseTask(TINY, MuseTaskConfig(tmp_path / "missing"))


def test_nothing_is_learned_from_a_label_that_is_held_out(data: Path):
    task = MuseTask(TINY, MuseTaskConfig(data, batch_size=4, n_valid=6, held_out=("long",)))
    config = task.checkpoint_config()
    assert config["styles"] == list(config["pieces"]) == ["short"]
    assert {task.corpus.labels[index] for index in [*task.train, *task.valid]} == {"short"}
