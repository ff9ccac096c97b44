"""Trained weights on disk: a folder with `model.safetensors` and `config.json`, and never a pickle.

    model.safetensors   the tensors, and in its header the configuration: this one file is the checkpoint
    config.json         the configuration again, for readers without torch

A checkpoint is replaced in one step, because its truth is in one file: whatever happens while it is written, a reader
finds the old one or the new one, and never the tensors of one with the configuration of the other.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from musegen.errors import CheckpointError

TENSORS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        tensors: by name, on the CPU, in the precision that they were saved in.
        config: JSON values.
        folder: where it was read from.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    folder: Path

    def restore(self, module: nn.Module) -> None:
        """Copy the tensors into a module, converted to its precision.

        Raises:
            CheckpointError: if a name or a shape does not fit; the module is then unchanged.
        """
        own = module.state_dict()
        wrong = [f"{name} is missing" for name in own if name not in self.tensors]
        wrong += [f"{name} is not in the model" for name in self.tensors if name not in own]
        for name, tensor in self.tensors.items():
            if name in own and own[name].shape != tensor.shape:
                wrong.append(f"{name} has shape {tuple(tensor.shape)} where the model has {tuple(own[name].shape)}")
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise CheckpointError(f"{self.folder / TENSORS} does not fit the model: {wrong[0]}{more}")
        module.load_state_dict(self.tensors)


def save(
    folder: str | Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write a checkpoint, or replace the one that is there.

    Args:
        folder: made if it is missing; other files in it stay.
        tensors: by name, on any device.
        config: JSON values.
        dtype: the precision that floating-point tensors are saved in, torch.float16 for weights that ship; None keeps
            their own.

    Raises:
        CheckpointError: if it cannot be written, or a weight is too big for `dtype`; what was there before stays.
    """
    folder = Path(folder)
    try:
        text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"config must hold JSON values only: {error}") from error
    converted = {name: _converted(name, tensor, dtype) for name, tensor in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _replacing(folder / TENSORS) as temporary:
            # Not `save_file`, which makes a file that only its owner can read.
            temporary.write_bytes(safetensors.torch.save(converted, {"config": text}))
        with _replacing(folder / CONFIG) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error.strerror or error}") from error


def load(folder: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    return _read(Path(folder), with_tensors=True)


def load_config(folder: str | Path) -> dict[str, Any]:
    """Read the configuration of a checkpoint without its tensors.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    return _read(Path(folder), with_tensors=False).config


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Returns a hash of weights by name, the same in whatever precision that holds them exactly they were saved."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        exact = tensor.detach().cpu().double() if tensor.is_floating_point() else tensor.detach().cpu()
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(exact.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(folder: Path, with_tensors: bool) -> Checkpoint:
    path = folder / TENSORS
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no checkpoint: there is no file {TENSORS}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
        config = json.loads(metadata["config"])
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    except KeyError:
        raise CheckpointError(f"{path} has no configuration in its header: musegen did not write it") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is damaged: the configuration is no JSON object but a {type(config).__name__}")
    return Checkpoint(tensors, config, folder)


def _converted(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A contiguous copy on the CPU that shares its memory with no other tensor."""
    tensor = tensor.detach()
    result = tensor.to("cpu", dtype if tensor.is_floating_point() else None, copy=True).contiguous()
    if result.dtype != tensor.dtype and (result.isfinite() != tensor.cpu().isfinite()).any():
        raise CheckpointError(f"{name} has values that {dtype} cannot hold, up to {float(tensor.abs().max()):g}")
    return result


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well, and is removed otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            # A rename that reaches the disk before the data would leave an empty file after a power cut.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
