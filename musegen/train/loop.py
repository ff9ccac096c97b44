"""The one training loop, on Lightning Fabric: CPU, one GPU or several are flags of `TrainConfig`.

A run lives in one folder:

    log.jsonl, tensorboard/  the curve (`train/log.py`)
    state-<step>/            what a resumed run goes on from (`train/state.py`)
    best/, last/             finished weights: model.safetensors and config.json

A step runs the task's phases in order. A phase freezes the modules that are not its own, makes its batches, averages
their gradients over `accumulate` and over the processes, clips and updates. Gradients are averaged here and not by a
DistributedDataParallel wrapper, which allows neither phases with frozen modules nor gradients of gradients (R1).
"""

import dataclasses
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from musegen.core import checkpoint
from musegen.core.device import default_device, has_fast_bfloat16, keep_freed_memory, seed_everything
from musegen.errors import CheckpointError, MusegenError, RecipeError
from musegen.train import state
from musegen.train.atomic import flush_to_disk
from musegen.train.log import COUNTS, Log
from musegen.train.optim import PhaseOptimizer, rate_factor
from musegen.train.recipe import TrainConfig
from musegen.train.task import Phase, Task, named_buffers, named_parameters

# What may differ when a run is resumed: how long it goes on, and when it is saved. The number of processes has a check
# of its own.
FREE_ON_RESUME = (
    "train.steps",
    "train.decay_steps",
    "train.max_hours",
    "train.save_every",
    "train.save_every_seconds",
    "train.devices",
    "train.n_nodes",
)
N_PREFETCHED = 2

BatchKey = tuple[int, int, int]  # step, index of the phase, place within the step


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after which step, whether that was the last, its best score, and seconds of training in all."""

    step: int
    finished: bool
    best: float | None
    elapsed_seconds: float


def run(task: Task, config: TrainConfig, out: str | Path, resume: bool = False) -> Outcome:
    """Train `task` until `config.steps`, or until Ctrl-C, SIGTERM or `config.max_hours`; each time the state is saved.

    Seed PyTorch before making the task: its initial weights are taken as they are.

    Args:
        task: what to train.
        config: how.
        out: the run's folder; made if missing.
        resume: go on from the newest state in `out`; without one, start from the beginning.

    Raises:
        RecipeError: `out` holds a run and `resume` is false, or that run has another recipe or number of processes.
        CheckpointError: the state is damaged.
        MusegenError: the loss is not a finite number any more.
    """
    out = Path(out)
    saved = state.latest(out)
    if saved is not None and not resume:
        reached = f"step {int(saved.name[6:])}"
        raise RecipeError(f"{out} holds a run that reached {reached}; resume it or choose another folder")
    config = dataclasses.replace(config, precision=_precision(config))
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.n_nodes,
        strategy=config.strategy,
        precision=config.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    training = _Run(task, config, out, fabric)
    if saved is not None:
        training.load(saved)
    with _stop_signals() as stopped:
        return training.run(stopped)


class _Run:
    def __init__(self, task: Task, config: TrainConfig, out: Path, fabric: Fabric):
        self.task, self.config, self.out, self.fabric = task, config, out, fabric
        self.step, self.best, self.elapsed_before = 0, None, 0.0
        self.window: dict[str, list[float | Tensor]] = {}  # since the last line of the log
        self.window_since = 0.0
        seed_everything(config.seed + fabric.global_rank)
        task.rank, task.world_size, task.device = fabric.global_rank, fabric.world_size, fabric.device
        for module in task.modules.values():
            fabric.to_device(module)
            module.train()
        self.parameters = named_parameters(task, task.modules)
        self.trainable = {name: p for name, p in self.parameters.items() if p.requires_grad}
        self.optimizers = _optimizers(task)
        self.focused: PhaseOptimizer | None = None
        if fabric.world_size > 1:
            for tensor in [*self.parameters.values(), *named_buffers(task).values()]:
                tensor.data.copy_(fabric.broadcast(tensor.data))
        self.ema = {name: p.detach().clone() for name, p in self.trainable.items()} if config.ema else {}
        self.recipe = {
            "train": dataclasses.asdict(config),
            "phases": {phase.name: dataclasses.asdict(phase) for phase in task.phases},
            "task": task.checkpoint_config(),
        }

    # --- One run

    def run(self, stopped: threading.Event) -> Outcome:
        config = self.config
        self.log = Log(self.out, self.step, config.steps) if self.fabric.is_global_zero else None
        self.started = self.saved_at = time.monotonic()
        batches = self._batches()
        stop = False
        try:
            while self.step < config.steps and not stop:
                self._train_step(batches)
                self.step += 1
                last = self.step == config.steps
                if self.step % config.log_every == 0 or last:
                    self._log_window()
                if last or (config.validate_every and self.step % config.validate_every == 0):
                    self._validate()
                if self.log:
                    self.log.advance(self.step)
                stop, save = self._decide(stopped)
                if save or stop or last:
                    self._save()
            return self._finish(stop)
        finally:
            batches.close()
            if self.log:
                self.log.close()

    def _train_step(self, batches: Iterator[Any]) -> None:
        task, config, fabric = self.task, self.config, self.fabric
        factor = rate_factor(config, self.step)
        for phase in task.phases:
            if self.step % phase.every:
                continue
            optimizer = self.optimizers[phase.name]
            self._focus(optimizer)
            optimizer.clear()
            for _ in range(config.accumulate):
                batch = fabric.to_device(next(batches))
                with fabric.autocast():
                    loss, metrics = task.loss(phase.name, batch)
                fabric.backward(loss / config.accumulate if config.accumulate > 1 else loss)
                self._note(phase, {"loss": loss, **metrics})
            self._average_gradients(optimizer)
            norm = optimizer.step(factor)
            if norm is not None:
                self._note(phase, {"grad_norm": norm})
        if self.ema:
            self._update_ema()

    def _focus(self, optimizer: PhaseOptimizer) -> None:
        """Let only the phase's own parameters take gradients."""
        if optimizer is self.focused:
            return
        for name, parameter in self.trainable.items():
            parameter.requires_grad_(name in optimizer.parameters)
        self.focused = optimizer

    def _average_gradients(self, optimizer: PhaseOptimizer) -> None:
        if self.fabric.world_size == 1:
            return
        parameters = list(optimizer.parameters.values())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self.fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
        assert isinstance(flat, Tensor)
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    # --- Batches

    def _batches(self) -> Generator[Any, None, None]:
        """All batches from the current step on; one or two ahead in another thread, if the task allows."""
        keys = self._batch_keys(self.step)
        if not self.task.prefetch:
            yield from map(self._batch, keys)
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        try:
            waiting: list[Future[Any]] = [pool.submit(self._batch, key) for key in islice(keys, N_PREFETCHED)]
            while waiting:
                batch = waiting.pop(0).result()
                waiting += [pool.submit(self._batch, key) for key in islice(keys, 1)]
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _batch_keys(self, start: int) -> Iterator[BatchKey]:
        for step in range(start, self.config.steps):
            for index, phase in enumerate(self.task.phases):
                if step % phase.every == 0:
                    yield from ((step, index, place) for place in range(self.config.accumulate))

    def _batch(self, key: BatchKey) -> Any:
        step, index, place = key
        count = step * self.config.accumulate + place
        rng = np.random.default_rng([self.config.seed, self.fabric.global_rank, index, count])
        return _as_tensors(self.task.batch(self.task.phases[index].name, count, rng))

    # --- Moving average of the weights

    def _update_ema(self) -> None:
        # Early on the average is short, so that it does not hold on to the initial weights.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            averages, weights = list(self.ema.values()), list(self.trainable.values())
            torch._foreach_lerp_(averages, weights, 1 - decay)  # type: ignore[attr-defined]

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The weights to judge and to keep: inside, the averages take the parameters' places."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, average in self.ema.items():
            parameter = self.trainable[name]
            parameter.data, self.ema[name] = average, parameter.data

    # --- The log

    def _note(self, phase: Phase, values: dict[str, float | Tensor]) -> None:
        prefix = "" if len(self.task.phases) == 1 else f"{phase.name}/"
        for name, value in values.items():
            kept = value.detach() if isinstance(value, Tensor) else value
            self.window.setdefault(prefix + name, []).append(kept)

    def _log_window(self) -> None:
        self._settle_window()
        seconds = max(self._elapsed() - self.window_since, 1e-9)
        row: dict[str, Any] = {}
        for name, values in self.window.items():
            mean = self._mean(math.fsum(float(v) for v in values) / len(values))
            if name.rpartition("/")[2] in COUNTS:
                row[f"{name}_per_second"] = round(mean * len(values) * self.fabric.world_size / seconds, 1)
            else:
                row[name] = mean
        optimizer = self.optimizers[self.task.phases[0].name]
        row["lr"] = optimizer.config.lr * rate_factor(self.config, self.step - 1)
        self._row(row)
        self.window.clear()
        self.window_since = self._elapsed()

    def _settle_window(self) -> None:
        """Bring the window's numbers to the CPU, and see that they are numbers."""
        for name, values in self.window.items():
            self.window[name] = [float(value) for value in values]
            what = name.rpartition("/")[2]
            if what in ("loss", "grad_norm") and not all(math.isfinite(value) for value in self.window[name]):
                kept = state.latest(self.out)
                place = f"the last good state is {kept}" if kept else "no state was saved yet"
                raise MusegenError(f"{name} is not finite before step {self.step}; lower the learning rate; {place}")

    def _mean(self, value: float) -> float:
        if self.fabric.world_size == 1:
            return value
        mean = self.fabric.all_reduce(torch.tensor(value, device=self.fabric.device), reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean)

    def _row(self, values: dict[str, Any]) -> None:
        if self.log:
            self.log.row(self.step, {**values, "elapsed_seconds": round(self._elapsed(), 3)})

    def _elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.started

    # --- Validation

    def _validate(self) -> None:
        modules = self.task.modules.values()
        devices = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        for module in modules:
            module.eval()
        with self._averaged():
            with torch.no_grad(), torch.random.fork_rng(devices), self.fabric.autocast():
                torch.manual_seed(self.config.seed)
                metrics = {name: self._mean(float(value)) for name, value in self.task.validate().items()}
            self._keep_best(metrics)
        for module in modules:
            module.train()
        self._row({f"validation/{name}": value for name, value in metrics.items()})

    def _keep_best(self, metrics: dict[str, float]) -> None:
        score = self.task.score
        if not score:
            return
        if score not in metrics:
            raise MusegenError(f"score {score!r} is not among what validate() gives: {', '.join(metrics)}")
        if math.isfinite(metrics[score]) and (self.best is None or metrics[score] < self.best):
            self.best = metrics[score]
            self._write_weights("best", metrics)

    def _write_weights(self, name: str, metrics: dict[str, float]) -> None:
        if self.fabric.is_global_zero:
            config = {**self.task.checkpoint_config(), "training": {"step": self.step, "metrics": metrics}}
            checkpoint.save(self.out / name, self.task.checkpoint_tensors(), config)

    # --- State

    def _decide(self, stopped: threading.Event) -> tuple[bool, bool]:
        """Whether to stop, and whether to save; the same answer in every process."""
        config, now = self.config, time.monotonic()
        stop = stopped.is_set() or bool(config.max_hours and self._elapsed() > config.max_hours * 3600)
        save = bool(config.save_every and self.step % config.save_every == 0)
        save = save or bool(config.save_every_seconds and now - self.saved_at > config.save_every_seconds)
        if self.fabric.world_size > 1:
            wishes = torch.tensor([stop, save], dtype=torch.float32, device=self.fabric.device)
            votes = self.fabric.all_reduce(wishes, reduce_op="sum")
            assert isinstance(votes, Tensor)
            stop, save = (votes > 0).tolist()
        return stop, save

    def _save(self) -> None:
        self._settle_window()
        folder, rank = state.temporary(self.out, self.step), self.fabric.global_rank
        if self.fabric.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self.fabric.barrier()
        values, tensors = state.random_state(self.fabric.device)
        task_values, task_tensors = self.task.state()
        tensors = {f"rng/{n}": t for n, t in tensors.items()} | {f"task/{n}": t for n, t in task_tensors.items()}
        state.write_tensors(folder / f"rank-{rank:05d}.safetensors", tensors)
        state.write_values(folder / f"rank-{rank:05d}.json", {"rng": values, "task": task_values})
        if self.fabric.is_global_zero:
            state.write_tensors(folder / "weights.safetensors", self._tensors())
            state.write_values(folder / "state.json", self._values())
            for file in folder.iterdir():
                flush_to_disk(file)
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            state.publish(self.out, self.step)
        self.fabric.barrier()
        self.saved_at = time.monotonic()

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"weights/{name}": t for name, t in {**self.parameters, **named_buffers(self.task)}.items()}
        tensors |= {f"ema/{name}": t for name, t in self.ema.items()}
        for phase, optimizer in self._owned_optimizers().items():
            tensors |= {f"optimizer/{phase}/{name}": t for name, t in optimizer.state().items()}
        return tensors

    def _values(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "elapsed_seconds": self._elapsed(),
            "best": self.best,
            "world_size": self.fabric.world_size,
            "recipe": self.recipe,
            "window": self.window,
            "window_since": self.window_since,
        }

    def load(self, folder: Path) -> None:
        values = state.read_values(folder / "state.json")
        if values["world_size"] != self.fabric.world_size:
            before, now = values["world_size"], self.fabric.world_size
            raise RecipeError(f"{folder} was trained by {before} processes, got {now}; allowed: {before}")
        _check_recipe(values["recipe"], json.loads(json.dumps(self.recipe)))
        self.step, self.best = values["step"], values["best"]
        self.elapsed_before = values["elapsed_seconds"]
        self.window, self.window_since = values["window"], values["window_since"]
        tensors = state.read_tensors(folder / "weights.safetensors")
        _copy(_part(tensors, "weights/"), {**self.parameters, **named_buffers(self.task)}, folder)
        _copy(_part(tensors, "ema/"), self.ema, folder)
        for phase, optimizer in self._owned_optimizers().items():
            optimizer.load_state(_part(tensors, f"optimizer/{phase}/"))
        rank = f"rank-{self.fabric.global_rank:05d}"
        rank_values = state.read_values(folder / f"{rank}.json")
        rank_tensors = state.read_tensors(folder / f"{rank}.safetensors")
        self.task.load_state(rank_values["task"], _part(rank_tensors, "task/"))
        state.set_random_state(self.fabric.device, rank_values["rng"], _part(rank_tensors, "rng/"))

    def _owned_optimizers(self) -> dict[str, PhaseOptimizer]:
        """Each optimizer once, under the first phase that uses it."""
        owned: dict[int, tuple[str, PhaseOptimizer]] = {}
        for phase, optimizer in self.optimizers.items():
            owned.setdefault(id(optimizer), (phase, optimizer))
        return dict(owned.values())

    def _finish(self, stop: bool) -> Outcome:
        with self._averaged():
            self._write_weights("last", {})
        finished = self.step >= self.config.steps
        if self.log:
            end = "finished" if finished else "stopped; the state is saved, resume to go on"
            best = "" if self.best is None else f", best {self.task.score} {self.best:.4g}"
            self.log.line(f"step {self.step} of {self.config.steps} after {self._elapsed():.0f} s{best}: {end}")
        return Outcome(self.step, finished, self.best, self._elapsed())


def _precision(config: TrainConfig) -> Any:
    if config.precision != "auto":
        return config.precision
    device = default_device() if config.accelerator == "auto" else config.accelerator
    return "bf16-mixed" if has_fast_bfloat16(device) else "32-true"


def _optimizers(task: Task) -> dict[str, PhaseOptimizer]:
    """The optimizer of each phase; phases of the same modules and settings share one (a loss and its penalty)."""
    shared: dict[Any, PhaseOptimizer] = {}
    optimizers = {}
    for phase in task.phases:
        unknown = [name for name in phase.modules if name not in task.modules]
        if unknown:
            known = ", ".join(task.modules)
            raise RecipeError(f"phase {phase.name!r} must update modules among {known}, got {unknown[0]!r}")
        key = (phase.modules, phase.optimizer)
        if key not in shared:
            shared[key] = PhaseOptimizer(task, phase.modules, phase.optimizer)
        optimizers[phase.name] = shared[key]
    return optimizers


def _as_tensors(batch: Any) -> Any:
    if isinstance(batch, np.ndarray):
        return torch.from_numpy(batch)
    if isinstance(batch, dict):
        return {key: _as_tensors(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(_as_tensors(value) for value in batch)
    return batch


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _copy(source: dict[str, Tensor], target: dict[str, Any], folder: Path) -> None:
    if source.keys() != target.keys():
        wrong = sorted(source.keys() ^ target.keys())[0]
        raise CheckpointError(f"{folder} does not fit the task: {wrong!r} is in only one of them")
    with torch.no_grad():
        for name, tensor in source.items():
            if tensor.shape != target[name].shape:
                shapes = f"{tuple(tensor.shape)}, the task has {tuple(target[name].shape)}"
                raise CheckpointError(f"{folder} does not fit the task: {name!r} is {shapes}")
            target[name].copy_(tensor)


def _check_recipe(before: Any, now: Any, where: str = "") -> None:
    """See that nothing changed since the state was saved but what may."""
    if where in FREE_ON_RESUME or before == now:
        return
    if isinstance(before, list) and isinstance(now, list) and len(before) > 1:  # dozens of styles, of which one is new
        before, now = [x for x in before if x not in now] or before, [x for x in now if x not in before] or now
    if not (isinstance(before, dict) and isinstance(now, dict)):
        raise RecipeError(f"{where} was {before!r} when the run began, got {now!r}; allowed on resuming: {before!r}")
    for key in {**before, **now}:
        _check_recipe(before.get(key), now.get(key), f"{where}.{key}" if where else key)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C or SIGTERM sets the event, and a second one acts as it always does."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: Any) -> None:
        stopped.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
