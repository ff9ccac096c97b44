"""Blocked Gibbs sampling from Coconet (Huang et al. 2017, section 4): rewrite a part of the cells again and again.

In every pass each free cell is masked with a probability that falls from 0.9 to 0.1 over the first seven tenths of
the passes, and what is masked is drawn anew, all at once, from what is left (Yao et al. 2014). The passes are an
iterator of grids: look at each of them, stop when you like.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from musegen.core.sampling import masked, sample
from musegen.errors import InputError
from musegen.music.chorales import LOWEST, N_CLASSES, OUTSIDE, RANGES, Grid, Mask
from musegen.music.coconet import Coconet
from musegen.train.recipe import Positive, Range

_MOST, _LEAST, _ANNEALED = 0.9, 0.1, 0.7  # share of cells masked first and last; part of the passes between them


@dataclass(frozen=True)
class GibbsConfig:
    """How cells are drawn.

    Args:
        n_passes: how often a part of the free cells is drawn anew.
        temperature: above 0; below 1 favours what is likely.
        rests: whether a voice may be silent in a free cell.
        ranges: the lowest and highest MIDI pitch of each voice.
    """

    n_passes: Positive = 64
    temperature: Annotated[float, Range(0.0)] = 0.99
    rests: bool = False
    ranges: tuple[tuple[int, int], ...] = RANGES

    def __post_init__(self):
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}")
        if self.n_passes < 1:
            raise InputError(f"n_passes must be 1 or more, got {self.n_passes}")


def masked_share(done: int, n_passes: int) -> float:
    """Returns the share of free cells that a pass masks, after `done` of `n_passes` (section 4.2)."""
    return max(_LEAST, _MOST - (_MOST - _LEAST) * done / n_passes / _ANNEALED)


def gibbs(model: Coconet, cells: Grid, free: Mask, config: GibbsConfig, seed: int = 0) -> Iterator[Grid]:
    """Fills in the free cells of pieces, and rewrites them pass after pass.

    Args:
        model: in eval mode.
        cells: (B, T, V) classes, with OUTSIDE at the ends of a piece; what free ones hold makes no difference.
        free: (B, T, V) bool: what may be written. All else stays as it is, in every pass.
        config: how cells are drawn.
        seed: of everything drawn.

    Yields:
        Cells (B, T, V) after each of `n_passes` passes: whole pieces, every free cell in the range of its voice.

    Raises:
        InputError: a free cell is OUTSIDE, or the shapes differ.
    """
    if cells.shape != free.shape:
        raise InputError(f"cells and free must have one shape, got {cells.shape} and {free.shape}")
    if (free & (cells == OUTSIDE)).any():
        raise InputError("a cell outside the piece cannot be free")
    device = next(model.parameters()).device
    rng = np.random.default_rng(seed)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
    allowed = _allowed(config).to(device)
    now, is_free = torch.from_numpy(cells).to(device), torch.from_numpy(free).to(device)
    for done in range(config.n_passes):
        again = is_free
        if done:  # at first nothing is known of what is free
            draws = torch.rand(is_free.shape, generator=generator, device=device)
            again = is_free & (draws < masked_share(done, config.n_passes))
        now = _rewritten(model, now, again, allowed, config.temperature, generator)
        yield now.cpu().numpy()


@torch.no_grad()
def _rewritten(
    model: Coconet, cells: Tensor, again: Tensor, allowed: Tensor, temperature: float, generator: torch.Generator
) -> Tensor:
    logits = masked(model(cells, again), allowed)[again]  # (n, 47)
    drawn = cells.clone()
    drawn[again] = sample(logits / temperature, generator)
    return drawn


def _allowed(config: GibbsConfig) -> Tensor:
    """Returns which classes each voice may take: (V, 47) bool."""
    allowed = torch.zeros(len(config.ranges), N_CLASSES, dtype=torch.bool)
    for voice, (low, high) in enumerate(config.ranges):
        classes = torch.arange(low, high + 1) - LOWEST + 1
        allowed[voice, classes[(classes >= 1) & (classes < N_CLASSES)]] = True
        if not allowed[voice].any():
            raise InputError(f"ranges must hold a pitch of 36 to 81 for every voice, got {low} to {high}")
    allowed[:, 0] |= config.rests
    return allowed
