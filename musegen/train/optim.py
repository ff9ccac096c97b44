"""Optimizers of a phase, and the learning rate over the steps."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from musegen.train.recipe import TrainConfig
from musegen.train.task import OptimizerConfig, Task, named_parameters


def rate_factor(config: TrainConfig, step: int) -> float:
    """The part of the peak learning rate that step `step` (from 0) uses: warm up, stay, decay (WSD, Hu et al. 2024)."""
    factor = 1.0
    if step < config.warmup_steps:
        factor = (step + 1) / config.warmup_steps
    if config.decay_steps:
        factor = min(factor, (config.steps - step) / config.decay_steps)
    return max(factor, 0.0)


class PhaseOptimizer:
    """The torch optimizers of some modules, as one.

    Args:
        task: whose parameters.
        modules: the modules to update; parameters that do not require a gradient now are left alone.
        config: the settings.
    """

    def __init__(self, task: Task, modules: tuple[str, ...], config: OptimizerConfig):
        self.config = config
        self.parameters = {n: p for n, p in named_parameters(task, modules).items() if p.requires_grad}
        self._names = {id(p): name for name, p in self.parameters.items()}
        embeddings, matrices = _roles(task, modules)
        hidden = {
            name: p
            for name, p in self.parameters.items()
            if config.kind == "muon"
            and id(p) in matrices - embeddings
            and not any(word in name for word in task.muon_excludes)
        }
        rest = {name: p for name, p in self.parameters.items() if name not in hidden}
        self.optimizers: list[tuple[Optimizer, float]] = []
        if hidden:
            muon = torch.optim.Muon(
                list(hidden.values()),
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            self.optimizers.append((muon, config.muon_lr))
        if rest:
            decayed = [p for p in rest.values() if p.ndim > 1 and id(p) not in embeddings]
            plain = [p for p in rest.values() if p.ndim <= 1 or id(p) in embeddings]
            groups: list[dict[str, Any]] = [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ]
            groups = [group for group in groups if group["params"]]
            fused = all(p.device.type in ("cpu", "cuda") for p in rest.values())
            adamw = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=fused)
            self.optimizers.append((adamw, config.lr))

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def step(self, factor: float) -> Tensor | None:
        """Clip the gradients and update at `factor` of the peak rates; gives the norm before clipping, if clipping."""
        norm = None
        if self.config.clip_norm:
            norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm)
        for optimizer, peak in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Everything the optimizers remember, by `<parameter>/<what>`."""
        return {
            f"{self._names[id(parameter)]}/{key}": value
            for optimizer, _ in self.optimizers
            for parameter, values in optimizer.state.items()
            for key, value in values.items()
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        owners = {id(p): (o, g) for o, _ in self.optimizers for g in o.param_groups for p in g["params"]}
        for optimizer, _ in self.optimizers:
            optimizer.state.clear()
        for name, tensor in tensors.items():
            path, _, key = name.rpartition("/")
            parameter = self.parameters[path]
            optimizer, group = owners[id(parameter)]
            on_device = key != "step" or group["fused"]  # an unfused AdamW counts on the CPU
            optimizer.state[parameter][key] = tensor.to(parameter.device if on_device else "cpu")


def _roles(task: Task, modules: tuple[str, ...]) -> tuple[set[int], set[int]]:
    """The ids of embedding tables, and of the matrices inside linear layers."""
    layers = [layer for name in modules for layer in task.modules[name].modules()]
    embeddings = {id(layer.weight) for layer in layers if isinstance(layer, nn.Embedding | nn.EmbeddingBag)}
    return embeddings, {id(layer.weight) for layer in layers if isinstance(layer, nn.Linear)}
