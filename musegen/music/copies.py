"""The longest passage that a piece shares with others, note by note, in any key and for any instruments.

A piece is read as one row of notes without drums, by onset and then by pitch, each (onset, pitch) once. From each note
to the next there is a move: so many semitones and so many ticks. A passage of n notes is shared where n - 1 moves in a
row are the same; transposition, instruments, dynamics, tempo and bar lines do not matter.
"""

from collections.abc import Callable, Iterable, Sequence

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


def longest_copy(grid: GridScore, known: np.ndarray) -> int:
    """Returns how many notes the longest passage has that a piece shares with known ones; see `longest_copies`."""
    return int(longest_copies([moves(grid)], known)[0])


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
