"""Classifier-free guidance (Ho and Salimans 2022, equation 6): a condition counts more than the model was taught."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from musegen.core.decode import Engine


class GuidedEngine:
    """An `Engine` of B rows in one of 2 B, where each row stands a second time without its condition.

    Its logits are `scale` times those with the condition, and 1 - `scale` times those without. 1 is the model as it is,
    0 does without the condition, and above 1 what the condition makes likelier becomes likelier still.

    Args:
        engine: of 2 B rows.
        n_rows: B.
        scale: how much the condition counts; one number, or one for each value, (V,).
        without: given the inputs (T, K) of a prompt, those that do not tell the condition (T', K), with T' up to T.
    """

    def __init__(self, engine: Engine, n_rows: int, scale: float | np.ndarray, without: Callable[[Tensor], Tensor]):
        self._engine, self._n_rows, self._scale, self._without = engine, n_rows, scale, without

    @property
    def max_positions(self) -> int:
        """The number of inputs that a row can hold."""
        return self._engine.max_positions

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        """Starts `rows` anew with inputs (R, T, K); returns the logits (R, V) of what follows."""
        told = self._engine.prefill(inputs, rows)
        places = range(rows.start + self._n_rows, rows.stop + self._n_rows)
        untold = [
            self._engine.prefill(self._without(prompt)[None], slice(place, place + 1))
            for place, prompt in zip(places, inputs, strict=True)
        ]
        return self._guided(told, torch.cat(untold))

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        """Appends one input (B, K) to rows that are `active` (B,); returns the logits (B, V) of what follows."""
        return self._guided(*self._engine.step(inputs.repeat(2, 1), active.repeat(2)).chunk(2))

    def _guided(self, told: Tensor, untold: Tensor) -> Tensor:
        # In NumPy: torch would share it out among threads, and waiting for these takes longer than it.
        with_it, without_it = (logits.float().cpu().numpy() for logits in (told, untold))
        return torch.from_numpy(without_it + self._scale * (with_it - without_it))
