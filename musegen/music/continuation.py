"""New bars joined to the score that they continue: its own notes stay, and tracks of one class stay apart."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from musegen.midi.instruments import INSTRUMENTS, class_of
from musegen.midi.score import Controls, Keys, Meters, Notes, PitchBends, Programs, Score, Tempos, Track
from musegen.midi.units import bar_starts_ticks, bpm_to_us_per_quarter, seconds_to_ticks
from musegen.music import vocabulary as v
from musegen.music.grid import (
    DURATION,
    INSTRUMENT,
    ONSET,
    PITCH,
    SCORE_TICKS_PER_QUARTER,
    VELOCITY,
    GridScore,
    quantise,
)
from musegen.music.sequences import controls_of
from musegen.music.tokenizer import Controls as Header
from musegen.music.tokenizer import encode

_HEARD_BARS = 16  # the newest bars, in which key and density are heard
_PEDALS = (64, 66, 69)  # sustain, sostenuto, hold 2
_LOUDNESS = {7: 100, 11: 127}  # volume and expression, and what they are where no controller says
CUT_TICKS = 3
"""Of the grid: a bar that a change of meter cuts short loses less on its way to the grid."""


def on_grid(score: Score) -> GridScore:
    """Returns a score on the grid with all of its bars, those too in which only a drum starts that the grid drops."""
    grid, _ = quantise(score)
    newest = max((int(track.notes.start_ticks.max()) for track in score.tracks if len(track.notes)), default=-1)
    missing = newest * v.TICKS_PER_QUARTER / score.ticks_per_quarter - grid.n_ticks
    if missing < 0 or not grid.n_bars:
        return grid
    n_bars = int(missing // v.METER_TICKS[grid.meters[-1]]) + 1
    meters, tempos = (np.append(levels, np.repeat(levels[-1], n_bars)) for levels in (grid.meters, grid.tempos))
    return GridScore(meters, tempos, grid.notes)


def next_bar_line(score: Score, grid: GridScore) -> int:
    """Returns the tick of the score at which the bars after its last one begin, behind the beginning of every note.

    Args:
        score: with notes.
        grid: the same score, from `on_grid`.
    """
    grid_tick = score.ticks_per_quarter / v.TICKS_PER_QUARTER
    exact = grid.n_ticks * grid_tick
    within = round(exact + CUT_TICKS * grid_tick) + 1
    meters = score.meters
    lines = bar_starts_ticks(
        meters.start_ticks, meters.numerator, meters.denominator, score.ticks_per_quarter, end_ticks=within
    )
    lines = lines[lines >= exact - grid_tick / 2]
    # Two in one place of the grid: the second is that of a new meter, a hair after the bar line.
    here = lines[lines <= exact + grid_tick / 2]
    line = here[-1] if len(here) else lines[0] if len(lines) else round(exact)  # of meters that the grid cannot name
    # Where ticks are longer than those of the grid, the line may be rounded to before the last notes.
    newest = max(int(track.notes.start_ticks.max(initial=-1)) for track in score.tracks)
    return max(int(line), newest + 1)


def meter_at(score: Score, tick: int) -> tuple[int, int]:
    """Returns the meter of a score at a tick, such as (3, 4)."""
    meter = score.meters[score.meters.start_ticks <= tick][-1]
    return meter.numerator, meter.denominator


def completed(asked: Header, score: Score, grid: GridScore, start: int) -> Header:
    """Returns what is asked of new bars, and where nothing is, what the prompt is like there.

    Args:
        asked: the controls that were given.
        score: the prompt.
        grid: the same, from `on_grid`.
        start: the tick of the score at which the new bars begin.
    """
    newest = grid.bars(max(grid.n_bars - _HEARD_BARS, 0), grid.n_bars)
    heard = controls_of(encode(newest).tokens.astype(np.int64), asked.style)
    bpm = float(score.tempos.bpm[score.tempos.start_ticks <= start][-1])
    named = v.METER_INDEX.get(meter_at(score, start), int(grid.meters[-1]))
    return Header(
        style=asked.style,
        instruments=asked.instruments or _playing(score),
        key=heard.key if asked.key is None else asked.key,
        tempo=v.tempo_level(min(max(bpm, 10.0), 640.0)) if asked.tempo is None else asked.tempo,
        meter=named if asked.meter is None else asked.meter,
        density=heard.density if asked.density is None else asked.density,
    )


def extended(score: Score, grid: GridScore, longer: GridScore, tempo: float | None) -> Score:
    """Returns a score with new bars behind it.

    A new note goes to the track of its class, of several to the one whose register is nearest, and else to a new
    track. What the score has behind its last bar for music that is not there is left out: changes of tempo, meter, key
    and program, controllers and bends.

    Args:
        score: what is continued.
        grid: the same score, from `on_grid`.
        longer: the grid with new bars.
        tempo: of the new bars, in quarters a minute; None for the score's own.
    """
    start = next_bar_line(score, grid)
    new = longer.notes[longer.notes[:, ONSET] >= grid.n_ticks] - [grid.n_ticks, 0, 0, 0, 0]
    n_ticks = max(round((longer.n_ticks - grid.n_ticks) * score.ticks_per_quarter / v.TICKS_PER_QUARTER), 1)
    tracks = [_let_go(track, start, score.ticks_per_quarter) for track in score.tracks]
    for index in np.unique(new[:, INSTRUMENT]).tolist():
        notes = in_ticks(new[new[:, INSTRUMENT] == index], score, start, n_ticks)
        own = [
            place
            for place, track in enumerate(score.tracks)
            if len(track.notes) and class_of(_newest_program(track), track.is_drum) == index
        ]
        if not own:
            instrument = INSTRUMENTS[index]
            empty = Track(instrument.name, instrument.program, instrument.is_drum, Notes())
            tracks.append(_longer(empty, notes))
            continue
        registers = np.array([float(score.tracks[place].notes.pitch.mean()) for place in own])
        nearest = np.abs(notes.pitch[:, None] - registers).argmin(axis=1)
        for nth, place in enumerate(own):
            tracks[place] = _longer(tracks[place], notes[nearest == nth])
    tempos, meters, keys = score.tempos, score.meters, score.keys
    tempos, meters = tempos[tempos.start_ticks <= start], meters[meters.start_ticks <= start]
    meter = v.METERS[longer.meters[grid.n_bars]]
    if (meters[-1].numerator, meters[-1].denominator) != meter:
        meters = meters.joined(Meters([start], [meter[0]], [meter[1]]))
    if tempo is not None:
        tempos = tempos.joined(Tempos([start], bpm_to_us_per_quarter([tempo])))
    keys = keys[keys.start_ticks <= start]
    return replace(score, tracks=tuple(tracks), tempos=tempos, meters=meters, keys=keys, left_out={})


def in_key(score: Score, start: int, key: str) -> Score:
    """Returns a score with the signature of a key, such as "a minor", from tick `start` on, if it has not that there.

    Raises:
        InputError: no key has this name.
    """
    sharps, is_minor = v.key_signature(key)
    keys = score.keys[score.keys.start_ticks <= start]
    if not len(keys) or (keys[-1].sharps, keys[-1].is_minor) != (sharps, is_minor):
        keys = keys.joined(Keys([start], [sharps], [is_minor]))
    return replace(score, keys=keys)


@dataclass(frozen=True)
class FreeTime:
    """A score that keeps to no beat, and the same music by the clock: 2 seconds a bar, its end on a bar line.

    Args:
        score: as it came.
        clocked: its notes at 120 quarters a minute in 4/4.
        before: ticks of `clocked` before the music begins.
    """

    score: Score
    clocked: Score
    before: int

    @classmethod
    def of(cls, score: Score) -> "FreeTime":
        """Sets a score with notes to the clock."""
        per_second = 2 * SCORE_TICKS_PER_QUARTER

        def clocked(ticks: np.ndarray) -> np.ndarray:
            return np.rint(score.seconds_at(ticks) * per_second).astype(np.int64)

        # A drum is struck, not held.
        ends = [track.notes.start_ticks + 1 if track.is_drum else track.notes.end_ticks for track in score.tracks]
        end = int(clocked(np.concatenate(ends)).max(initial=0))
        before = -end % (4 * SCORE_TICKS_PER_QUARTER)
        tracks = []
        for track in score.tracks:
            start, stop = (clocked(ticks) + before for ticks in (track.notes.start_ticks, track.notes.end_ticks))
            notes = Notes(start, np.maximum(stop - start, 1), track.notes.pitch, track.notes.velocity)
            changes = track.program_changes
            programs = Programs(clocked(changes.start_ticks) + before, changes.program) if len(changes) else None
            tracks.append(Track(track.name, track.program, track.is_drum, notes, programs=programs))
        return cls(score, Score(SCORE_TICKS_PER_QUARTER, tuple(tracks)), before)

    def ticks(self, clocked: np.ndarray) -> np.ndarray:
        """Returns ticks of the score at ticks by the clock."""
        seconds = (clocked - self.before) / (2 * SCORE_TICKS_PER_QUARTER)
        tempos = self.score.tempos
        return seconds_to_ticks(seconds, tempos.start_ticks, tempos.us_per_quarter, self.score.ticks_per_quarter)

    def back(self, longer: Score, start: int) -> Score:
        """Returns the score with what `longer`, the music by the clock, has from tick `start` on."""
        tracks = []
        here = int(self.ticks(np.array([start]))[0])
        for place, track in enumerate(longer.tracks):
            new = track.notes[track.notes.start_ticks >= start]
            begins, ends = (self.ticks(ticks) for ticks in (new.start_ticks, new.end_ticks))
            notes = Notes(begins, np.maximum(ends - begins, 1), new.pitch, new.velocity)
            own = replace(track, notes=Notes())
            if place < len(self.score.tracks):
                own = _let_go(self.score.tracks[place], here, self.score.ticks_per_quarter)
            tracks.append(_longer(own, notes))
        return replace(self.score, tracks=tuple(tracks), left_out={})


def tail(score: Score, start: int) -> Score:
    """Returns the notes that begin at tick `start` or later with their tempos, meters and keys, moved to tick 0."""

    def moved(events: Any) -> Any:
        """The events from `start` on, and the one that holds there."""
        holds = max(int(np.searchsorted(events.start_ticks, start, side="right")) - 1, 0)
        start_ticks, *columns = events[holds:].columns()
        return type(events)(np.maximum(start_ticks - start, 0), *columns)

    tracks = []
    for track in score.tracks:
        new = track.notes[track.notes.start_ticks >= start]
        if len(new):
            notes = Notes(new.start_ticks - start, new.duration_ticks, new.pitch, new.velocity)
            tracks.append(Track(track.name, _newest_program(track), track.is_drum, notes))
    return Score(score.ticks_per_quarter, tuple(tracks), moved(score.tempos), moved(score.meters), moved(score.keys))


def _newest_program(track: Track) -> int:
    """Returns the program with which a track's last notes sound."""
    return int(track.programs_of(track.notes.start_ticks[-1:])[0])


def _playing(score: Score) -> tuple[int, ...]:
    """Returns the instrument classes as which the tracks play at their end, ascending."""
    return tuple(sorted({class_of(_newest_program(t), t.is_drum) for t in score.tracks if len(t.notes)}))


def velocity_levels(grid: GridScore) -> tuple[int, int] | None:
    """Returns the lowest and the highest velocity level of a piece; None if it has no notes."""
    levels = grid.notes[:, VELOCITY]
    return (int(levels.min()), int(levels.max())) if len(levels) else None


def in_ticks(rows: np.ndarray, score: Score, start: int, n_ticks: int) -> Notes:
    """Returns grid notes (n, 5), counted from `start`, as notes of a score.

    None of them passes start + n_ticks, and none is softer or louder than all that the score has.
    """
    scale = score.ticks_per_quarter / v.TICKS_PER_QUARTER
    onset = np.minimum(np.rint(rows[:, ONSET] * scale).astype(np.int64), n_ticks - 1)
    end = np.minimum(np.rint((rows[:, ONSET] + rows[:, DURATION]) * scale).astype(np.int64), n_ticks)
    known = np.concatenate([track.notes.velocity for track in score.tracks])
    velocity = np.clip(np.array(v.VELOCITIES)[rows[:, VELOCITY]], known.min(), known.max())
    return Notes(onset + start, np.maximum(end - onset, 1), rows[:, PITCH], velocity)


def _longer(track: Track, notes: Notes) -> Track:
    """Returns a track with new notes."""
    return (
        replace(track, notes=track.notes.joined(untangled(track.notes, notes, track.is_drum))) if len(notes) else track
    )


def _let_go(track: Track, start: int, release: int) -> Track:
    """Returns a track on which notes sound from tick `start` on as those before it.

    Pedals, a bent pitch and a fade-out that would go on are let go. What comes later was for other notes, and is left
    out: controllers, bends and pressures only behind the first `release` ticks, in which the last notes still end.
    """
    end = start + release
    controls = track.controls[track.controls.start_ticks < end]
    bends = track.pitch_bends[track.pitch_bends.start_ticks < end]
    for number, value in _misplaced(controls, track.notes):
        newest = controls[controls.number == number].start_ticks[-1]
        controls = controls.joined(Controls([max(start, newest)], [number], [value]))
    if len(bends) and bends[-1].value:
        bends = bends.joined(PitchBends([max(start, bends[-1].start_ticks)], [0]))
    programs = track.programs
    if programs is not None and len(track.notes):
        programs = programs[programs.start_ticks < start]
    return replace(
        track,
        controls=controls,
        pitch_bends=bends,
        programs=programs,
        pressures=track.pressures[track.pressures.start_ticks < end],
        key_pressures=track.key_pressures[track.key_pressures.start_ticks < end],
    )


def _misplaced(controls: Controls, notes: Notes) -> Iterator[tuple[int, int]]:
    """Yields (number, value) of each controller that new notes need otherwise than it is at the end."""
    for number in _PEDALS:
        values = controls[controls.number == number].value
        if len(values) and values[-1] >= 64:
            yield number, 0
    for number, usual in _LOUDNESS.items():
        own = controls[controls.number == number]
        if len(own) and len(notes):
            values = np.append(own.value, usual)  # place -1, before the first change, is the last one
            heard = int(np.median(values[np.searchsorted(own.start_ticks, notes.start_ticks, side="right") - 1]))
            if 2 * int(own.value[-1]) < heard:
                yield number, heard


def untangled(others: Notes, notes: Notes, is_drum: bool = False) -> Notes:
    """Returns new notes such that a MIDI file, which ends the older of two notes of one pitch first, tells them apart.

    A note whose key is still down waits for it, and one whose key goes down again ends before; what is left out is that
    of which nothing remains. A drum does not wait: it ends no earlier than the older stroke.

    Args:
        others: what the track has.
        notes: what is new.
        is_drum: whether it is a track of drums.
    """
    starts = {pitch: others.start_ticks[others.pitch == pitch] for pitch in np.unique(notes.pitch).tolist()}
    ends = {pitch: np.maximum.accumulate(others.end_ticks[others.pitch == pitch]) for pitch in starts}
    until = dict.fromkeys(starts, 0)
    kept = []
    for start_ticks, duration_ticks, pitch, velocity in notes:
        n_before = int(np.searchsorted(starts[pitch], start_ticks, side="right"))
        held = max(until[pitch], int(ends[pitch][n_before - 1]) if n_before else 0)
        start = start_ticks if is_drum else max(start_ticks, held)
        end = max(start_ticks + duration_ticks, held if is_drum else 0)
        end = min([end, *starts[pitch][n_before : n_before + 1].tolist()])
        if start < end:
            kept.append((start, end - start, pitch, velocity))
            until[pitch] = end
    return Notes(*zip(*kept, strict=True)) if kept else Notes()
