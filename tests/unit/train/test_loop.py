import dataclasses
import json
import math
import os
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn

from musegen.core import checkpoint
from musegen.errors import CheckpointError, MusegenError, RecipeError
from musegen.train import loop, state
from musegen.train.log import read_log
from musegen.train.loop import run
from musegen.train.recipe import TrainConfig
from musegen.train.task import OptimizerConfig, Phase, Task

CONFIG = TrainConfig(steps=12, precision="32-true", accelerator="cpu", log_every=4, save_every=5, save_every_seconds=0)


class Line(Task):
    """Fits y = 2 x; notes which batches it was asked for."""

    score = "error"

    def __init__(self, **optimizer):
        torch.manual_seed(0)
        self.modules = {"line": nn.Linear(1, 1)}
        self.phases = (Phase("fit", ("line",), OptimizerConfig(lr=0.05, weight_decay=0.0, **optimizer)),)
        self.asked = []
        self.at_step = {}

    def batch(self, phase, step, rng):
        self.asked.append((phase, step, float(rng.random())))
        if step in self.at_step:
            self.at_step[step]()
        return rng.random((8, 1), dtype=np.float32)

    def loss(self, phase, batch):
        noise = 0.01 * (torch.rand(()) + random.random() + np.random.rand())  # noqa: NPY002
        loss = (self.modules["line"](batch) - 2 * batch + noise).square().mean()
        return loss, {"items": 8, "noise": noise}

    def validate(self):
        torch.rand(3)  # must not move the training's generator
        assert not self.modules["line"].training
        assert not torch.is_grad_enabled()
        return {"error": float((self.modules["line"].weight - 2).abs())}

    def checkpoint_config(self):
        return {"kind": "line"}


def train(out, task=None, resume=False, **changes):
    return run(task or Line(), dataclasses.replace(CONFIG, **changes), out, resume)


def losses(out):
    return {row["step"]: row["loss"] for row in read_log(out) if "loss" in row}


def weights(out):
    return checkpoint.load(out / "last").tensors


def test_a_run_leaves_log_state_and_weights(tmp_path):
    outcome = train(tmp_path, validate_every=6)
    assert outcome.finished
    assert outcome.step == 12
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [4, 6, 8, 12, 12]
    assert set(rows[0]) == {"step", "loss", "noise", "grad_norm", "lr", "items_per_second", "elapsed_seconds"}
    assert rows[1]["validation/error"] > rows[-1]["validation/error"] == outcome.best
    assert [path.name for path in tmp_path.glob("*state-*")] == ["state-00000012"]
    best = checkpoint.load(tmp_path / "best")
    assert best.config == {"kind": "line", "training": {"step": 12, "metrics": {"error": outcome.best}}}
    assert set(best.tensors) == {"weight", "bias"}


def test_batches_depend_on_seed_phase_and_step_only(tmp_path):
    plain, ahead = Line(), Line()
    ahead.prefetch = True
    train(tmp_path / "a", plain, accumulate=2)
    train(tmp_path / "b", ahead, accumulate=2)
    assert plain.asked == ahead.asked
    assert [step for _, step, _ in plain.asked] == list(range(24))
    assert len({draw for *_, draw in plain.asked}) == 24
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    other = Line()
    train(tmp_path / "c", other, seed=1)
    assert not {draw for *_, draw in other.asked} & {draw for *_, draw in plain.asked}


def test_an_error_in_a_background_batch_comes_out(tmp_path):
    task = Line()
    task.prefetch = True
    task.at_step[7] = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, task)


def test_accumulated_batches_equal_one_large(tmp_path):
    class Halves(Line):
        def __init__(self, n_parts):
            super().__init__()
            self.n_parts = n_parts

        def batch(self, phase, step, rng):
            whole = np.random.default_rng(step // self.n_parts).random((8, 1), dtype=np.float32)
            size = 8 // self.n_parts
            return whole[step % self.n_parts * size :][:size]

        def loss(self, phase, batch):
            return (self.modules["line"](batch) - 2 * batch).square().mean(), {}

    train(tmp_path / "one", Halves(1))
    train(tmp_path / "two", Halves(2), accumulate=2)
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], tensor)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_and_the_rest_is_as_if_it_had_not_come(tmp_path, number):
    train(tmp_path / "whole", ema=0.9)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    task = Line()
    task.at_step[6] = lambda: os.kill(os.getpid(), number)
    outcome = train(tmp_path / "cut", task, ema=0.9)
    assert not outcome.finished
    assert outcome.step == 7
    assert state.latest(tmp_path / "cut") == tmp_path / "cut" / "state-00000007"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers

    again = Line()
    outcome = train(tmp_path / "cut", again, resume=True, ema=0.9)
    assert again.asked[0][1] == 7
    assert outcome.finished
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "cut")[name], tensor)


def test_max_hours_stops_and_counts_earlier_time(tmp_path):
    outcome = train(tmp_path, max_hours=1e-9)
    assert (outcome.step, outcome.finished) == (1, False)
    values = json.loads((tmp_path / "state-00000001" / "state.json").read_text())
    assert 0 < values["elapsed_seconds"] <= outcome.elapsed_seconds
    values["elapsed_seconds"] = 1000.0
    (tmp_path / "state-00000001" / "state.json").write_text(json.dumps(values))
    later = train(tmp_path, resume=True)
    assert later.finished
    assert 1000.0 < later.elapsed_seconds < 2000.0


def test_a_kill_while_saving_leaves_the_state_before(tmp_path, monkeypatch):
    calls = []
    write = state.write_values

    def fail(path, values):
        calls.append(path)
        if len(calls) > 3:
            raise KeyboardInterrupt
        write(path, values)

    monkeypatch.setattr(state, "write_values", fail)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path)
    monkeypatch.undo()
    assert state.latest(tmp_path) == tmp_path / "state-00000005"
    assert train(tmp_path, resume=True).finished
    assert [path.name for path in tmp_path.glob("*state-*")] == ["state-00000012"]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(tmp_path)
    with pytest.raises(RecipeError, match="reached step 12; resume it or choose another folder"):
        train(tmp_path)


def test_resuming_nothing_begins(tmp_path):
    assert train(tmp_path, resume=True).step == 12


def test_more_steps_are_allowed_and_another_recipe_is_not(tmp_path):
    train(tmp_path)
    assert train(tmp_path, resume=True, steps=16, decay_steps=3, max_hours=1.0).step == 16
    with pytest.raises(RecipeError, match=r"train.seed was 0 when the run began, got 9"):
        train(tmp_path, resume=True, seed=9)
    with pytest.raises(RecipeError, match=r"phases.fit.optimizer.clip_norm was 1.0 .* got 2.0"):
        train(tmp_path, Line(clip_norm=2.0), resume=True)


def test_a_state_that_does_not_fit_or_is_damaged_says_so(tmp_path):
    train(tmp_path)
    wide = Line()
    wide.modules["line"] = nn.Linear(1, 2)
    with pytest.raises(CheckpointError, match=r"'line.*' is \(1,.*\), the task has \(2,.*\)"):
        train(tmp_path, wide, resume=True)
    other = Line()
    other.modules["line"] = nn.Linear(1, 1, bias=False)
    with pytest.raises(CheckpointError, match=r"'line.bias' is in only one"):
        train(tmp_path, other, resume=True)
    folder = state.latest(tmp_path)
    assert folder is not None
    values = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(values | {"world_size": 4}))
    with pytest.raises(RecipeError, match="trained by 4 processes, got 1"):
        train(tmp_path, resume=True)
    (folder / "state.json").write_text(json.dumps(values))
    (folder / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(tmp_path, resume=True)


def test_a_loss_that_is_no_number_stops_before_it_is_saved(tmp_path):
    class Exploding(Line):
        def loss(self, phase, batch):
            loss, metrics = super().loss(phase, batch)
            return loss * (math.nan if self.asked[-1][1] >= 6 else 1.0), metrics

    with pytest.raises(MusegenError, match=r"loss is not finite before step 8.*state-00000005"):
        train(tmp_path, Exploding())
    assert state.latest(tmp_path) == tmp_path / "state-00000005"


def test_the_average_is_validated_and_kept_but_not_trained_on(tmp_path):
    train(tmp_path / "plain")
    task = Line()
    train(tmp_path / "averaged", task, ema=0.5)
    assert losses(tmp_path / "plain") == losses(tmp_path / "averaged")
    last, plain = weights(tmp_path / "averaged"), weights(tmp_path / "plain")
    assert torch.equal(task.modules["line"].weight, plain["weight"])
    assert not torch.equal(last["weight"], plain["weight"])
    best = checkpoint.load(tmp_path / "averaged" / "best")
    assert best.config["training"]["metrics"]["error"] == pytest.approx(float((best.tensors["weight"] - 2).abs()))


def test_phases_freeze_what_is_not_theirs(tmp_path):
    class Two(Line):
        score = ""

        def __init__(self):
            super().__init__()
            self.modules["other"] = nn.Linear(1, 1)
            self.modules["other"].bias.requires_grad_(False)
            self.phases = (*self.phases, Phase("every third", ("other",), every=3))
            self.seen = []

        def loss(self, phase, batch):
            frozen = {name: not module.weight.requires_grad for name, module in self.modules.items()}
            self.seen.append((phase, frozen))
            out = self.modules["other"](self.modules["line"](batch))
            return (out - batch).square().mean(), {}

    task = Two()
    bias = task.modules["other"].bias.clone()
    train(tmp_path, task)
    fit, third = ("fit", {"line": False, "other": True}), ("every third", {"line": True, "other": False})
    assert task.seen == [fit, third, fit, fit] * 4
    assert torch.equal(task.modules["other"].bias, bias)
    assert [step for phase, step, _ in task.asked if phase != "fit"] == [0, 3, 6, 9]
    assert "every third/loss" in read_log(tmp_path)[0]
    assert not (tmp_path / "best").exists()


def test_phases_of_the_same_modules_share_an_optimizer():
    task = Line()
    task.phases = (task.phases[0], dataclasses.replace(task.phases[0], name="penalty", every=8))
    optimizers = loop._optimizers(task)
    assert optimizers["fit"] is optimizers["penalty"]
    task.phases = (Phase("fit", ("curve",)),)
    with pytest.raises(RecipeError, match="among line, got 'curve'"):
        loop._optimizers(task)


def test_a_score_that_is_not_measured_says_so(tmp_path):
    task = Line()
    task.score = "beauty"
    with pytest.raises(MusegenError, match=r"'beauty' is not among what validate.. gives: error"):
        train(tmp_path, task)


def test_precision_follows_the_device(monkeypatch):
    for fast, precision in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(loop, "has_fast_bfloat16", lambda device, fast=fast: fast)
        assert loop._precision(TrainConfig()) == precision
        assert loop._precision(TrainConfig(precision="32-true")) == "32-true"
