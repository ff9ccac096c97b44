"""Tracks as parts on paper: whole units, staves, clefs, voices and names for the pitches."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi import limits
from musegen.midi.engraving.layout import (
    BASS,
    PERCUSSION,
    TREBLE,
    Clef,
    choir_of,
    clef_for,
    is_keyboard,
    left_hand,
    needs_two_staves,
    voices,
)
from musegen.midi.engraving.lyrics import with_lyrics
from musegen.midi.engraving.rhythm import UNITS, Bar, bars_of, cell_starts, quantise
from musegen.midi.engraving.spelling import estimate_key, respell_neighbours, spell
from musegen.midi.score import Key, Notes, Score, Track
from musegen.midi.units import bar_counts

MAX_BARS = 10_000
"""The longest score that is written as notation."""

_FEET = (35, 36, 44)  # the drums that a drummer plays with the feet


@dataclass(frozen=True)
class Part:
    """What is written for one player or one choir; its notes are equally long columns in order of start, pitch and end.

    Args:
        tracks: whose notes these are: one track; or soprano, alto, tenor and bass, which are a closed score.
        clefs: of its staves, from the top.
        start: of each note, units.
        end: of each note, units.
        pitch: 0..127.
        fifths: the name of each note on the line of fifths.
        staff: of each note, from 0 at the top.
        voice: of each note on its staff, 0 or 1.
        source: the place of each note in its track.
    """

    tracks: tuple[Track, ...]
    clefs: tuple[Clef, ...]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]
    fifths: NDArray[np.int64]
    staff: NDArray[np.int64]
    voice: NDArray[np.int64]
    source: NDArray[np.int64]

    @property
    def track(self) -> Track:
        """Its first track."""
        return self.tracks[0]

    @property
    def is_drum(self) -> bool:
        """Whether its notes are drums."""
        return self.track.is_drum

    @property
    def is_closed_score(self) -> bool:
        """Whether it holds four voices, each of them a voice of its own on one of two staves throughout."""
        return len(self.tracks) > 1

    @property
    def owner(self) -> NDArray[np.int64]:
        """The place of each note's track in `tracks`."""
        return 2 * self.staff + self.voice if self.is_closed_score else np.zeros(len(self.pitch), np.int64)


@dataclass(frozen=True)
class Sheet:
    """A score on paper.

    Args:
        bars: at least one.
        keys: the key signature from each bar (its place in `bars`) on.
        parts: at least one.
    """

    bars: list[Bar]
    keys: dict[int, Key]
    parts: list[Part]


def sheet_of(score: Score) -> Sheet:
    """Lays a score out for paper.

    Raises:
        InputError: it has more than MAX_BARS bars, or more notes than a limit (`midi.limits`) allows.
    """
    most = limits.current().engraved_notes
    if score.n_notes > most:
        how = limits.how_to_raise("engraved_notes")
        raise InputError(f"notation holds at most {most:,} notes, the score has {score.n_notes:,} ({how})")
    meters = score.meters
    args = meters.start_ticks, meters.numerator, meters.denominator, score.ticks_per_quarter, score.end_ticks
    n_bars = int(bar_counts(*args).sum())
    if n_bars > MAX_BARS:
        raise InputError(f"notation holds at most {MAX_BARS:,} bars, the score has {n_bars:,}")
    voices = choir_of(score.tracks)
    kept = [place for place, track in enumerate(score.tracks) if len(track.notes) or place in voices]
    tracks = [score.tracks[place] for place in kept] or list(score.tracks[:1])
    tracks = with_lyrics(score, tracks) or [Track("", 0, False, Notes())]
    bars = bars_of(meters, score.ticks_per_quarter, score.end_ticks)
    parts = _parts(tracks, [kept.index(place) for place in voices], bars, score.ticks_per_quarter)
    end = max((int(part.end.max()) for part in parts if len(part.end)), default=0)
    if end > bars[-1].end:
        bars.append(replace(bars[-1], start=bars[-1].end, length=bars[-1].full_length))
    bars = [bar for bar in bars if bar.start < end] or bars[:1]
    keys = _keys(score, bars, parts)
    return Sheet(bars, keys, [_spelled(part, bars, keys) for part in parts])


def _parts(tracks: list[Track], voices: list[int], bars: list[Bar], ticks_per_quarter: int) -> list[Part]:
    """Returns the parts of tracks, of which some may be the voices of a closed score."""
    parts = []
    for place, track in enumerate(tracks):
        if voices and place == min(voices):
            choir = tuple(tracks[voice] for voice in voices)
            parts.append(_closed_score(choir, bars, ticks_per_quarter))
        elif place not in voices:
            parts.append(_part(track, tracks, bars, ticks_per_quarter))
    return parts


def _times(track: Track, ticks_per_quarter: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Returns where the notes of a track start and end, in units."""
    scale = UNITS / ticks_per_quarter
    return track.notes.start_ticks * scale, track.notes.end_ticks * scale


def _closed_score(choir: tuple[Track, ...], bars: list[Bar], ticks_per_quarter: int) -> Part:
    """Soprano and alto on the upper staff, tenor and bass on the lower one; what crosses or meets stays apart."""
    cells, tolerance = cell_starts(bars), _tolerance(ticks_per_quarter)
    lines = []
    for place, track in enumerate(choir):
        start, end, is_exact = quantise(*_times(track, ticks_per_quarter), cells, tolerance)
        onsets = np.append(np.unique(start), np.iinfo(np.int64).max)
        # A singer lets a note go when the next begins.
        sung = np.minimum(end, onsets[np.searchsorted(onsets, start, side="right")])
        end = np.where(is_exact, end, sung)
        source = _once(start, end, track.notes.pitch)
        start, end, pitch = start[source], end[source], track.notes.pitch[source].astype(np.int64)
        end, zeros = _until_struck_again(start, end, pitch), np.zeros_like(pitch)
        lines.append((start, end, pitch, zeros, zeros + place // 2, zeros + place % 2, source))
    start, end, pitch, *others = (np.concatenate(column) for column in zip(*lines, strict=True))
    order = np.lexsort((end, pitch, start))
    return Part(choir, (TREBLE, BASS), *(column[order] for column in (start, end, pitch, *others)))


def _part(track: Track, tracks: list[Track], bars: list[Bar], ticks_per_quarter: int) -> Part:
    pitch = track.notes.pitch.astype(np.int64)
    start, end = _times(track, ticks_per_quarter)
    if track.is_drum:
        return _drum_part(track, start, pitch, bars, ticks_per_quarter)
    staff = np.zeros(len(pitch), np.int64)
    clefs: tuple[Clef, ...] = (clef_for(track, pitch),)
    n_alike = sum(is_keyboard(other) and other.program == track.program for other in tracks)
    if is_keyboard(track) and needs_two_staves(pitch, n_alike):
        staff = left_hand(start, pitch, UNITS).astype(np.int64)
        clefs = (TREBLE, BASS)
    tolerance = _tolerance(ticks_per_quarter)
    cells = cell_starts(bars)
    new_start, new_end, voice = (np.zeros(len(pitch), np.int64) for _ in range(3))
    is_exact, kept = np.zeros((2, len(pitch)), bool)
    hands = [here for place in range(len(clefs)) if len(here := np.flatnonzero(staff == place))]
    for here in hands:
        new_start[here], new_end[here], is_exact[here] = quantise(start[here], end[here], cells, tolerance)
    kept[_once(new_start, new_end, pitch)] = True
    # A key is struck again by either hand.
    new_end[kept] = _until_struck_again(new_start[kept], new_end[kept], pitch[kept])
    for hand in hands:
        here = hand[kept[hand]]
        here = here[np.lexsort((new_end[here], pitch[here], new_start[here]))]
        voice[here], new_end[here] = voices(new_start[here], new_end[here], pitch[here], is_exact[here])
    order = np.lexsort((new_end, pitch, new_start))
    order = order[kept[order]]
    columns = (new_start, new_end, pitch, np.zeros(len(pitch), np.int64), staff, voice)
    start_, end_, pitch_, fifths_, staff_, voice_ = (column[order] for column in columns)
    return Part((track,), clefs, start_, end_, pitch_, fifths_, staff_, voice_, order)


def _once(start: NDArray[np.int64], end: NDArray[np.int64], pitch: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns places that leave out all but the longest of notes that start together on one pitch."""
    order = np.lexsort((-end, pitch, start))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(start[order]) != 0) | (np.diff(pitch[order]) != 0)
    return order[first]


def _until_struck_again(
    start: NDArray[np.int64], end: NDArray[np.int64], pitch: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns ends such that no note lasts into the next of its pitch."""
    order = np.lexsort((start, pitch))
    struck = np.append(start[order][1:], np.iinfo(np.int64).max)
    struck[np.append(pitch[order][1:] != pitch[order][:-1], True)] = np.iinfo(np.int64).max
    ends = end.copy()
    ends[order] = np.minimum(end[order], struck)
    return ends


def _tolerance(ticks_per_quarter: int) -> float:
    """Returns how many units a time may be off the grid: half a tick is as near as a file can be to a triplet."""
    return min(0.51 * UNITS / ticks_per_quarter, 0.6)


def _drum_part(
    track: Track, start: NDArray[np.floating], pitch: NDArray[np.int64], bars: list[Bar], ticks_per_quarter: int
) -> Part:
    """A drum's length says nothing: it is written until the next stroke or beat."""
    cells = cell_starts(bars)
    new_start, _, _ = quantise(start, start, cells, _tolerance(ticks_per_quarter))
    source = _once(new_start, new_start, pitch)
    new_start, pitch = new_start[source], pitch[source]
    voice = np.isin(pitch, _FEET).astype(np.int64)
    new_end = np.append(cells, cells[-1] + UNITS)[np.searchsorted(cells, new_start, side="right")]
    for foot in (0, 1):
        here = voice == foot
        onsets = np.unique(new_start[here])
        following = np.append(onsets[1:], np.iinfo(np.int64).max)
        new_end[here] = np.minimum(new_end[here], following[np.searchsorted(onsets, new_start[here])])
    if not (voice == 0).any():
        voice[:] = 0
    zeros = np.zeros(len(pitch), np.int64)
    return Part((track,), (PERCUSSION,), new_start, new_end, pitch, zeros, zeros, voice, source)


def _keys(score: Score, bars: list[Bar], parts: list[Part]) -> dict[int, Key]:
    """Returns the given keys at their nearest bars, or one that fits the notes."""
    if not len(score.keys):
        pitched = [part for part in parts if not part.is_drum]
        pitch = np.concatenate([part.pitch for part in pitched]) if pitched else np.empty(0, np.int64)
        length = np.concatenate([part.end - part.start for part in pitched]) if pitched else np.empty(0)
        return {0: estimate_key(pitch, length.astype(np.float64))}
    starts = np.array([bar.start for bar in bars])
    keys: dict[int, Key] = {}
    for key in score.keys:
        unit = key.start_ticks * UNITS / score.ticks_per_quarter
        keys[int(np.abs(starts - unit).argmin())] = key
    if 0 not in keys:
        keys[0] = Key(0, 0, False)
    ordered = sorted(keys.items())
    same = [before[1].sharps == after[1].sharps for before, after in pairwise(ordered)]
    return dict(item for item, again in zip(ordered, [False, *same], strict=True) if not again)


def _spelled(part: Part, bars: list[Bar], keys: dict[int, Key]) -> Part:
    if part.is_drum:
        return part
    first = np.array([bars[place].start for place in keys])
    sharps = np.array([key.sharps for key in keys.values()])[np.searchsorted(first, part.start, side="right") - 1]
    fifths = spell(part.pitch, sharps)
    for line in range(2 * len(part.clefs)):
        here = np.flatnonzero(2 * part.staff + part.voice == line)
        fifths[here] = respell_neighbours(part.pitch[here], fifths[here], sharps[here])
    return replace(part, fifths=fifths)
