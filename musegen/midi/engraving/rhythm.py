"""Rhythm on paper: bars, notes moved to a grid that can be read, and lengths cut into note values.

Time on paper is counted in units, UNITS to a quarter: a 64th is 3 and a triplet eighth 16.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musegen.midi.score import Meters

UNITS = 48
"""Units in a quarter note."""

FINEST = 3
"""Units in the shortest value outside of triplets: a 64th."""

# Subdivisions of a beat in units, the plainest first, and what each one costs: the mean error, in units, that a
# plainer one may have more. The last is for exact times only: sixteenths and triplets in one beat.
_GRIDS: tuple[tuple[tuple[int, ...], float], ...] = (
    ((48,), 0.0), ((24,), 0.3), ((12,), 0.9), ((16,), 1.8), ((8,), 4.0), ((6,), 4.5), ((12, 16), 18.0), ((6, 8), 18.0),
)  # fmt: skip


_APART = 4.0
"""Units between onsets that are not one chord."""


@dataclass(frozen=True)
class Bar:
    """A bar on paper.

    Args:
        start: its first unit.
        length: units.
        numerator: of the meter it is in.
        denominator: of the meter it is in.
    """

    start: int
    length: int
    numerator: int
    denominator: int

    @property
    def end(self) -> int:
        """The unit after its last."""
        return self.start + self.length

    @property
    def full_length(self) -> int:
        """The units that the meter asks for."""
        return max(4 * UNITS * self.numerator // self.denominator // FINEST, 1) * FINEST

    @property
    def is_compound(self) -> bool:
        """Whether its beats have three parts, as in 6/8."""
        return self.numerator % 3 == 0 and self.numerator > 3 and self.denominator >= 4

    @property
    def beat(self) -> int:
        """Units in a beat."""
        unit = max(4 * UNITS // self.denominator, FINEST)
        return 3 * unit if self.is_compound else unit

    @property
    def cell(self) -> int:
        """Units in the stretch that has one subdivision: a quarter, or an eighth where the meter counts eighths."""
        return UNITS if self.denominator <= 4 else UNITS // 2

    @property
    def levels(self) -> tuple[int, ...]:
        """The periods of its accents in units, the strongest first."""
        levels = [self.full_length]
        half = self.full_length // 2
        while half > self.beat and half % self.beat == 0:
            levels.append(half)
            half //= 2
        below = self.beat
        if self.is_compound:
            levels.append(below)
            below //= 3
        while below >= FINEST:
            levels.append(below)
            below //= 2
        return tuple(levels)


def bars_of(meters: Meters, ticks_per_quarter: int, end_ticks: int) -> list[Bar]:
    """Returns the bars up to a tick, at least one; the last bar is whole, and one before a new meter may be short."""
    starts = np.rint(meters.start_ticks * (UNITS / FINEST) / ticks_per_quarter).astype(np.int64) * FINEST
    end = max(int(np.ceil(end_ticks * UNITS / ticks_per_quarter - 0.5)), 1)
    bars: list[Bar] = []
    for place, meter in enumerate(meters):
        start = int(starts[place])
        stop = int(starts[place + 1]) if place + 1 < len(starts) else None
        while start < end and (stop is None or start < stop):
            bar = Bar(start, 0, meter.numerator, meter.denominator)
            length = bar.full_length if stop is None else min(bar.full_length, stop - start)
            bars.append(Bar(start, length, meter.numerator, meter.denominator))
            start += length
    return bars


def cell_starts(bars: list[Bar]) -> NDArray[np.int64]:
    """Returns where each cell of the bars begins, and the end of the last one."""
    parts = [np.arange(bar.start, bar.end, bar.cell) for bar in bars]
    return np.append(np.concatenate(parts), bars[-1].end)


def quantise(
    start: NDArray[np.floating], end: NDArray[np.floating], cells: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Moves notes to the plainest grid that fits in each cell.

    An end that is on the grid stays; any other is what a player's hand did, and goes where the next note begins or,
    away from notes, to the nearest place on the grid.

    Args:
        start: of the notes, in units.
        end: of the notes, in units.
        cells: where cells begin, in units.
        tolerance: how far from the grid, in units, a time may be and still count as on it.

    Returns:
        Starts and ends in whole units (every note lasts), and whether each end was on the grid.
    """
    grid = _grids(start, end, cells, tolerance)
    new_start, _ = _moved(start, cells, grid)
    new_end, error = _moved(end, cells, grid)
    onsets = np.unique(new_start)
    finest = np.array([max(min(steps), FINEST) for steps, _ in _GRIDS])
    shortest = finest[grid[_cell_of(new_start, cells)]]
    is_exact = (error <= tolerance) & (new_end > new_start)
    for place in np.flatnonzero(~is_exact):
        first, wished = int(new_start[place]), float(new_start[place] + end[place] - start[place])
        later = onsets[np.searchsorted(onsets, first + 1) :]
        nearest = int(later[np.abs(later - wished).argmin()]) if len(later) else -1
        # Under a note that began meanwhile, what is left of this one is the hand's or the pedal's.
        is_held = len(later) and later[0] < wished
        if nearest > 0 and (is_held or nearest - wished <= max(0.4 * (nearest - first), FINEST)):
            new_end[place] = nearest
        else:
            new_end[place] = max(int(new_end[place]), first + int(shortest[place]))
    return new_start, new_end, is_exact


def _cell_of(units: NDArray, cells: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(np.searchsorted(cells, units, side="right") - 1, 0, len(cells) - 2)


def _error(units: NDArray[np.floating], steps: tuple[int, ...]) -> NDArray[np.float64]:
    return np.min([np.abs(units - np.rint(units / step) * step) for step in steps], axis=0)


def _grids(
    start: NDArray[np.floating], end: NDArray[np.floating], cells: NDArray[np.int64], tolerance: float
) -> NDArray[np.int64]:
    """Returns for each cell the place of its grid in _GRIDS."""
    n_cells = len(cells) - 1
    start_cell, end_cell = _cell_of(start, cells), _cell_of(end, cells)
    n_starts = np.bincount(start_cell, minlength=n_cells)
    cost = np.empty((len(_GRIDS), n_cells))
    for place, (steps, penalty) in enumerate(_GRIDS):
        error = _error(start - cells[start_cell], steps)
        total = np.bincount(start_cell, error, n_cells)
        cost[place] = total / np.maximum(n_starts, 1) + penalty
        # Onsets that are heard one after the other should not become one.
        moved = cells[start_cell] + np.rint((start - cells[start_cell]) / steps[0]) * steps[0]
        merged = np.flatnonzero((np.diff(start) > _APART) & (np.diff(moved) == 0))
        cost[place] += 4.0 * np.bincount(start_cell[merged], minlength=n_cells)
        off = np.bincount(start_cell, error > tolerance, n_cells)
        off_end = np.bincount(end_cell, _error(end - cells[end_cell], steps) > tolerance, n_cells)
        # Exact times settle it, with the ends if they are exact too.
        cost[place] -= 100.0 * ((off == 0) & (n_starts > 0)) + 50.0 * ((off == 0) & (off_end == 0))
    return cost.argmin(0)


def _moved(
    units: NDArray[np.floating], cells: NDArray[np.int64], grid: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns times on the grids of their cells, and how far each was moved."""
    cell = _cell_of(units, cells)
    since = units - cells[cell]
    moved = np.zeros(len(units))
    for place, (steps, _) in enumerate(_GRIDS):
        choices = np.array([np.rint(since / step) * step for step in steps])
        nearest = np.take_along_axis(choices, np.abs(choices - since).argmin(0)[None], 0)[0]
        moved = np.where(grid[cell] == place, nearest, moved)
    # A cell may be shorter than its grid's step (the last one of 7/8): its end is where the next begins.
    moved = np.minimum(moved, (cells[cell + 1] - cells[cell]))
    moved = np.where(units >= cells[-1], 0, moved)
    base = np.where(units >= cells[-1], cells[-1], cells[cell])
    return (base + moved).astype(np.int64), np.abs(base + moved - units)


# Note values ----------------------------------------------------------------------------------------------------------

_TYPES = ("128th", "64th", "32nd", "16th", "eighth", "quarter", "half", "whole", "breve")
# Written lengths in half units, so that a 128th, the shortest inside a triplet, is 3.
VALUES: dict[int, tuple[str, int]] = {
    length: (name, dots)
    for place, name in enumerate(_TYPES)
    for length, dots in ((3 << place, 0), (9 << place >> 1, 1))
    if (9 << place) % 2 == 0 or not dots
}
"""Note type and dots of each length that one symbol has, in half units."""


def split_value(start: int, end: int, levels: tuple[int, ...], *, is_rest: bool = False, scale: int = 2) -> list[int]:
    """Cuts a note or a rest into symbols that show the accents of the bar.

    Args:
        start: units from the start of the bar.
        end: units from the start of the bar.
        levels: periods of the accents, the strongest first.
        is_rest: rests are never syncopated and, outside of three-part beats, never dotted.
        scale: half units that are written for a unit: 2, or 3 inside a triplet.

    Returns:
        Where the symbols end, the last one at `end`.
    """
    inner = next(((level, points) for level in levels if (points := _multiples(start, end, level))), None)
    value = VALUES.get((end - start) * scale)
    if inner is None:
        return [end]
    level, points = inner
    if value and _is_clear(start, end, level, points, levels, value[1], is_rest):
        return [end]
    cut = points[-1] if start % level == 0 else points[0]
    options = {"is_rest": is_rest, "scale": scale}
    return [*split_value(start, cut, levels, **options), *split_value(cut, end, levels, **options)]


def _multiples(start: int, end: int, level: int) -> range:
    return range(start // level * level + level, end, level)


def _is_clear(
    start: int, end: int, level: int, points: range, levels: tuple[int, ...], dots: int, is_rest: bool
) -> bool:
    """Whether one symbol across accents of a level can be read."""
    place = levels.index(level)
    below = levels[place + 1] if place + 1 < len(levels) else 0
    # A beat of three parts is a dotted value; a plain one across such beats would hide them.
    three = bool(below) and level // below == 3
    if three and (end - start) % level:
        return False
    if is_rest:
        return start % level == 0 and (three or not dots)
    if start % level == 0 or end % level == 0:
        return True
    return len(points) == 1 and below * 2 == end - start and start % below == 0
