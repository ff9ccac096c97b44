"""Three voices set to a melody: a score in four parts, in which the melody is as it was given."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.score import Notes, Score, Track
from musegen.music.chorales import N_VOICES, SILENCE, STEPS_PER_BEAT, VOICES, Grid, Mask, runs
from musegen.music.coconet import Coconet
from musegen.music.filling import Filling, OnPass, Plan, fill
from musegen.music.onsets import BEGINS, HELD, UNKNOWN, Onsets
from musegen.music.voices import (
    check_one_at_a_time,
    line_of,
    n_steps_of,
    notes_of,
    places_of,
    steps_before,
    ticks_to_steps,
)

_MELODIES = (*VOICES, "melody", "vocal", "vocals", "voice", "lead")
_BREAK = STEPS_PER_BEAT  # sixteenths of rest that end a phrase


def find_melody(score: Score, number: int | None = None) -> Track:
    """Returns the track that is to be harmonised.

    Args:
        score: what was given.
        number: which of its tracks, counted from 1; None for the only one with notes, or the only one that is named
            after a melody.

    Raises:
        InputError: there is none, there are several, or notes sound together in it.
    """
    if number is not None:
        if not 1 <= number <= len(score.tracks):
            raise InputError(f"track must be 1 to {len(score.tracks)}, the tracks of melody, got {number}")
        track = score.tracks[number - 1]
        if track.is_drum or not len(track.notes):
            raise InputError(f"track {number} of melody has {'drums' if track.is_drum else 'no notes'}; take another")
    else:
        track = _only_melody(score)
    if not track.notes.duration_ticks.any():
        raise InputError("melody has no notes that last; give it one at least")
    check_one_at_a_time(score, track, "melody")
    return track


def _only_melody(score: Score) -> Track:
    pitched = [track for track in score.tracks if len(track.notes) and not track.is_drum]
    named = [track for track in pitched if track.name.strip().lower() in _MELODIES]
    found = pitched if len(pitched) == 1 else named
    if len(found) == 1:
        return found[0]
    if not pitched:
        raise InputError("melody has no notes; give it one at least")
    numbered = [f"{n} {t.name!r}" for n, t in enumerate(score.tracks, 1) if len(t.notes) and not t.is_drum]
    raise InputError(f"melody has several tracks: {', '.join(numbered)}; say which with track")


def harmonized(
    coconet: Coconet,
    onsets: Onsets,
    score: Score,
    melody: Track,
    voice: str,
    programs: Sequence[int] | None,
    how: Filling,
    on_pass: OnPass | None = None,
) -> Score:
    """Returns a melody in four parts.

    Where the melody rests for a beat or longer, everybody does; through shorter rests the other voices sing on. After
    such a rest, and after a note with a fermata, everybody begins anew; at the end of that note everybody stands still.

    Args:
        coconet: in eval mode.
        onsets: in eval mode.
        score: where the melody is from, with its tempos, meters, keys and texts.
        melody: one of its tracks, one note at a time.
        voice: which voice it is.
        programs: General MIDI programs of the four voices; None for the melody's own.
        how: how cells are drawn.
        on_pass: called after every pass.

    Raises:
        InputError: the music is too long, or too high or low to leave room for the others.
    """
    place = VOICES.index(voice)
    pitches, begins = line_of(melody.notes, score.ticks_per_quarter, n_steps_of(score, melody.end_ticks))
    n_before = steps_before(score)
    pitches, begins = np.pad(pitches, (n_before, 0), constant_values=SILENCE), np.pad(begins, (n_before, 0))
    ends = fermatas(melody, score.ticks_per_quarter, len(pitches) - n_before) + n_before
    plan, silent = melody_plan(pitches, begins, place, places_of(score, len(pitches), n_before), ends)
    grid, onset = fill(coconet, onsets, plan, how, on_pass)
    grid = np.where(silent[:, None], SILENCE, grid)
    for first, last in ends.tolist():
        _stand_still(grid, onset, first, last, place)
    velocities = velocities_at(melody.notes, score.ticks_per_quarter, len(pitches) - n_before)
    tracks = []
    for other, name in enumerate(VOICES):
        program = melody.program if programs is None else programs[other]
        if other == place:
            own = melody if programs is None else replace(melody, program=program, programs=None)
            tracks.append(replace(own, name=name, channel=None, port=0, chunk=None))
            continue
        line = grid[n_before:, other], onset[n_before:, other]
        tracks.append(Track(name, program, False, notes_of(*line, score.ticks_per_quarter, velocities)))
    return replace(score, tracks=tuple(tracks), left_out={})


def melody_plan(
    pitches: NDArray[np.int64],
    begins: NDArray[np.bool_],
    voice: int,
    bars: tuple[NDArray[np.int64], NDArray[np.int64]],
    ends: NDArray[np.int64],
) -> tuple[Plan, NDArray[np.bool_]]:
    """Returns what Coconet is asked for under a melody, and in which sixteenths nobody sings.

    Through rests the model hears the melody go on, up to the end of the beat if they end a phrase; whole beats of rest
    are to it as what is outside a piece.

    Args:
        pitches: (T,) of the melody, with SILENCE.
        begins: (T,) where a note of it begins.
        voice: which voice it is, 0 to 3.
        bars: of each sixteenth (T,) its place in the bar, and the length of the bar.
        ends: (n, 2) the first sixteenth of notes with a fermata, and the one after the last.
    """
    n_steps = len(pitches)
    heard, silent, outside = pitches.copy(), np.zeros(n_steps, dtype=bool), np.zeros(n_steps, dtype=bool)
    for first, last in runs(pitches == SILENCE):
        if first and last - first < _BREAK and last < n_steps:
            heard[first:last] = pitches[first - 1]
            continue
        silent[first:last] = True
        end_of_beat = min(-(-first // STEPS_PER_BEAT) * STEPS_PER_BEAT, last)
        if first:
            heard[first:end_of_beat] = pitches[first - 1]
        outside[end_of_beat : last // STEPS_PER_BEAT * STEPS_PER_BEAT] = True
    free = np.repeat((heard != SILENCE)[:, None], N_VOICES, axis=1)
    free[:, voice] = False
    grid = np.where(free, SILENCE, heard[:, None])
    onsets = np.full(grid.shape, UNKNOWN, dtype=np.int64)
    onsets[:, voice] = np.where(begins, BEGINS, HELD)
    for _, last in ends.tolist():
        later = np.flatnonzero(begins[last:])
        if len(later):
            onsets[last + later[0]] = BEGINS
    return Plan(grid, free, outside, onsets, *bars), silent


def fermatas(track: Track, ticks_per_quarter: int, n_steps: int) -> NDArray[np.int64]:
    """Returns the first sixteenth of each note with a fermata, and the one after its last: (n, 2)."""
    at = {text.start_ticks for text in track.texts if text.is_fermata}
    rows = [(note.start_ticks, note.end_ticks) for note in track.notes if note.start_ticks in at]
    steps = ticks_to_steps(np.array(rows, dtype=np.int64).reshape(-1, 2), ticks_per_quarter)
    return np.minimum(steps, n_steps)


def _stand_still(grid: Grid, onset: Mask, first: int, last: int, voice: int) -> None:
    """Holds the chord that is reached at the end of a note with a fermata through its last beat."""
    start = max(first, last - STEPS_PER_BEAT)
    others = np.arange(N_VOICES) != voice
    if start + 1 < last:
        grid[start:last, others] = grid[last - 1, others]
        onset[start + 1 : last, others] = False
    if start > first:  # a voice that comes back to the pitch before has held it
        onset[start, others & (grid[start] == grid[start - 1])] = False


def velocities_at(notes: Notes, ticks_per_quarter: int, n_steps: int) -> NDArray[np.int64]:
    """Returns the velocity (T,) of the newest note at each sixteenth; before the first, that of the first."""
    newest = np.searchsorted(ticks_to_steps(notes.start_ticks, ticks_per_quarter), np.arange(n_steps), side="right") - 1
    return notes.velocity[np.maximum(newest, 0)].astype(np.int64)
