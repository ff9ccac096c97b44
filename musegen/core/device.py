"""Devices, what they are good at, and the seeds of every random number generator."""

import ctypes
import os
import random

import numpy as np
import torch


def default_device() -> torch.device:
    """The fastest device at hand: an NVIDIA or AMD GPU, an Apple GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_fast_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether matrix products of a device are much faster in bfloat16 than in float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if kind != "cpu":
        return False
    # Older releases of torch do not tell.
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def n_threads() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch on every device.

    Args:
        seed: 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that we call still draw from it)
    torch.manual_seed(seed)


def keep_freed_memory() -> None:
    """Make glibc keep what is freed for the next tensor, where there is a glibc; elsewhere nothing happens.

    By default it hands big blocks back to the system, and a training step on a CPU spends a fifth of its time on
    faulting them in again. The process keeps the most memory that it ever had.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)
