"""Where phrases of a chorale end, and with which chords."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musegen.music.chorale_corpus import find_key
from musegen.music.chorales import SILENCE, STEPS_PER_BEAT, Grid

Ends = NDArray[np.int64]
Cadence = tuple[int, tuple[int, ...]]  # the bass above the key's tonic, and the pitch classes above the bass

_HELD = 2 * STEPS_PER_BEAT
_OCTAVE, _FIFTH = 12, 7
_THIRDS = (3, 4)


@dataclass(frozen=True)
class Cadences:
    """How phrases end.

    Args:
        triads: share of phrase ends whose chord is a major or minor triad in root position; its fifth may be missing.
        fifths: share of phrase ends that the bass falls a fifth to, or rises a fourth.
        final_tonics: share of pieces whose last chord is such a triad on the tonic of the key.
        final_fifths: share of pieces whose last motion of the bass is from the fifth degree to the first.
    """

    triads: float
    fifths: float
    final_tonics: float
    final_fifths: float


def phrase_ends(grid: Grid) -> Ends:
    """Finds where phrases surely end: the last sixteenth of chords held for two beats, and of the piece.

    A grid has no fermatas, and most of Bach's fermatas last a beat, as any chord does. Of the places found in the
    chorales that JSB trains on five in six bear a fermata, and they are half of all that do.

    Args:
        grid: (T, 4) MIDI pitches.

    Returns:
        Places in time, in order; none if nothing sounds.
    """
    sounding = np.flatnonzero((grid != SILENCE).any(1))
    if not len(sounding):
        return np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, (np.diff(grid, axis=0) != 0).any(1)))
    lengths = np.diff(np.append(starts, len(grid)))
    full = (grid[starts] != SILENCE).all(1)
    held = (starts + lengths - 1)[full & (lengths >= _HELD)]
    return np.union1d(held, sounding[-1:])


def cadence(grid: Grid, end: int, tonic: int) -> Cadence:
    """Returns the chord at a place of a grid (T, 4), at which something sounds, in a key."""
    chord = grid[end][grid[end] != SILENCE]
    bass = int(chord.min())
    return (bass - tonic) % _OCTAVE, tuple(sorted({int(pitch - bass) % _OCTAVE for pitch in chord}))


def cadences(grids: Sequence[Grid], ends: Sequence[Ends]) -> tuple[Cadences, list[Cadence]]:
    """Measures how phrases of chorales end.

    Args:
        grids: (T, 4) each.
        ends: places at which phrases end, in order, the last of them the end of the piece.

    Returns:
        The shares, and the chord of every phrase end. The key is each grid's own (`chorale_corpus.find_key`).
    """
    chords, triads, fifths, finals = [], [], [], []
    for grid, places in zip(grids, ends, strict=True):
        tonic, _ = find_key(grid)
        found = [cadence(grid, int(end), tonic) for end in places if (grid[end] != SILENCE).any()]
        moves = [_bass_moves_by_fifth(grid, int(end)) for end in places if (grid[end] != SILENCE).any()]
        chords, triads = chords + found, triads + [_is_triad(chord) for _, chord in found]
        fifths += moves
        if found:
            on_tonic = found[-1][0] == 0
            finals.append((on_tonic and _is_triad(found[-1][1]), on_tonic and moves[-1]))
    tonics, authentic = zip(*finals, strict=True) if finals else ((), ())
    return Cadences(
        *(float(np.mean(shares)) if shares else 0.0 for shares in (triads, fifths, tonics, authentic))
    ), chords


def _is_triad(chord: tuple[int, ...]) -> bool:
    """Whether pitch classes above the bass are a root, one third and at most a fifth besides."""
    return sum(third in chord for third in _THIRDS) == 1 and set(chord) <= {0, *_THIRDS, _FIFTH}


def _bass_moves_by_fifth(grid: Grid, end: int) -> bool:
    """Whether the last other pitch class of the bass was a fifth above the one that it ends on."""
    bass = grid[: end + 1, -1]
    classes = bass[bass != SILENCE] % _OCTAVE
    others = classes[classes != classes[-1]] if len(classes) else classes
    return bool(len(others) and (others[-1] - classes[-1]) % _OCTAVE == _FIFTH)
