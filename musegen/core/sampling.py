"""Drawing from categorical distributions: in torch many at once, in NumPy one at a time at a fraction of the cost."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musegen.errors import InputError


def masked(logits: Tensor, allowed: Tensor) -> Tensor:
    """Make what is not allowed impossible.

    Args:
        logits: (..., V).
        allowed: bool, broadcastable to the logits; at least one True in every distribution.

    Returns:
        (..., V), minus infinity where not allowed.
    """
    return logits.masked_fill(~allowed, -math.inf)


@dataclass(frozen=True)
class Sampling:
    """How a value is drawn: temperature first, then the `top_k` likeliest, then `top_p` of their probability.

    Args:
        temperature: 0 (always the likeliest value) or more; 1 leaves the distribution as the model gives it.
        top_k: how many values may be drawn, at least 1; None allows all.
        top_p: how much probability may be drawn, above 0 to 1.
        guidance: how much a condition counts for the logits (`guidance.GuidedEngine`): 1 as the model was taught.

    Raises:
        InputError: if a number is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    guidance: float = 1.0

    def __post_init__(self):
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature must be 0 or more, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise InputError(f"guidance must be 0 or more, got {self.guidance}")

    def odds(self, logits: np.ndarray) -> np.ndarray:
        """Returns what is drawn from: (V,) odds of at most 1, up to a factor probabilities; 0 for what is left out.

        Args:
            logits: (V,), at least one of them finite.
        """
        best = logits.argmax()
        if self.temperature == 0:
            return (np.arange(len(logits)) == best).astype(logits.dtype)
        # Relative to the likeliest, so that a tiny temperature cannot overflow.
        odds = np.exp((logits - logits[best]) / self.temperature)
        if self.top_k is not None:
            odds = top_k(odds, self.top_k)
        return top_p(odds, self.top_p)

    def draw(self, logits: np.ndarray, generator: np.random.Generator) -> int:
        """Returns a value drawn from logits (V,); nothing is taken from the generator but one number."""
        below = np.cumsum(self.odds(logits), dtype=np.float64)
        return int(np.searchsorted(below, generator.random() * below[-1], side="right"))


def top_k(odds: np.ndarray, k: int) -> np.ndarray:
    """Keeps the `k` largest odds (V,) and those equal to the smallest of them; makes the rest 0."""
    if k >= len(odds):
        return odds
    return np.where(odds < np.partition(odds, -k)[-k], 0, odds)


def top_p(odds: np.ndarray, p: float) -> np.ndarray:
    """Keeps the smallest set of likeliest values whose probabilities reach `p` (Holtzman et al. 2020, section 3.1).

    Args:
        odds: (V,), up to a factor probabilities.
        p: 0 (only the likeliest value) to 1 (everything).

    Returns:
        (V,), 0 outside the set.
    """
    if p >= 1:
        return odds
    total = odds.sum(dtype=np.float64)
    # All that are below this come to less than 1 - p: they need not be sorted.
    [likely] = np.nonzero(odds >= (1 - p) * total / len(odds))
    ordered = likely[np.argsort(-odds[likely], kind="stable")]
    reached = np.cumsum(odds[ordered], dtype=np.float64)
    # A value stays while those before it have not reached p; the first one always does.
    n_kept = 1 + int(np.searchsorted(reached, p * total))
    kept = np.zeros_like(odds)
    kept[ordered[:n_kept]] = odds[ordered[:n_kept]]
    return kept


def sample(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one value from each distribution.

    Args:
        logits: (..., V), with at least one that is finite in every distribution.
        generator: where the randomness comes from; None is torch's own.

    Returns:
        (...) int64.
    """
    flat = logits.reshape(-1, logits.shape[-1]).float().softmax(-1)
    return torch.multinomial(flat, 1, generator=generator).view(logits.shape[:-1])
