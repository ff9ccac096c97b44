"""How near pieces come to others in what they are made of: histograms of some quantities, and distances between them.

A set of pieces is the mean of its pieces' histograms, so that a full score counts no more than a piano piece. How far
two sets lie apart says little by itself, since two handfuls of real pieces lie apart as well. So it is divided by how
far two halves of the real pieces do, of the same size and with the same share of each label: 1 is as near as real music
is to itself.

The histograms know nothing of order. Real pieces with their notes shuffled pass most of them; read them beside what
returns (`returns`), what is copied (`copies`) and what a model says in nats (`metrics`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musegen.midi.instruments import DRUMS, INSTRUMENTS
from musegen.music import vocabulary as v
from musegen.music.grid import DURATION, INSTRUMENT, ONSET, PITCH, VELOCITY, GridScore
from musegen.music.sequences import key_of

_WIDEST_INTERVAL = 24  # semitones; wider ones count as this
_STEPS_A_DOUBLING = 4  # of a duration
_LONGEST_DURATION = 8 * v.TICKS_PER_WHOLE
_POSITION_TICKS, _N_POSITIONS = 2, 96  # a sixteenth is three of them, a triplet eighth four
_MOST_VOICES = 24
_MOST_NOTES = 127

N_SPLITS = 64
"""How often real pieces are halved."""

Counts = Mapping[str, np.ndarray]
"""For each of QUANTITIES the histograms of some pieces: (n_pieces, n_bins)."""


def pitch_classes(grid: GridScore) -> np.ndarray:
    """Returns each pitched note's semitones above the tonic of the best fitting key, 0..11; none if none fits."""
    pitches = _pitched(grid)[:, PITCH]
    key = key_of(pitches)
    return pitches[:0] if key is None else (pitches - key) % 12


def melodic_intervals(grid: GridScore) -> np.ndarray:
    """Returns the semitones from each top note of a pitched instrument to its next, plus 24, at most two octaves."""
    notes = _pitched(grid)
    notes = notes[np.lexsort((notes[:, PITCH], notes[:, ONSET], notes[:, INSTRUMENT]))]
    if len(notes) < 2:
        return np.zeros(0, dtype=np.int64)
    is_top = np.append((np.diff(notes[:, [INSTRUMENT, ONSET]], axis=0) != 0).any(1), True)
    top = notes[is_top]
    steps = np.diff(top[:, PITCH])[np.diff(top[:, INSTRUMENT]) == 0]
    return np.clip(steps, -_WIDEST_INTERVAL, _WIDEST_INTERVAL) + _WIDEST_INTERVAL


def durations(grid: GridScore) -> np.ndarray:
    """Returns the durations of pitched notes in quarters of a doubling above one tick, rounded."""
    ticks = np.minimum(_pitched(grid)[:, DURATION], _LONGEST_DURATION)
    return np.rint(_STEPS_A_DOUBLING * np.log2(ticks)).astype(np.int64)


def positions(grid: GridScore) -> np.ndarray:
    """Returns where in its bar each note begins, in steps of two ticks, at most two whole notes."""
    onset = grid.notes[:, ONSET]
    bar = np.searchsorted(grid.bar_ticks, onset, side="right") - 1
    return np.minimum((onset - grid.bar_ticks[bar]) // _POSITION_TICKS, _N_POSITIONS - 1)


def velocities(grid: GridScore) -> np.ndarray:
    """Returns the velocity level of each note."""
    return grid.notes[:, VELOCITY]


def polyphony(grid: GridScore) -> np.ndarray:
    """Returns how many notes sound at each tick at which one begins, 24 at most."""
    onset = grid.notes[:, ONSET]
    ends = np.sort(onset + grid.notes[:, DURATION])
    ticks = np.unique(onset)
    sounding = np.searchsorted(onset, ticks, side="right") - np.searchsorted(ends, ticks, side="right")
    return np.minimum(sounding, _MOST_VOICES)


def notes_a_bar(grid: GridScore) -> np.ndarray:
    """Returns how many notes begin in each bar, 127 at most."""
    return np.minimum(np.histogram(grid.notes[:, ONSET], grid.bar_ticks)[0], _MOST_NOTES) if grid.n_bars else _NONE


def instrument_ranks(grid: GridScore) -> np.ndarray:
    """Returns for each note how many instruments of the piece have more notes than its own; none for a soloist."""
    instruments, own, n_notes = np.unique(grid.notes[:, INSTRUMENT], return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-n_notes, kind="stable"))[own] if len(instruments) > 1 else _NONE


_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Quantity:
    """What is counted in pieces.

    Args:
        values: gives the bins of a piece, each from 0 on.
        n_bins: how many bins there are.
        unit: of distances.
        width: of a bin in that unit; None where the bins have no order.
    """

    values: Callable[[GridScore], np.ndarray]
    n_bins: int
    unit: str
    width: float | None


_SHARE = "total variation"
QUANTITIES: dict[str, Quantity] = {
    "pitch class": Quantity(pitch_classes, 12, _SHARE, None),
    "melodic interval": Quantity(melodic_intervals, 2 * _WIDEST_INTERVAL + 1, "semitones", 1),
    "duration": Quantity(
        durations, round(_STEPS_A_DOUBLING * np.log2(_LONGEST_DURATION)) + 1, "doublings", 1 / _STEPS_A_DOUBLING
    ),
    "position in the bar": Quantity(positions, _N_POSITIONS, _SHARE, None),
    "velocity": Quantity(velocities, len(v.VELOCITIES), "levels", 1),
    "polyphony": Quantity(polyphony, _MOST_VOICES + 1, "notes", 1),
    "notes a bar": Quantity(notes_a_bar, _MOST_NOTES + 1, "notes", 1),
    "instrument": Quantity(instrument_ranks, len(INSTRUMENTS), "ranks", 1),
}
"""What is compared. Ordered quantities lie apart by 1-Wasserstein in their unit, the others by total variation."""


def counts(grids: Sequence[GridScore]) -> dict[str, np.ndarray]:
    """Returns the histograms of pieces, for each of QUANTITIES (n_pieces, n_bins) uint16."""
    return {
        name: np.array(
            [np.bincount(quantity.values(grid), minlength=quantity.n_bins) for grid in grids], dtype=np.int64
        )
        .reshape(len(grids), quantity.n_bins)
        .clip(max=np.iinfo(np.uint16).max)
        .astype(np.uint16)
        for name, quantity in QUANTITIES.items()
    }


def shares(histograms: np.ndarray) -> np.ndarray:
    """Returns histograms (n, n_bins) as shares that add up to 1 in each piece, all 0 where nothing was counted."""
    return histograms / np.maximum(histograms.sum(1, keepdims=True), 1)


def mean_shares(shares: np.ndarray) -> np.ndarray:
    """Returns the mean (n_bins,) of `shares` (n, n_bins) over the pieces that have any; NaN where none has."""
    some = shares[shares.any(1)]
    return some.mean(0) if len(some) else np.full(shares.shape[1], np.nan)


def distance(shares: np.ndarray, others: np.ndarray, quantity: Quantity) -> float:
    """Returns how far the means of two sets of `shares` (n, n_bins) lie apart; pieces without any are left out.

    Returns:
        Half the sum of the differences (total variation, 0 to 1) where bins have no order; else the area between the
        cumulative shares (1-Wasserstein), in the quantity's unit; NaN where a set has nothing.
    """
    gap = mean_shares(shares) - mean_shares(others)
    if quantity.width is None:
        return float(np.abs(gap).sum() / 2)
    return float(np.abs(np.cumsum(gap)).sum() * quantity.width)


def halves(labels: Sequence[str], size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of two disjoint sets of `size` pieces, both with each label's share, else at random."""
    order = np.lexsort((rng.random(len(labels)), np.array(labels)))
    chosen = order[np.arange(2 * size) * len(order) // (2 * size)]
    pairs = rng.permuted(chosen.reshape(size, 2), axis=1)
    return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True)
class Likeness:
    """How near a set of pieces comes to real ones in one quantity.

    Args:
        distance: its mean distance to halves of the real pieces, in the quantity's unit.
        halves: the mean distance of two halves of them.
    """

    distance: float
    halves: float

    @property
    def ratio(self) -> float | None:
        """The distance as a multiple of that between two halves; None where these do not lie apart, or one is NaN."""
        ratio = self.distance / self.halves if self.halves else np.nan
        return ratio if np.isfinite(ratio) else None


def likeness(written: Counts, real: Counts, labels: Sequence[str], seed: int = 0) -> dict[str, Likeness]:
    """Returns how near a set of pieces comes to real ones in each of QUANTITIES.

    Args:
        written: histograms of the pieces, 1 or more.
        real: those of the real pieces, 2 or more.
        labels: the label of each real piece.
        seed: of how the real pieces are halved: N_SPLITS times, each half as large as the set of pieces where there are
            enough; of more pieces, so many are drawn for each half.
    """
    n_written = len(next(iter(written.values())))
    size = min(n_written, len(labels) // 2)
    rng = np.random.default_rng(seed)
    splits = [(*halves(labels, size, rng), rng.permutation(n_written)[:size]) for _ in range(N_SPLITS)]
    found = {}
    for name, quantity in QUANTITIES.items():
        ours, theirs = shares(written[name]), shares(real[name])
        apart = [
            [distance(ours[drawn], theirs[one], quantity), distance(theirs[other], theirs[one], quantity)]
            for one, other, drawn in splits
        ]
        found[name] = Likeness(*np.mean(apart, axis=0).tolist())
    return found


def _pitched(grid: GridScore) -> np.ndarray:
    return grid.notes[grid.notes[:, INSTRUMENT] != DRUMS]
