"""Notes on staves: which hand plays a note, which clef a staff has, and the two voices on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from musegen.midi.instruments import INSTRUMENTS, VOICES, class_of
from musegen.midi.score import Track


@dataclass(frozen=True)
class Clef:
    """A clef: its sign, its line from the bottom and by how many octaves it moves, as MusicXML has them.

    Args:
        sign: "G", "F", "C" or "percussion".
        line: 1..5.
        octaves: by which it sounds higher than it looks.
        middle: the pitch on the middle line.
    """

    sign: str
    line: int
    octaves: int = 0
    middle: int = 71


TREBLE, BASS, ALTO = Clef("G", 2), Clef("F", 4, middle=50), Clef("C", 3, middle=60)
TREBLE_8, BASS_8 = Clef("G", 2, -1, 59), Clef("F", 4, -1, 38)
PERCUSSION = Clef("percussion", 2)


_HAND_SPAN = 14
"""Semitones that a hand reaches."""

_GRAND = frozenset(
    ("piano", "electric-piano", "harpsichord", "clavinet", "celesta", "organ", "accordion", "harp", "marimba",
     "vibraphone", "dulcimer", "synth-pad")
)  # fmt: skip
_BY_CLASS = {
    "acoustic-guitar": TREBLE_8, "electric-guitar": TREBLE_8, "distortion-guitar": TREBLE_8,
    "acoustic-bass": BASS_8, "electric-bass": BASS_8, "synth-bass": BASS_8, "contrabass": BASS_8,
    "viola": ALTO, "timpani": BASS, "tuba": BASS, "drums": PERCUSSION,
}  # fmt: skip


def choir_of(tracks: Sequence[Track]) -> tuple[int, ...]:
    """Finds the tracks that are written as a closed score: soprano and alto on one staff, tenor and bass on another.

    Returns:
        The places of the tracks that are named after the voices (the whole name, in any case), from the soprano down;
        nothing where a voice has no pitched track or several, or all four are silent.
    """
    names = ["" if track.is_drum else track.name.strip().lower() for track in tracks]
    if any(names.count(voice) != 1 for voice in VOICES):
        return ()
    places = tuple(names.index(voice) for voice in VOICES)
    return places if any(len(tracks[place].notes) for place in places) else ()


def is_keyboard(track: Track) -> bool:
    """Whether a part is written on two staves where its range asks for it."""
    return INSTRUMENTS[class_of(track.program, track.is_drum)].name in _GRAND


def clef_for(track: Track, pitch: NDArray[np.integer]) -> Clef:
    """Returns the clef that an instrument reads or, for most, that keeps its notes on the lines."""
    own = _BY_CLASS.get(INSTRUMENTS[class_of(track.program, track.is_drum)].name)
    if own is not None or not len(pitch):
        return own or TREBLE

    def ledger_lines(clef: Clef) -> float:
        return float((np.maximum(np.abs(pitch.astype(np.int64) - clef.middle) - 8, 0) ** 1.5).sum())

    return min((TREBLE, BASS), key=ledger_lines)


def needs_two_staves(pitch: NDArray[np.integer], n_alike: int) -> bool:
    """Whether notes reach so far up and down that one clef cannot hold them.

    Args:
        pitch: 0..127.
        n_alike: how many parts play the same instrument; of two, each is likely to be one hand.
    """
    if not len(pitch):
        return False
    least = 0.3 if n_alike == 2 else 0.04
    return bool((pitch < 55).mean() > least and (pitch > 64).mean() > least)


def left_hand(start: NDArray[np.floating], pitch: NDArray[np.integer], window: int) -> NDArray[np.bool_]:
    """Tells which notes of a keyboard part the left hand plays.

    A border between the hands moves from window to window along the cheapest path: hands that stretch, notes far off
    their staff and jumps of the border cost, and a border in a gap between the notes costs less.

    Args:
        start: units, ascending.
        pitch: 0..127.
        window: units, about a beat.
    """
    borders = np.arange(43, 80)
    windows, place = np.unique(np.rint(start / window * 8) // 8, return_inverse=True)
    cuts = np.searchsorted(place, np.arange(len(windows) + 1))
    pitch = pitch.astype(np.int64)
    cost = np.array([_border_costs(np.unique(pitch[a:b]), borders) for a, b in pairwise(cuts)])
    move = 0.35 * np.abs(borders[:, None] - borders[None, :])
    total, back = cost[0], np.zeros(cost.shape, np.int64)
    for row in range(1, len(windows)):
        ways = total[None, :] + move
        back[row] = ways.argmin(1)
        total = ways.min(1) + cost[row]
    path = np.full(len(windows), total.argmin())
    for row in range(len(windows) - 1, 0, -1):
        path[row - 1] = back[row][path[row]]
    return pitch < borders[path[place]]


def _border_costs(pitch: NDArray[np.int64], borders: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns what each border costs for the different pitches of a window; a note on it is the right hand's."""
    is_low = pitch[None, :] < borders[:, None]
    n_low, n = is_low.sum(1), len(pitch)
    highest_low, lowest_high = pitch[np.maximum(n_low - 1, 0)], pitch[np.minimum(n_low, n - 1)]
    low_span = np.where(n_low > 0, highest_low - pitch[0], 0)
    high_span = np.where(n_low < n, pitch[-1] - lowest_high, 0)
    cost = 0.5 * np.maximum(low_span - _HAND_SPAN, 0) + 0.5 * np.maximum(high_span - _HAND_SPAN, 0)
    # Ledger lines: the left hand above Eb4, the right hand below Bb3.
    cost += 0.5 * (is_low * np.maximum(pitch - 63, 0)).sum(1) + 0.5 * (~is_low * np.maximum(58 - pitch, 0)).sum(1)
    gap = np.where((n_low > 0) & (n_low < n), lowest_high - highest_low, 0)
    return cost - 0.3 * np.minimum(gap, 12) + 0.02 * np.abs(borders - 60)


def voices(
    start: NDArray[np.int64], end: NDArray[np.int64], pitch: NDArray[np.integer], is_exact: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Puts the notes of a staff into voice 0 (upper) or 1 (lower).

    Notes that start and end together are a chord of one voice. Where nothing overlaps, all is voice 0. Where more than
    two chords sound at once, one that a player held is let go; if all are exact, a voice holds notes that overlap.

    Args:
        start: units, ascending.
        end: units.
        pitch: 0..127.
        is_exact: whether a note's end is to be kept.

    Returns:
        The voice of each note, and its end.
    """
    spans: dict[tuple[int, int], list[int]] = {}
    for index, span in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        spans.setdefault(span, []).append(index)
    chords = sorted((*span, int(pitch[notes].max())) for span, notes in spans.items())
    voice, new_end = np.zeros(len(start), np.int64), end.copy()
    free, holder = [0, 0], [[0], [0]]
    for place, (first, last, height) in enumerate(chords):
        others = _overlapping(chords, place)
        # Above or below most of what sounds with it, by how long both sound.
        balance = sum((min(last, e) - max(first, s)) * np.sign(height - h) for s, e, h in others)
        wanted = int(balance < 0 or (balance == 0 and free[0] > first)) if others else 0
        if free[wanted] > first >= free[1 - wanted]:
            wanted = 1 - wanted
        notes = spans[first, last]
        if free[wanted] > first and not is_exact[holder[wanted]].any() and (start[holder[wanted]] < first).all():
            new_end[holder[wanted]] = first
            free[wanted] = first
        voice[notes] = wanted
        if last >= free[wanted]:
            free[wanted], holder[wanted] = last, notes
    return voice, new_end


def _overlapping(chords: list[tuple[int, int, int]], place: int) -> list[tuple[int, int, int]]:
    """Returns the chords that sound while one does."""
    first, last, _ = chords[place]
    found = []
    for other in chords[place + 1 :]:
        if other[0] >= last:
            break
        found.append(other)
    # Looking 64 chords back finds all but the longest pedal points.
    return found + [other for other in chords[max(place - 64, 0) : place] if other[1] > first]
