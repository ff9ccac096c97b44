"""The training state on disk: all that a run needs to go on as if it had never stopped.

    state-<step>/
        state.json           step, elapsed seconds, best score, world size, recipe, open log window
        weights.safetensors  parameters, buffers, optimizer states and moving averages
        rank-<n>.json, rank-<n>.safetensors   of each process: random number generators, and what the task keeps

A state is complete or not there: it is written under another name first, and older ones go only when it stands.
"""

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from musegen.errors import CheckpointError

VERSION = 1


def latest(run: Path) -> Path | None:
    """The newest complete state of a run, if there is one."""
    states = [path for path in run.glob("state-*") if re.fullmatch(r"state-\d+", path.name)]
    return max(states, key=lambda path: int(path.name[6:]), default=None)


def temporary(run: Path, step: int) -> Path:
    """Where the processes write the state of `step` before `publish`."""
    return run / f".state-{step:08d}.tmp"


def publish(run: Path, step: int) -> None:
    """Give a complete temporary state its name, and remove older ones and what kills left behind."""
    final = run / f"state-{step:08d}"
    if final.exists():  # the same step again, after a restart that did no step: the same state
        shutil.rmtree(temporary(run, step))
    else:
        temporary(run, step).rename(final)
    for path in [*run.glob("state-*"), *run.glob(".state-*.tmp")]:
        if path != final:
            shutil.rmtree(path)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors, from whichever device, laid out or shared however they are."""
    save_file({name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors onto the CPU.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def write_values(path: Path, values: dict[str, Any]) -> None:
    """Write JSON values."""
    path.write_text(json.dumps({"version": VERSION, **values}), encoding="utf-8")


def read_values(path: Path) -> dict[str, Any]:
    """Read JSON values.

    Raises:
        CheckpointError: the file is missing, damaged or of another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if values.get("version") != VERSION:
        raise CheckpointError(f"{path} is of version {values.get('version')}; allowed: {VERSION}")
    return values


def random_state(device: torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state of every generator that a task may draw from: Python's, NumPy's global one, PyTorch's."""
    name, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))  # noqa: NPY002
    values = {"python": random.getstate(), "numpy": [name, *rest]}
    tensors = {"numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)), "torch": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        tensors["mps"] = torch.mps.get_rng_state()
    return values, tensors


def set_random_state(device: torch.device, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Take back what `random_state` gave."""
    version, internal, gauss = values["python"]
    random.setstate((version, tuple(internal), gauss))
    name, *rest = values["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(tensors["torch"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    if device.type == "mps" and "mps" in tensors:
        torch.mps.set_rng_state(tensors["mps"])
