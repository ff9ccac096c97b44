"""Three toys go through the one training loop: they learn, and a killed and resumed run equals a whole one.

Run as a script, this file trains one toy and kills itself in the middle of a step.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musegen.errors import RecipeError
from musegen.train.loop import Outcome, run
from musegen.train.recipe import TrainConfig
from musegen.train.task import OptimizerConfig, Phase, Task

TEXT = "do re mi fa sol la si do si la sol fa mi re do. "
ALPHABET = sorted(set(TEXT))
TOKENS = np.array([ALPHABET.index(letter) for letter in TEXT * 8])
CONTEXT = 6
N_MODES = 8
WAGES = torch.tensor([0.1, 0.3, 0.9, 0.2, 0.5])  # mean reward of each arm


class LanguageModel(nn.Module):
    """Predicts the next letter from the last few."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(len(ALPHABET), 16)
        self.hidden = nn.Linear(16 * CONTEXT, 64)
        self.norm = nn.BatchNorm1d(64)  # has buffers
        self.dropout = nn.Dropout(0.1)  # draws from PyTorch's generator
        self.head = nn.Linear(64, len(ALPHABET))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.dropout(F.gelu(self.norm(self.hidden(self.embed(tokens).flatten(1))))))


class Letters(Task):
    """A tiny language model on a repeating text, with batches from a background thread."""

    score, prefetch = "loss", True

    def __init__(self):
        self.modules = {"model": LanguageModel()}
        self.phases = (Phase("text", ("model",), OptimizerConfig("muon", lr=5e-3, muon_lr=5e-3)),)

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> Any:
        starts = rng.integers(0, len(TOKENS) - CONTEXT, 16)
        windows = TOKENS[starts[:, None] + np.arange(CONTEXT + 1)]
        return windows[:, :-1], windows[:, -1]

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        context, following = batch
        return F.cross_entropy(self.modules["model"](context), following), {"tokens": len(following)}

    def validate(self) -> dict[str, float]:
        windows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(TOKENS, CONTEXT + 1).copy())
        return {"loss": float(F.cross_entropy(self.modules["model"](windows[:, :-1]), windows[:, -1]))}

    def checkpoint_config(self) -> dict[str, Any]:
        return {"alphabet": "".join(ALPHABET)}


class Ring(Task):
    """A GAN whose data is a ring of eight Gaussians; R1 (Mescheder et al. 2018) as a phase every eighth step."""

    score = "energy_distance"

    def __init__(self):
        def mlp(d_in: int, d_out: int) -> nn.Module:
            return nn.Sequential(
                nn.Linear(d_in, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, d_out)
            )

        self.modules = {"generator": mlp(8, 2), "discriminator": mlp(2, 1)}
        adam = OptimizerConfig(lr=2e-3, betas=(0.0, 0.99), weight_decay=0.0, clip_norm=0.0)
        self.phases = (
            Phase("discriminate", ("discriminator",), adam),
            Phase("r1", ("discriminator",), adam, every=8),
            Phase("generate", ("generator",), adam),
        )

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> Any:
        angles = 2 * np.pi * rng.integers(0, N_MODES, 64) / N_MODES
        ring = np.stack([np.cos(angles), np.sin(angles)], 1) + 0.05 * rng.standard_normal((64, 2))
        return {"real": ring.astype(np.float32), "noise": rng.standard_normal((64, 8)).astype(np.float32)}

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        generator, discriminator = self.modules["generator"], self.modules["discriminator"]
        if phase == "generate":
            return F.softplus(-discriminator(generator(batch["noise"]))).mean(), {}
        real = batch["real"]
        if phase == "r1":
            real = real.requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
            return 0.5 * 8 * 0.2 * slope.square().sum(1).mean(), {}
        fake = generator(batch["noise"])
        return F.softplus(discriminator(fake)).mean() + F.softplus(-discriminator(real)).mean(), {}

    def validate(self) -> dict[str, float]:
        real = torch.from_numpy(np.concatenate([self.batch("", 0, np.random.default_rng(i))["real"] for i in range(8)]))
        fake = self.modules["generator"](torch.randn(512, 8))
        spread = torch.cdist(real, real).mean() + torch.cdist(fake, fake).mean()
        return {"energy_distance": float(2 * torch.cdist(real, fake).mean() - spread)}


class Bandit(Task):
    """REINFORCE (Williams 1992) with live rollouts and a running baseline, which is the task's own state."""

    score = "regret"

    def __init__(self):
        self.modules = {"policy": nn.Linear(1, len(WAGES), bias=False)}
        self.phases = (Phase("play", ("policy",), OptimizerConfig(lr=0.05, weight_decay=0.0)),)
        self.baseline = torch.zeros(())
        self.n_played = 0

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> Any:
        return None

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        log_chances = self.modules["policy"](torch.ones(32, 1)).log_softmax(-1)
        arms = torch.multinomial(log_chances.exp().detach(), 1)
        rewards = WAGES[arms] + 0.3 * torch.randn(32, 1)
        loss = -(log_chances.gather(1, arms) * (rewards - self.baseline)).mean()
        self.baseline = 0.9 * self.baseline + 0.1 * rewards.mean()
        self.n_played += 32
        return loss, {"reward": rewards.mean()}

    def validate(self) -> dict[str, float]:
        chances = self.modules["policy"](torch.ones(1, 1)).softmax(-1)[0]
        return {"regret": float(WAGES.max() - (chances * WAGES).sum())}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"n_played": self.n_played}, {"baseline": self.baseline}

    def load_state(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.n_played, self.baseline = values["n_played"], tensors["baseline"]


@dataclasses.dataclass(frozen=True)
class Toy:
    """A task, how it is trained, and the score of one that knows nothing."""

    make: type[Task]
    baseline: float
    steps: int
    settings: dict[str, Any]

    def config(self, **changes: Any) -> TrainConfig:
        common = {"steps": self.steps, "seed": 3, "precision": "32-true", "accelerator": "cpu"}
        every = {"validate_every": 100, "save_every": 40, "log_every": 15}
        return TrainConfig(**{**common, **every, **self.settings, **changes})


TOYS = {
    # Letters drawn evenly; all samples in the middle of the ring; an arm drawn evenly.
    "letters": Toy(
        Letters, np.log(len(ALPHABET)), 300, {"accumulate": 2, "warmup_steps": 20, "decay_steps": 60, "ema": 0.98}
    ),
    "ring": Toy(Ring, 0.6, 500, {"decay_steps": 200, "ema": 0.99}),
    "bandit": Toy(Bandit, float(WAGES.max() - WAGES.mean()), 300, {}),
}


def train(toy: str, out: Path, *, resume: bool = False, kill_at: int | None = None, **changes: Any) -> Outcome:
    """Train a toy; `kill_at` ends the process without notice in the middle of that call of its loss."""
    config = TOYS[toy].config(**changes)
    torch.manual_seed(config.seed)
    task = TOYS[toy].make()
    if kill_at is not None:
        calls = iter(range(kill_at))
        loss = task.loss

        def fatal(phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
            if next(calls, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return loss(phase, batch)

        task.loss = fatal  # type: ignore[method-assign]
    return run(task, config, out, resume)


def curve(out: Path) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


def validations(out: Path) -> list[float]:
    return [value for row in curve(out) for name, value in row.items() if name.startswith("validation/")]


def script(*arguments: str | Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, *map(str, arguments), json.dumps(changes)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums must be made in the same order here and in the script."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("toy", TOYS)
def test_learns_and_survives_a_kill(toy: str, tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    outcome = train(toy, whole)
    assert outcome.finished
    assert outcome.step == TOYS[toy].steps
    assert outcome.best is not None
    assert outcome.best < 0.05 * TOYS[toy].baseline

    killed = script(toy, broken, "217")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (broken / "last").exists()
    resumed = train(toy, broken, resume=True)

    assert resumed.best == outcome.best
    assert curve(broken) == curve(whole)
    for name in ("best", "last"):
        weights = [(run / name / "model.safetensors").read_bytes() for run in (whole, broken)]
        assert weights[0] == weights[1]


@pytest.mark.slow
def test_two_processes_train_together_and_resume_only_as_two(tmp_path: Path):
    done = script("letters", tmp_path, "", devices=2, strategy="ddp", steps=100)
    assert done.returncode == 0, done.stderr
    assert validations(tmp_path)[-1] < np.log(len(ALPHABET)) / 2
    with pytest.raises(RecipeError, match="2 processes, got 1"):
        train("letters", tmp_path, resume=True)


if __name__ == "__main__":
    name, folder, kill_at, changes = sys.argv[1:]
    torch.set_num_threads(1)
    train(name, Path(folder), kill_at=int(kill_at) if kill_at else None, **json.loads(changes))
