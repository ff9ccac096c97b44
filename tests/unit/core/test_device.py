"""Devices and seeds."""

import random

import numpy as np
import torch

from musegen.core.device import default_device, has_fast_bfloat16, n_threads, seed_everything


def test_default_device_works():
    assert torch.ones(2, device=default_device()).sum().item() == 2


def test_has_fast_bfloat16():
    assert isinstance(has_fast_bfloat16(), bool)
    assert has_fast_bfloat16("mps") is False


def test_n_threads():
    assert n_threads() >= 1


def test_seed_everything():
    draws = []
    for seed in (1, 1, 2):
        seed_everything(seed)
        draws.append((random.random(), np.random.random(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))
