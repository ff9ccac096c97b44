"""The longest passage that a piece shares with others, note by note, in any key and for any instruments.

A piece is read as one row of notes without drums, by onset and then by pitch, each (onset, pitch) once. From each note
to the next there is a move: so many semitones and so many ticks. A passage of n notes is shared where n - 1 moves in a
row are the same; transposition, instruments, dynamics, tempo and bar lines do not matter.

The training pieces themselves cannot ship. What can are fingerprints of their passages, chosen by winnowing (Schleimer,
Wilkerson and Aiken 2003, "Winnowing: local algorithms for document fingerprinting"): `Fingerprints`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from musegen.midi.instruments import DRUMS
from musegen.music.grid import INSTRUMENT, ONSET, PITCH, GridScore

_LONGEST_WAIT = 4095  # ticks from a note to the next that are told apart
_END, _OTHER_END = 0, 1  # what stands behind a piece that is known and one that is looked for: never the same

OnProgress = Callable[[int, int], None]
"""Takes how much is done, and of how much."""


def moves(grid: GridScore) -> np.ndarray:
    """Returns a number for each move from a note to the next (n,) uint32: both its semitones and its ticks."""
    notes = grid.notes[grid.notes[:, INSTRUMENT] != DRUMS]
    onset, pitch = np.divmod(np.unique(notes[:, ONSET] << 7 | notes[:, PITCH]), 128)
    ticks = np.minimum(np.diff(onset), _LONGEST_WAIT)
    return ((np.diff(pitch) + 128) << 12 | ticks).astype(np.uint32)


def joined(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the moves of many pieces as one row (n,), with an end behind each, for `longest_copies`."""
    end = np.array([_END], dtype=np.uint32)
    return np.concatenate([end, *(part for row in rows for part in (row, end))])


def longest_copies(rows: Sequence[np.ndarray], known: np.ndarray, on_progress: OnProgress | None = None) -> np.ndarray:
    """Returns for each piece the length of the longest passage that stands in a known piece too.

    Passages grow by a move at a time, in all pieces together. Whatever place no longer fits is dropped, so that the
    millions of places of a corpus are gone through only a few times.

    Args:
        rows: the `moves` of each piece.
        known: those of the others, `joined`.
        on_progress: called with how many of the known places are ruled out, and how many there are.

    Returns:
        (n,) notes, 0 where not even two notes in a row are shared.
    """
    own = np.concatenate([np.zeros(0, np.uint32), *(np.append(row, np.uint32(_OTHER_END)) for row in rows)])
    piece = np.repeat(np.arange(len(rows)), [len(row) + 1 for row in rows])
    longest = np.zeros(len(rows), dtype=np.int64)
    places, own_places = np.arange(len(known)), np.arange(len(own))
    hashes, own_hashes = np.zeros(len(known), np.uint64), np.zeros(len(own), np.uint64)
    length = 0
    while len(places) and len(own_places):
        # The last place of all is an end, so that nothing reads beyond: a passage with an end in it is never shared.
        hashes = _grown(hashes, known[places + length])
        own_hashes = _grown(own_hashes, own[own_places + length])
        length += 1
        sought = np.unique(own_hashes)
        kept = _member(hashes, sought)
        places, hashes = places[kept], hashes[kept]
        own_kept = _member(own_hashes, np.unique(hashes))
        own_places, own_hashes = own_places[own_kept], own_hashes[own_kept]
        longest[piece[own_places]] = length + 1
        if on_progress:
            on_progress(len(known) - len(places), len(known))
    return longest


_WINDOW = 16  # passages, of whose hashes the least is kept
_LOW_BITS, _HIGH_BITS = 32, 8  # of a hash that are kept; of the least of several, the lowest bits are still random


@dataclass(frozen=True)
class Fingerprints:
    """Which passages of a number of notes stand in some pieces, as hashes that do not give the notes away.

    Passages that only repeat something short, such as a chord, are everybody's, and left out.

    Args:
        n_notes: how many notes a passage has, at least 2.
        low: (n,) uint32, ascending: bits 0 to 31 of the hashes.
        high: (n,) uint8: bits 32 to 39.
    """

    n_notes: int
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[np.ndarray], n_notes: int) -> "Fingerprints":
        """Returns the fingerprints of pieces, each given by its `moves`."""
        chosen = [_least(_passages(row, n_notes - 1)) for row in rows]
        kept = np.unique(np.concatenate([np.zeros(0, np.uint64), *chosen]) & _mask(_LOW_BITS + _HIGH_BITS))
        low = (kept & _mask(_LOW_BITS)).astype(np.uint32)
        order = np.argsort(low, kind="stable")
        return cls(n_notes, low[order], (kept >> np.uint64(_LOW_BITS)).astype(np.uint8)[order])

    @property
    def n_surely_found(self) -> int:
        """How many notes a shared passage must have to be found always."""
        return self.n_notes + _WINDOW - 1

    def longest(self, grid: GridScore) -> int:
        """Returns the most notes in a row of `grid` that were found to be made of passages of known pieces, 0 for none.

        Shared passages of fewer than `n_notes` are never found, those of `n_surely_found` always. Up to twice `_WINDOW`
        notes more may be shared than were found.
        """
        hashes = _passages(moves(grid), self.n_notes - 1)
        found = np.isin(hashes, _least(hashes)) & self._known(hashes)
        place = np.flatnonzero(found)
        if not len(place):
            return 0
        # The passages found one after another, none further than a window from the one before, are one.
        run = np.split(place, np.flatnonzero(np.diff(place) > _WINDOW) + 1)
        return self.n_notes + max(int(part[-1] - part[0]) for part in run)

    def _known(self, hashes: np.ndarray) -> np.ndarray:
        """Returns which hashes (n,) uint64 are among these."""
        if not len(self.low):
            return np.zeros(len(hashes), dtype=bool)
        low = (hashes & _mask(_LOW_BITS)).astype(np.uint32)
        high = (hashes >> np.uint64(_LOW_BITS)).astype(np.uint8)
        first, last = (np.searchsorted(self.low, low, side=side) for side in ("left", "right"))
        known = np.zeros(len(hashes), dtype=bool)
        for offset in range(int((last - first).max(initial=0))):  # hashes of the same low bits are few
            place = np.minimum(first + offset, len(self.low) - 1)
            known |= (first + offset < last) & (self.high[place] == high)
        return known


def _mask(n_bits: int) -> np.uint64:
    return np.uint64((1 << n_bits) - 1)


def _passages(row: np.ndarray, n_moves: int) -> np.ndarray:
    """Returns the hash of each passage of so many moves (n,) uint64; _NO_PASSAGE where it only repeats itself."""
    n = max(len(row) - n_moves + 1, 0)
    hashes = np.zeros(n, np.uint64)
    for place in range(n_moves if n else 0):
        hashes = _grown(hashes, row[place : place + n])
    for period in range(1, n_moves // 2 + 1 if n else 0):
        n_equal = np.cumsum(np.insert(row[period:] == row[:-period], 0, False))
        length = n_moves - period
        hashes[n_equal[length:] - n_equal[:-length] == length] = _NO_PASSAGE
    return hashes


_NO_PASSAGE = np.iinfo(np.uint64).max


def _least(hashes: np.ndarray) -> np.ndarray:
    """Returns the least hash of each window, each once."""
    if len(hashes) <= _WINDOW:
        least = hashes[hashes.argmin()][None] if len(hashes) else hashes
    else:
        least = np.unique(np.lib.stride_tricks.sliding_window_view(hashes, _WINDOW).min(1))
    return least[least != _NO_PASSAGE]


def _grown(hashes: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Returns the hashes of passages (n,) uint64 that are longer by what follows them (n,)."""
    with np.errstate(over="ignore"):
        grown = (hashes ^ following.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        return grown ^ (grown >> np.uint64(29))


_TABLE_BITS = 22


def _member(values: np.ndarray, sought: np.ndarray) -> np.ndarray:
    """Returns which values (n,) are among those sought (m,), ascending: as `np.isin`, fast where few are."""
    if not len(sought):
        return np.zeros(len(values), dtype=bool)
    table = np.zeros(1 << _TABLE_BITS, dtype=bool)
    shift = np.uint64(64 - _TABLE_BITS)
    table[sought >> shift] = True
    found = table[values >> shift]
    candidates = np.flatnonzero(found)
    where = np.minimum(np.searchsorted(sought, values[candidates]), len(sought) - 1)
    found[candidates] = sought[where] == values[candidates]
    return found
