"""Four-part scores restored: what is missing or was erased is written anew, and everything else stays."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.score import MAX_TICKS, Notes, Score, Track
from musegen.music.chorales import N_VOICES, SILENCE, STEPS_PER_BEAT, VOICES, Mask, runs
from musegen.music.coconet import Coconet
from musegen.music.filling import Filling, OnPass, Plan, fill
from musegen.music.harmonizing import velocities_at
from musegen.music.onsets import BEGINS, HELD, UNKNOWN, Onsets
from musegen.music.voices import (
    bar_lines,
    check_one_at_a_time,
    line_of,
    n_steps_of,
    notes_of,
    only,
    places_of,
    step_ticks,
    steps_before,
    voice_tracks,
)

_NOTHING_AROUND = Notes([0], [1], [60], [80])
_MOST_NEW_BARS = 200  # behind the last note: a slip of the pen is not a symphony


@dataclass(frozen=True)
class Erasure:
    """What is to be written anew.

    Args:
        bars: the first and the last bar, counted from 1, in which nothing of the voices stays; they may begin right
            behind the last bar of the score. None for the silences
            of the voices while others sing.
        voices: in which voices.
    """

    bars: tuple[int, int] | None
    voices: tuple[str, ...] = VOICES


def restored(
    coconet: Coconet, onsets: Onsets, score: Score, what: Erasure, how: Filling, on_pass: OnPass | None = None
) -> Score:
    """Returns a score in which four voices sing where some were silent or erased.

    Notes that begin in the erased bars go; those that began before them last as long as they did. All other notes, and
    all tracks that are no voices, come back as they were.

    Args:
        coconet: in eval mode.
        onsets: in eval mode.
        score: with a track for each voice, one note at a time; if not all are to be written, those that are
            may have no track.
        what: what is to be written.
        how: how cells are drawn.
        on_pass: called after every pass.

    Raises:
        InputError: there are no four voices, no such bars, or nothing to write.
    """
    span = _span(score, what.bars)
    places = voice_tracks(score, what.voices if len(what.voices) < N_VOICES else ())
    tracks = [Track("", 0, False, Notes()) if place is None else score.tracks[place] for place in places]
    for track in tracks:
        check_one_at_a_time(score, track, "score")
    kept = [
        _kept(track.notes, span) if what.bars and name in what.voices else track.notes
        for name, track in zip(VOICES, tracks, strict=True)
    ]
    n_steps = n_steps_of(score, max(score.end_ticks, span[1] if what.bars else 0))
    plan = _plan(score, kept, span, what, n_steps)
    if not plan.free.any():
        raise InputError("score has nothing to restore there; name bars that may be written anew")
    grid, onset = fill(coconet, onsets, plan, how, on_pass)
    n_before = len(grid) - n_steps
    rows = list(score.tracks)
    like = next((track for place, track in zip(places, tracks, strict=True) if place is not None), tracks[0])
    for voice, (name, place) in enumerate(zip(VOICES, places, strict=True)):
        if not plan.free[:, voice].any():
            continue
        pitches = np.where(plan.free[:, voice], grid[:, voice], SILENCE)[n_before:]
        velocities = _velocities(kept, voice, score.ticks_per_quarter, n_steps)
        new = notes_of(pitches, onset[n_before:, voice], score.ticks_per_quarter, velocities)
        notes = kept[voice].joined(only(new, _gaps(kept[voice])))
        if place is None:
            rows.append(Track(name, like.program, False, notes))
        else:
            rows[place] = replace(score.tracks[place], notes=notes)
    return replace(score, tracks=tuple(rows))


def _span(score: Score, bars: tuple[int, int] | None) -> tuple[int, int]:
    """Returns the first tick of some bars, and the one after their last; of all music if bars are None."""
    if bars is None:
        return 0, score.end_ticks
    first, last = bars
    n_bars = len(bar_lines(score.meters, score.ticks_per_quarter, score.end_ticks))
    if not 1 <= first <= last <= n_bars + _MOST_NEW_BARS or first > n_bars + 1:  # no silent bars between
        allowed = f"a first bar from 1 to {n_bars + 1:,} and a last one from it to {n_bars + _MOST_NEW_BARS:,}"
        raise InputError(f"bars is {first}-{last}; score has {n_bars:,}, so allowed are {allowed}")
    longest = 4 * score.ticks_per_quarter * int(score.meters.numerator.max())  # no bar reaches further
    lines = bar_lines(
        score.meters, score.ticks_per_quarter, score.end_ticks + (max(last - n_bars, 0) + 1) * longest + 1
    )
    return int(lines[first - 1]), int(lines[last])


def _kept(notes: Notes, span: tuple[int, int]) -> Notes:
    return notes[(notes.start_ticks < span[0]) | (notes.start_ticks >= span[1])]


def _plan(score: Score, kept: list[Notes], span: tuple[int, int], what: Erasure, n_steps: int) -> Plan:
    n_before = steps_before(score)
    lines = [line_of(notes, score.ticks_per_quarter, n_steps) for notes in kept]
    grid = np.stack([pitches for pitches, _ in lines], axis=1)
    known = np.where(np.stack([begins for _, begins in lines], axis=1), BEGINS, HELD)
    starts = step_ticks(np.arange(n_steps), score.ticks_per_quarter)
    erased = (starts >= span[0]) & (starts < span[1])
    silent = grid == SILENCE
    if what.bars is None:
        erased &= ~silent.all(axis=1)
    wanted = np.array([name in what.voices for name in VOICES])
    free = erased[:, None] & silent & wanted
    known[free] = UNKNOWN
    pad = ((n_before, 0), (0, 0))
    grid = np.pad(grid, pad, constant_values=SILENCE)
    free, known = np.pad(free, pad), np.pad(known, pad)
    return Plan(grid, free, _outside(grid, free), known, *places_of(score, len(grid), n_before))


def _outside(grid: NDArray[np.int64], free: Mask) -> NDArray[np.bool_]:
    """Returns the sixteenths of whole beats in which nobody sings and nobody may."""
    empty = ((grid == SILENCE) & ~free).all(axis=1)
    outside = np.zeros(len(grid), dtype=bool)
    for first, last in runs(empty):
        first = -(-first // STEPS_PER_BEAT) * STEPS_PER_BEAT
        outside[first : last if last == len(grid) else last // STEPS_PER_BEAT * STEPS_PER_BEAT] = True
    return outside


def _velocities(kept: list[Notes], voice: int, ticks_per_quarter: int, n_steps: int) -> NDArray[np.int64]:
    """Returns velocities (T,) like those around: of the same voice, or of the first that has notes."""
    nearest = sorted(range(N_VOICES), key=lambda other: abs(other - voice))
    notes = next((kept[other] for other in nearest if len(kept[other])), _NOTHING_AROUND)
    return velocities_at(notes, ticks_per_quarter, n_steps)


def _gaps(kept: Notes) -> list[tuple[int, int]]:
    """Returns the spans of ticks in which no kept note sounds: cells are sixteenths, and notes need not be."""
    gaps, end = [], 0
    for note in kept:
        if note.duration_ticks and note.start_ticks > end:
            gaps.append((end, note.start_ticks))
        end = max(end, note.end_ticks)
    return [*gaps, (end, MAX_TICKS)]
