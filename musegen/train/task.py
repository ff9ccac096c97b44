"""What the loop trains: a task with its modules, its phases, its batches and its losses."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from musegen.train.recipe import Range

Rate = Annotated[float, Range(0.0)]
Beta = Annotated[float, Range(0.0, 1.0, open_high=True)]


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer and its settings.

    Attributes:
        kind: "adamw", or "muon" for the hidden matrices (with AdamW for the rest).
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon, on AdamW's scale (updates are scaled to AdamW's RMS).
        betas: of AdamW.
        weight_decay: decoupled; not on one-dimensional parameters nor on embeddings.
        clip_norm: the norm above which a phase's gradients are scaled down; 0 for never.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: Rate = 1e-3
    muon_lr: Rate = 1e-3
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    weight_decay: Rate = 0.1
    clip_norm: Rate = 1.0


@dataclass(frozen=True)
class Phase:
    """One part of a step: a loss that updates the parameters of some modules.

    Attributes:
        name: given to `Task.batch` and `Task.loss`.
        modules: names of the modules whose parameters it updates; those of all others are frozen meanwhile.
        optimizer: phases with the same `modules` and `optimizer` share their optimizers; any other has its own.
        every: it runs in steps 0, `every`, 2 `every`, ...
    """

    name: str
    modules: tuple[str, ...]
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    every: Annotated[int, Range(1)] = 1


class Task(ABC):
    """What the loop trains. A subclass sets `modules` and `phases`, and defines `batch`, `loss` and `validate`.

    The loop moves the modules to the device and calls everything else from there.

    Attributes:
        modules: name to module.
        phases: run in this order in every step.
        score: the name, among what `validate` gives, by which the best weights are kept; lower is better.
        prefetch: batches may be made in a background thread (a task with live rollouts says no).
        muon_excludes: parts of parameter names that Muon leaves to AdamW, besides embeddings.
        rank, world_size, device: set by the loop before the first batch.
    """

    modules: dict[str, nn.Module]
    phases: Sequence[Phase]
    score: str = ""
    prefetch: bool = False
    muon_excludes: tuple[str, ...] = ("head", "embed")
    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")

    @abstractmethod
    def batch(self, phase: str, step: int, rng: np.random.Generator) -> Any:
        """One batch: arrays and tensors, in any nesting of dicts, lists and tuples; the loop moves them to the device.

        It must depend on nothing but its arguments, `rank` and `world_size`, so that a run resumes exactly.

        Args:
            phase: which phase it is for.
            step: counts batches: the loop's step x accumulate + the place within the step.
            rng: seeded from (seed, rank, phase, step).
        """

    @abstractmethod
    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The loss to minimise, and metrics for the log: means, or rates of those called "tokens" and "items"."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Metrics of the current weights; called in eval mode, without gradients, under a fixed seed."""

    def checkpoint_config(self) -> dict[str, Any]:
        """What is written into config.json beside the weights; constant over the run."""
        return {}

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """The weights of a finished model: of the only module, or of all of them under `<module>.<name>`."""
        if len(self.modules) == 1:
            return next(iter(self.modules.values())).state_dict()
        return {f"{m}.{name}": t for m, module in self.modules.items() for name, t in module.state_dict().items()}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Whatever else must survive a restart: JSON-able values and tensors."""
        return {}, {}

    def load_state(  # noqa: B027  (a task without a state has nothing to take back)
        self, values: dict[str, Any], tensors: dict[str, Tensor]
    ) -> None:
        """Take back what `state` gave."""


def named_parameters(task: Task, modules: Iterable[str]) -> dict[str, nn.Parameter]:
    """The parameters of some modules by `<module>.<name>`; a tied one once, under its first name."""
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for module in modules:
        for name, parameter in task.modules[module].named_parameters():
            found.setdefault(id(parameter), (f"{module}.{name}", parameter))
    return dict(found.values())


def named_buffers(task: Task) -> dict[str, Tensor]:
    """The persistent buffers of all modules by `<module>.<name>`."""
    persistent = {f"{m}.{name}" for m, module in task.modules.items() for name in module.state_dict()}
    buffers = {f"{m}.{name}": b for m, module in task.modules.items() for name, b in module.named_buffers()}
    return {name: buffer for name, buffer in buffers.items() if name in persistent}
