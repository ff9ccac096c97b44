"""Whether anything returns: how like each bar of a piece is to the bars before it.

Two bars are compared as sets of (tick in the bar, instrument, pitch). They are nearly equal where the notes that they
share are three quarters of all that either has (Jaccard index). Empty bars return for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musegen.music.grid import INSTRUMENT, ONSET, PITCH, GridScore

NEARLY = 0.75
"""From this Jaccard index on, two bars are nearly equal."""


@dataclass(frozen=True)
class Returns:
    """Bars of some pieces compared, counted over all of them.

    Args:
        pairs: for each lag from 1 on, how many pairs of bars so far apart have notes: (n_lags,).
        equal: how many of them are equal.
        nearly: how many are nearly equal, or equal.
        bars: how many bars there are.
        empty: how many of them have no note that begins in them.
        later: how many bars with notes have one before them in their piece.
        returning: how many of these nearly equal a bar before them.
    """

    pairs: np.ndarray
    equal: np.ndarray
    nearly: np.ndarray
    bars: int
    empty: int
    later: int
    returning: int

    @property
    def empty_share(self) -> float | None:
        """The share of bars that are empty; None without bars."""
        return self.empty / self.bars if self.bars else None

    @property
    def returning_share(self) -> float | None:
        """The share of later bars that nearly equal one before them; None without later bars."""
        return self.returning / self.later if self.later else None


def returns(grids: Sequence[GridScore], n_lags: int) -> Returns:
    """Compares each bar of pieces with those up to `n_lags` bars before it, and with all before it."""
    pairs, equal, nearly = np.zeros((3, n_lags), dtype=np.int64)
    n_bars = n_empty = n_later = n_returning = 0
    for grid in grids:
        bars = bar_sets(grid)
        n_bars += len(bars)
        full = [place for place, notes in enumerate(bars) if notes]
        n_empty += len(bars) - len(full)
        n_later += max(len(full) - 1, 0)
        for rank, here in enumerate(full):
            before = np.array(full[:rank], dtype=np.int64)
            alike = np.array([jaccard(bars[here], bars[other]) for other in before])
            n_returning += bool((alike >= NEARLY).any())
            lags = here - before - 1
            near = lags < n_lags
            pairs += np.bincount(lags[near], minlength=n_lags)
            equal += np.bincount(lags[near & (alike == 1)], minlength=n_lags)
            nearly += np.bincount(lags[near & (alike >= NEARLY)], minlength=n_lags)
    return Returns(pairs, equal, nearly, n_bars, n_empty, n_later, n_returning)


def bar_sets(grid: GridScore) -> list[frozenset[tuple[int, int, int]]]:
    """Returns for each bar the notes that begin in it, as (tick in the bar, instrument, pitch)."""
    bar = np.searchsorted(grid.bar_ticks, grid.notes[:, ONSET], side="right") - 1
    rows = np.column_stack([grid.notes[:, ONSET] - grid.bar_ticks[bar], grid.notes[:, [INSTRUMENT, PITCH]]])
    found: list[list[tuple[int, int, int]]] = [[] for _ in range(grid.n_bars)]
    for place, (tick, instrument, pitch) in zip(bar.tolist(), rows.tolist(), strict=True):
        found[place].append((tick, instrument, pitch))
    return [frozenset(notes) for notes in found]


def jaccard(notes: frozenset[tuple[int, int, int]], others: frozenset[tuple[int, int, int]]) -> float:
    """Returns how many notes two bars share, by how many either has; not for two empty ones."""
    shared = len(notes & others)
    return shared / (len(notes) + len(others) - shared)
