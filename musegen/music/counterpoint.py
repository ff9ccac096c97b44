"""How far chorales keep the rules of four-part writing, and how near they come to Bach's in what they are made of.

Bach breaks most rules now and then: print his own figures beside those of a model.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from musegen.music.chorales import N_VOICES, RANGES, SILENCE, STEPS_PER_BEAT, Grid

_OCTAVE, _FIFTH = 12, 7
_WIDEST = (12, 12, 19)  # semitones between neighbouring voices: soprano and alto, alto and tenor, tenor and bass


@dataclass(frozen=True)
class Rules:
    """Breaches of the rules of four-part writing.

    Args:
        out_of_range: share of the sounding cells.
        crossing: share of the sixteenths in which a voice lies below the next lower one.
        spacing: share of the sixteenths in which two neighbouring voices lie too far apart.
        parallel_fifths: for 100 changes of the chord, as are the following.
        parallel_octaves: unisons included.
        hidden_fifths: soprano and bass move in one direction into a fifth, the soprano by a leap.
        hidden_octaves: likewise.
    """

    out_of_range: float
    crossing: float
    spacing: float
    parallel_fifths: float
    parallel_octaves: float
    hidden_fifths: float
    hidden_octaves: float


def rules(grids: Iterable[Grid]) -> Rules:
    """Counts breaches over chorales (T, 4) together."""
    counts = np.sum([_breaches(grid) for grid in grids], axis=0)
    n_cells, n_steps, n_changes, out_of_range, crossing, spacing, *motions = counts.tolist()
    shares = [out_of_range / max(n_cells, 1), crossing / max(n_steps, 1), spacing / max(n_steps, 1)]
    return Rules(*shares, *(100 * count / max(n_changes, 1) for count in motions))


def _breaches(grid: Grid) -> list[int]:
    """Returns cells that sound, sixteenths, changes of the chord, and breaches in the order of `Rules`."""
    sounds = grid != SILENCE
    low, high = np.array(RANGES).T
    upper, lower = grid[:, :-1], grid[:, 1:]
    both = sounds[:, :-1] & sounds[:, 1:]
    crossing = (both & (upper < lower)).any(1)
    spacing = (both & (upper - lower > _WIDEST)).any(1)
    chords = grid[np.append(True, (np.diff(grid, axis=0) != 0).any(1))]
    motions = [len(_parallels(chords, interval)) for interval in (_FIFTH, 0)]
    motions += [int(_hidden(chords, interval).sum()) for interval in (_FIFTH, 0)]
    outside = sounds & ((grid < low) | (grid > high))
    return [
        int(sounds.sum()),
        len(grid),
        len(chords) - 1,
        int(outside.sum()),
        int(crossing.sum()),
        int(spacing.sum()),
        *motions,
    ]


def _parallels(chords: Grid, interval: int) -> list[tuple[int, int, int]]:
    """Returns where two voices keep a perfect interval while both move: chord, upper voice, lower voice."""
    found = []
    for upper, lower in combinations(range(N_VOICES), 2):
        apart, moved = _apart(chords, upper, lower)
        kept = (apart[:-1] == interval) & (apart[1:] == interval) & moved.all(1)
        found += [(int(chord), upper, lower) for chord in kept.nonzero()[0]]
    return found


def parallels_into(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns how many parallel fifths and octaves lead into each sixteenth (T,), and where the chords begin (n,)."""
    starts = np.flatnonzero(np.append(True, (np.diff(grid, axis=0) != 0).any(1)))
    chords = [chord + 1 for interval in (_FIFTH, 0) for chord, _, _ in _parallels(grid[starts], interval)]
    return np.bincount(starts[chords], minlength=len(grid)), starts


def _hidden(chords: Grid, interval: int) -> NDArray[np.bool_]:
    """Returns where soprano and bass move in one direction into a perfect interval, the soprano by more than a tone."""
    apart, _ = _apart(chords, 0, N_VOICES - 1)
    steps = np.diff(chords[:, [0, -1]], axis=0)
    similar = steps[:, 0] * steps[:, 1] > 0
    known = (chords[:-1, [0, -1]] != SILENCE).all(1)
    return known & similar & (abs(steps[:, 0]) > 2) & (apart[1:] == interval) & (apart[:-1] != interval)


def _apart(chords: Grid, upper: int, lower: int) -> tuple[Grid, NDArray[np.bool_]]:
    """Returns the interval of two voices less octaves, -1 where one is silent, and which of them move next.

    Of voices that cross it is counted from the lower note: a fourth stays a fourth.
    """
    pair = chords[:, [upper, lower]]
    apart = np.where((pair != SILENCE).all(1), abs(pair[:, 0] - pair[:, 1]) % _OCTAVE, -1)
    return apart, np.diff(pair, axis=0) != 0


# --- Distributions


def pitches(grid: Grid) -> Grid:
    """Returns the pitch of every sounding cell."""
    return grid[grid != SILENCE]


def melodic_intervals(grid: Grid) -> Grid:
    """Returns the semitones from each note to the next of its voice; a repeated note is not told from a held one."""
    steps = [np.diff(voice[voice != SILENCE]) for voice in grid.T]
    return np.concatenate([step[step != 0] for step in steps])


def durations(grid: Grid) -> Grid:
    """Returns the sixteenths that each pitch of a voice lasts, repeated notes joined."""
    found = []
    for voice in grid.T:
        starts = np.flatnonzero(np.append(True, np.diff(voice) != 0))
        lengths = np.diff(np.append(starts, len(voice)))
        found.append(lengths[voice[starts] != SILENCE])
    return np.concatenate(found)


def harmonies(grid: Grid) -> list[tuple[int, ...]]:
    """Returns the chord of every beat as pitch classes above its lowest voice: (0, 4, 7) is a major triad."""
    chords = [frame[frame != SILENCE] for frame in grid[::STEPS_PER_BEAT]]
    return [tuple(sorted({int(pitch - chord[-1]) % _OCTAVE for pitch in chord})) for chord in chords if len(chord)]


def wasserstein(values: NDArray[np.int64], others: NDArray[np.int64]) -> float | None:
    """Returns the area between the cumulative distributions of two samples (Wasserstein); None if one is empty."""
    if not len(values) or not len(others):
        return None
    places = np.arange(min(values.min(), others.min()), max(values.max(), others.max()))
    shares = [np.searchsorted(np.sort(x), places, side="right") / len(x) for x in (values, others)]
    return float(np.abs(shares[0] - shares[1]).sum())


def total_variation(values: Sequence[Hashable], others: Sequence[Hashable]) -> float | None:
    """Returns half the sum of the differences of shares in two samples, 0 to 1; None if one is empty."""
    if not len(values) or not len(others):
        return None
    names = {name: index for index, name in enumerate(dict.fromkeys([*values, *others]))}
    shares = [np.bincount([names[x] for x in xs], minlength=len(names)) / len(xs) for xs in (values, others)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def distances(grids: Sequence[Grid], others: Sequence[Grid]) -> dict[str, float | None]:
    """Returns how far two sets of chorales differ in what they are made of (after Fang et al. 2020).

    Returns:
        Wasserstein distances of "pitches" and "melodic_intervals" (semitones) and of "durations" (sixteenths), and the
        total variation of "harmonies"; None where a set has nothing of the kind.
    """
    features: dict[str, Callable[[Grid], Grid]] = {
        "pitches": pitches,
        "melodic_intervals": melodic_intervals,
        "durations": durations,
    }
    found = {
        name: wasserstein(*(np.concatenate([feature(grid) for grid in side]) for side in (grids, others)))
        for name, feature in features.items()
    }
    sides = [[chord for grid in side for chord in harmonies(grid)] for side in (grids, others)]
    return {**found, "harmonies": total_variation(*sides)}


# --- What is copied


def longest_copies(grids: Iterable[Grid], others: Iterable[Grid]) -> list[int]:
    """Returns the longest passage of each chorale, in sixteenths, that is in another in all four voices, in any key."""
    names: dict[bytes, int] = {}
    known = [-1]  # between two chorales, and before the first: like no sixteenth of any
    for other in others:
        known += [names.setdefault(frame, len(names)) for frame in _relative(other)] + [-1]
    return [_longest_run([names.get(frame, -2) for frame in _relative(grid)], np.array(known)) for grid in grids]


def _longest_run(frames: Sequence[int], known: NDArray[np.int64]) -> int:
    """Returns how many sixteenths the longest common run of moves joins; 0 if there is none."""
    length, longest = np.zeros(len(known), dtype=np.int64), 0  # of the runs that end at each place of what is known
    for frame in frames:
        length[1:] = (length[:-1] + 1) * (known[1:] == frame)
        longest = max(longest, int(length.max()))
    return longest + 1 if longest else 0


def _relative(grid: Grid) -> list[bytes]:
    """Returns, for each sixteenth but the first, how it stands to the one before it, whatever the key."""
    reference = np.where((grid != SILENCE).any(1), np.where(grid == SILENCE, 127, grid).min(1), 0)
    both = np.hstack([grid[:-1], grid[1:]])
    moved = np.where(both == SILENCE, 127, both - reference[:-1, None])
    return [frame.astype(np.int8).tobytes() for frame in moved]
