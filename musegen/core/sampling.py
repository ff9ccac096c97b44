"""Filters over the logits of a categorical distribution, and drawing from it."""

import math
from dataclasses import dataclass

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


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the `k` largest logits (..., V) and those equal to the smallest of them; make the rest minus infinity."""
    smallest = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < smallest, -math.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest values whose probabilities reach `p` (Holtzman et al. 2020, section 3.1).

    Args:
        logits: (..., V).
        p: 0 (only the likeliest value) to 1 (everything).

    Returns:
        (..., V), minus infinity outside the set.
    """
    if p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    probability = ordered.softmax(-1)
    # A value stays while those before it have not reached p; the first one always does.
    drop = probability.cumsum(-1) - probability >= p
    drop[..., 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf)


@dataclass(frozen=True)
class Sampling:
    """How a value is drawn: temperature first, then the `top_k` likeliest, then `top_p` of their probability.

    Args:
        temperature: 0 (always the likeliest value) or more; 1 leaves the distribution as the model gives it.
        top_k: how many values may be drawn, at least 1; None allows all.
        top_p: how much probability may be drawn, above 0 to 1.

    Raises:
        InputError: if a number is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self):
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature must be 0 or more, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def filter(self, logits: Tensor) -> Tensor:
        """The logits (..., V) of the distribution that is drawn from; minus infinity marks what is left out."""
        if self.temperature == 0:
            best = logits.argmax(-1, keepdim=True)
            return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
        # Relative to the likeliest, so that a tiny temperature cannot overflow.
        logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        return top_p(logits, self.top_p)


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
