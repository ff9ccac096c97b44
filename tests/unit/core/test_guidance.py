"""Guidance against a model that can be added up by hand: its logits are what a row was fed so far."""

import numpy as np
import pytest
import torch
from torch import Tensor

from musegen.core.guidance import GuidedEngine


class SumEngine:
    """Its logits (R, 4) count how often each of four tokens was fed."""

    max_positions = 9

    def __init__(self, n_rows: int):
        self.counts = torch.zeros(n_rows, 4)

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        self.counts[rows] = torch.nn.functional.one_hot(inputs[..., 0], 4).sum(1).float()
        return self.counts[rows]

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        self.counts += torch.nn.functional.one_hot(inputs[:, 0], 4) * active[:, None]
        return self.counts


def without_threes(inputs: Tensor) -> Tensor:
    return inputs[inputs[:, 0] != 3]


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("of_others", [None, 9.0])
def test_what_the_condition_adds_counts_scale_times(scale: float, of_others: float | None):
    each = scale if of_others is None else np.array([of_others, of_others, of_others, scale])
    engine = GuidedEngine(SumEngine(6), 3, each, without_threes)
    assert engine.max_positions == 9
    # Prompts of one length, of which one tells nothing.
    first = engine.prefill(torch.tensor([[[3], [0]], [[1], [1]]]), slice(0, 2))
    np.testing.assert_allclose(first, [[1, 0, 0, scale], [0, 2, 0, 0]])
    last = engine.prefill(torch.tensor([[[3], [3], [2]]]), slice(2, 3))
    np.testing.assert_allclose(last, [[0, 0, 1, 2 * scale]])
    made = engine.step(torch.tensor([[0], [2], [2]]), torch.tensor([True, True, False]))
    np.testing.assert_allclose(made, [[2, 0, 0, scale], [0, 2, 1, 0], [0, 0, 1, 2 * scale]])
