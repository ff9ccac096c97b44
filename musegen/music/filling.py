"""Free cells of a grid filled in by Coconet: in a key that suits the voices, the best of several, with note onsets.

What surrounds the model is here: pitches that it does not know are moved into its range and back, beats that belong to
no phrase are told from rests, and of several candidates the one is taken that the model itself finds likeliest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.music.chorales import (
    HIGHEST,
    LOWEST,
    OUTSIDE,
    RANGES,
    SILENCE,
    STEPS_PER_BEAT,
    VOICES,
    Grid,
    Mask,
    to_cells,
    to_grid,
    with_ends,
    with_ends_and_free,
)
from musegen.music.coconet import Coconet
from musegen.music.gibbs import PASSES_PER_MENDING, GibbsConfig, gibbs, log_likelihoods
from musegen.music.onsets import Onsets, begins

MAX_CELLS = 1 << 14
"""Sixteenths that are written at once: a thousand bars of 4/4."""

Prefer = Callable[[Grid], bool]
"""Whether a candidate (T, 4) in MIDI pitches has what is asked for."""

OnPass = Callable[[int, int], None]
"""Called with the passes that are done, those of mending too, and with how many there are at most."""

_OCTAVE = 12


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be filled in.

    Args:
        grid: (T, 4) MIDI pitches 0 to 127, and SILENCE. What free cells hold makes no difference.
        free: (T, 4) which cells are to be written. All else stays.
        outside: (T,) sixteenths that belong to no phrase, none of them free.
        onsets: (T, 4) what is known of where notes begin, in the numbers of `onsets`.
        places: (T,) sixteenths since the bar began.
        bars: (T,) sixteenths in the bar.
    """

    grid: Grid
    free: Mask
    outside: NDArray[np.bool_]
    onsets: NDArray[np.int64]
    places: NDArray[np.int64]
    bars: NDArray[np.int64]


@dataclass(frozen=True)
class Filling:
    """How free cells are written.

    Args:
        gibbs: how they are drawn.
        n_candidates: how many times, side by side, of which the likeliest is taken; at least 1.
        seed: of everything drawn.
    """

    gibbs: GibbsConfig
    n_candidates: int = 1
    seed: int = 0


def fill(
    coconet: Coconet,
    onsets: Onsets,
    plan: Plan,
    how: Filling,
    on_pass: OnPass | None = None,
    prefer: Prefer | None = None,
) -> tuple[Grid, Mask]:
    """Fills in a plan.

    Args:
        coconet: in eval mode.
        onsets: in eval mode.
        plan: what is to be written; T at least 1.
        how: how.
        on_pass: called after every pass.
        prefer: what the best candidate should be, if any is.

    Returns:
        The grid (T, 4) in MIDI pitches, each free cell in the range of its voice (moved as `transposition` says), and
        where notes begin (T, 4).

    Raises:
        InputError: the plan is too long, or no pitch is left for a voice.
    """
    if len(plan.grid) > MAX_CELLS:
        raise InputError(f"music must be at most {MAX_CELLS:,} sixteenths long, got {len(plan.grid):,}")
    shift = transposition(plan.grid, ~plan.free)
    cells = np.where(plan.outside[:, None], OUTSIDE, to_cells(heard(plan.grid, plan.free, shift)))
    config = replace(how.gibbs, ranges=sounding_ranges(how.gibbs.ranges, shift, plan.free))
    candidates = _candidates(coconet, cells, plan.free, config, how, on_pass)
    grids = np.where(plan.free, to_grid(candidates) - shift * (candidates > 0), plan.grid)
    best = _best(coconet, candidates, grids, plan.free, how, prefer)
    written = np.where(plan.outside[:, None], OUTSIDE, candidates[best])
    return grids[best], begins(onsets, written, plan.onsets, plan.places, plan.bars)


def _candidates(
    coconet: Coconet, cells: Grid, free: Mask, config: GibbsConfig, how: Filling, on_pass: OnPass | None
) -> Grid:
    """Returns what was written (N, T, 4), as classes."""
    n_steps = len(cells)
    rows, are_free = _rows(cells, free, how.n_candidates)
    found, n_most = rows, config.n_passes + PASSES_PER_MENDING * config.n_mendings
    for done, found in enumerate(gibbs(coconet, rows, are_free, config, how.seed), start=1):  # noqa: B007
        passes = done + (PASSES_PER_MENDING - 1) * max(done - config.n_passes, 0)
        if on_pass and passes < n_most:
            on_pass(passes, n_most)
    if on_pass:  # also where there was less to mend
        on_pass(n_most, n_most)
    return found[:, STEPS_PER_BEAT : STEPS_PER_BEAT + n_steps]


def _best(coconet: Coconet, candidates: Grid, grids: Grid, free: Mask, how: Filling, prefer: Prefer | None) -> int:
    """Returns the likeliest of the candidates that are preferred; of all, if none is."""
    if how.n_candidates == 1 or not free.any():
        return 0
    cells = np.stack([with_ends(row) for row in candidates])
    _, are_free = _rows(candidates[0], free, len(candidates))
    likely = log_likelihoods(coconet, cells, are_free, how.seed)
    preferred = np.array([prefer is None or prefer(grid) for grid in grids])
    return int(np.where(preferred | ~preferred.any(), likely, -np.inf).argmax())


def _rows(cells: Grid, free: Mask, n_rows: int) -> tuple[Grid, Mask]:
    """Returns copies of cells and of what is free, (N, T', 4), with the ends of a piece around them."""
    cells, free = with_ends_and_free(cells, free)
    return np.repeat(cells[None], n_rows, axis=0), np.repeat(free[None], n_rows, axis=0)


# --- Pitches that the model does not know


def transposition(grid: Grid, given: Mask, ranges: Sequence[tuple[int, int]] = RANGES) -> int:
    """Returns by how many semitones given notes are moved for the model.

    That is by as few as bring all of them into the ranges of their voices; if none does, as many of them as possible.

    Args:
        grid: (T, 4) MIDI pitches, and SILENCE.
        given: (T, 4) which of them count.
        ranges: the lowest and highest pitch of each voice.
    """
    shifts = sorted(range(-127, 128), key=lambda shift: (abs(shift), shift))
    sounding = given & (grid != SILENCE)
    low, high = np.array(ranges).T
    inside = [int(((grid + shift >= low) & (grid + shift <= high) & sounding).sum()) for shift in shifts]
    return shifts[int(np.argmax(inside))]


def heard(grid: Grid, free: Mask, shift: int) -> Grid:
    """Returns a grid as the model hears it: moved, and by octaves what is then still outside 36 to 81."""
    moved = grid + shift
    moved = moved + _OCTAVE * -(-np.maximum(LOWEST - moved, 0) // _OCTAVE)
    moved = moved - _OCTAVE * -(-np.maximum(moved - HIGHEST, 0) // _OCTAVE)
    return np.where((grid == SILENCE) | free, SILENCE, moved)


def sounding_ranges(ranges: Sequence[tuple[int, int]], shift: int, free: Mask) -> tuple[tuple[int, int], ...]:
    """Returns what is left of the voices' ranges if what is written, moved back, must be a MIDI pitch.

    Raises:
        InputError: nothing is left for a voice that is to be written.
    """
    left = []
    for place, (voice, (low, high)) in enumerate(zip(VOICES, ranges, strict=True)):
        low_left, high_left = max(low, shift), min(high, 127 + shift)
        if low_left > high_left and free[:, place].any():
            where = "low" if shift > 0 else "high"
            raise InputError(f"what is given is too {where} for MIDI to have room for a {voice}; transpose it")
        left.append((low_left, high_left) if low_left <= high_left else (low, high))
    return tuple(left)
