"""Scores from and to NumPy: arrays with one row a note, and piano-rolls with one row a step of time."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musegen.errors import InputError
from musegen.midi.columns import MAX_TICKS, Notes, Programs
from musegen.midi.score import Score, Track
from musegen.midi.units import quarters_to_ticks, ticks_to_quarters

NOTE_DTYPE = np.dtype(
    [
        ("start_quarters", np.float64),
        ("duration_quarters", np.float64),
        ("pitch", np.uint8),
        ("velocity", np.uint8),
        ("track", np.int32),
        ("program", np.uint8),
        ("is_drum", np.bool_),
    ]
)
"""The fields of a note array; the first three are needed to make a score, the others have defaults."""

DEFAULT_TICKS_PER_QUARTER = 480
DEFAULT_VELOCITY = 80
DEFAULT_STEPS_PER_QUARTER = 4
MAX_STEPS = 1 << 20
"""The longest piano-roll: 128 MiB of velocities, six hours at 24 steps a quarter and 120 bpm."""

Melody = Sequence[tuple[int | None, float]]
"""Notes one after the other: (pitch 0..127 or None for a rest, duration in quarters)."""


class PianoRoll(NamedTuple):
    """What sounds at each step of time.

    Args:
        velocity: (time, 128), 0 is silent and 1..127 a velocity.
        onset: (time, 128), whether a note begins there; None tells notes apart by their velocity alone.
        steps_per_quarter: rows a quarter note.
    """

    velocity: NDArray[np.uint8]
    onset: NDArray[np.bool_] | None = None
    steps_per_quarter: int = DEFAULT_STEPS_PER_QUARTER


# Note arrays ----------------------------------------------------------------------------------------------------------


def from_notes(
    notes: NDArray[np.void] | Melody, *, ticks_per_quarter: int = DEFAULT_TICKS_PER_QUARTER, program: int = 0
) -> Score:
    """Makes a score of a note array or of a melody; times are rounded to ticks, and a note keeps at least one.

    Args:
        notes: a structured array with the fields `start_quarters` and `duration_quarters` (0 or more) and `pitch`
            (0..127), and perhaps `velocity` (1..127, else 80), `track` (a number; the tracks come in its order, else
            there is one), `program` (0..127) and `is_drum` (the same throughout a track); or (pitch, quarters) pairs
            that are played one after the other, with the pitch None for a rest.
        ticks_per_quarter: of the score, 1..32767.
        program: General MIDI program of notes without one, 0..127.

    Raises:
        InputError: a field is missing, a value is out of range or no number, or two programs begin at one time.
    """
    if not isinstance(notes, np.ndarray) or notes.dtype.names is None:
        notes = _melody(notes)
    missing = [name for name in ("start_quarters", "duration_quarters", "pitch") if name not in _names(notes)]
    if missing:
        raise InputError(f"a note array needs the field {missing[0]}, got {', '.join(_names(notes))}")
    if notes.ndim != 1:
        raise InputError(f"a note array must be one-dimensional, got shape {notes.shape}")
    start, stop = _ticks(notes, ticks_per_quarter)
    pitch = whole(notes["pitch"])
    velocity, track, programs, is_drum = (
        whole(notes[name]) if name in _names(notes) else np.full(len(notes), default)
        for name, default in (("velocity", DEFAULT_VELOCITY), ("track", 0), ("program", program), ("is_drum", False))
    )
    tracks = []
    for number in np.unique(track):
        rows = track == number
        columns = Notes(start[rows], stop[rows] - start[rows], pitch[rows], velocity[rows])
        tracks.append(_track(int(number), columns, start[rows], programs[rows], is_drum[rows]))
    return Score(ticks_per_quarter, tuple(tracks))


def to_notes(score: Score) -> NDArray[np.void]:
    """Returns all notes of a score as an array of NOTE_DTYPE, in order of track, start and pitch.

    `from_notes` with the score's own `ticks_per_quarter` gives the same notes again. The array cannot hold: tempos,
    meters, keys, texts, names, controls, pitch bends, aftertouch, channels and tracks without notes.
    """
    out = np.empty(score.n_notes, NOTE_DTYPE)
    first = 0
    for number, track in enumerate(score.tracks):
        rows = slice(first, first + len(track.notes))
        out["start_quarters"][rows] = ticks_to_quarters(track.notes.start_ticks, score.ticks_per_quarter)
        out["duration_quarters"][rows] = ticks_to_quarters(track.notes.duration_ticks, score.ticks_per_quarter)
        out["pitch"][rows] = track.notes.pitch
        out["velocity"][rows] = track.notes.velocity
        out["track"][rows] = number
        out["program"][rows] = track.programs_of(track.notes.start_ticks)
        out["is_drum"][rows] = track.is_drum
        first = rows.stop
    return out


def _names(notes: NDArray[Any]) -> tuple[str, ...]:
    return notes.dtype.names or ()


def _melody(pairs: Any) -> NDArray[np.void]:
    """Returns (pitch, quarters) pairs as a note array."""
    rows, now = [], 0.0
    for place, pair in enumerate(pairs):
        try:
            pitch, quarters = pair
            pitch = None if pitch is None else operator.index(pitch)
            quarters = float(quarters)
        except (TypeError, ValueError, OverflowError):
            pitch, quarters = None, np.nan
        if not 0 < quarters < np.inf or not 0 <= (pitch or 0) <= 127:
            raise InputError(
                f"notes[{place}] must be (pitch 0..127 or None for a rest, quarters above 0), got {str(pair)[:60]}; "
                f"other arrays need the fields {', '.join(_names(np.empty(0, NOTE_DTYPE)))}"
            )
        if pitch is not None:
            rows.append((now, quarters, pitch))
        now += quarters
    return np.array(rows, [(name, NOTE_DTYPE[name]) for name in ("start_quarters", "duration_quarters", "pitch")])


def _ticks(notes: NDArray[np.void], ticks_per_quarter: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the ticks at which notes start and end: ends are rounded too, so that notes that touch go on touching."""
    if not 1 <= ticks_per_quarter <= 32767:
        raise InputError(f"ticks_per_quarter must be 1..32767, got {ticks_per_quarter}")
    most = MAX_TICKS / ticks_per_quarter
    for name in ("start_quarters", "duration_quarters"):
        values = notes[name]
        if values.dtype.kind not in "iuf":
            raise InputError(f"{name} must be numbers, got {values.dtype}")
        wrong = values[~((values >= 0) & (values <= most))]
        if wrong.size:
            raise InputError(f"{name} must be 0..{most:g}, got {wrong[0]}")
    start_quarters = notes["start_quarters"].astype(np.float64)
    duration_quarters = notes["duration_quarters"].astype(np.float64)
    start = quarters_to_ticks(start_quarters, ticks_per_quarter)
    stop = quarters_to_ticks(start_quarters + duration_quarters, ticks_per_quarter)
    return start, np.maximum(stop, start + (duration_quarters > 0))


def whole(values: ArrayLike) -> NDArray[Any]:
    """Returns whole numbers of any type as integers (a velocity of 80.0, say); the columns refuse what is not whole."""
    array = np.asarray(values)
    is_whole = array.dtype.kind == "f" and (np.abs(array) < 1e9).all() and (array == np.rint(array)).all()
    return array.astype(np.int64) if is_whole or array.dtype.kind == "b" else array


def _track(number: int, notes: Notes, start: NDArray[np.int64], programs: NDArray[Any], is_drum: NDArray[Any]) -> Track:
    if is_drum.min() != is_drum.max():
        raise InputError(f"is_drum must be the same for all notes of track {number}")
    # As changes, of which columns keep only the last of a tick: what is lost then are two programs at one time.
    order = np.argsort(start, kind="stable")
    start, programs = start[order], programs[order]
    is_change = np.append(True, programs[1:] != programs[:-1])
    changes = Programs(np.where(np.arange(len(start)) == 0, 0, start)[is_change], programs[is_change])
    if (np.diff(changes.start_ticks) == 0).any():
        tick = int(changes.start_ticks[:-1][np.diff(changes.start_ticks) == 0][0])
        raise InputError(f"two notes of track {number} start at tick {tick} with different programs; give them tracks")
    return Track("", int(programs[0]), bool(is_drum[0]), notes, programs=changes if len(changes) > 1 else None)


# Piano-rolls ----------------------------------------------------------------------------------------------------------


def from_piano_roll(
    roll: PianoRoll | ArrayLike,
    *,
    onset: ArrayLike | None = None,
    steps_per_quarter: int | None = None,
    program: int = 0,
    is_drum: bool = False,
) -> Score:
    """Makes a score with one track of a piano-roll.

    Args:
        roll: (time, 128) velocities 0..127, or booleans, which sound with velocity 80; or a `PianoRoll`.
        onset: (time, 128), true where a note begins. A note then lasts until the next onset or silence, with the
            velocity of its first step. Without, a note lasts as long as its velocity stays the same.
        steps_per_quarter: rows a quarter note, 1..32767; None takes those of the `PianoRoll`, for an array 4.
        program: General MIDI program, 0..127.
        is_drum: whether the pitches name drums.

    Raises:
        InputError: a shape or a value is wrong.
    """
    if isinstance(roll, PianoRoll):
        onset = roll.onset if onset is None else onset
        steps_per_quarter = roll.steps_per_quarter if steps_per_quarter is None else steps_per_quarter
        roll = roll.velocity
    steps = _steps(DEFAULT_STEPS_PER_QUARTER if steps_per_quarter is None else steps_per_quarter)
    velocity = _velocities(roll)
    before = np.vstack([np.zeros((1, 128), velocity.dtype), velocity])[:-1]
    if onset is None:
        begins = (velocity > 0) & (velocity != before)
    else:
        begins = np.asarray(onset).astype(bool)
        if begins.shape != velocity.shape:
            raise InputError(f"onset must have the shape of the velocities, {velocity.shape}, got {begins.shape}")
        begins = (velocity > 0) & (begins | (before == 0))
    # A note ends where the next begins or where silence does: of both, in order of pitch and time, the next one.
    silent = np.vstack([velocity == 0, np.ones((1, 128), bool)])
    edge = silent | np.vstack([begins, np.zeros((1, 128), bool)])
    pitch, place = np.nonzero(edge.T)
    starts = np.flatnonzero(~silent[place, pitch])
    start, pitch, stop = place[starts], pitch[starts], place[starts + 1]
    per_step = max(1, DEFAULT_TICKS_PER_QUARTER // steps)
    notes = Notes(start * per_step, (stop - start) * per_step, pitch, velocity[start, pitch])
    return Score(steps * per_step, (Track("", program, is_drum, notes),))


def to_piano_roll(
    score: Score, *, steps_per_quarter: int = DEFAULT_STEPS_PER_QUARTER, track: int | None = None
) -> PianoRoll:
    """Draws notes into a piano-roll; starts and ends go to the nearest step, and a note keeps at least one.

    It cannot hold: what lies between the steps, and notes of one pitch that sound at once (the later one cuts the
    earlier one off; of two that begin together the louder one stays, and the longer of their lengths).

    Args:
        score: the score.
        steps_per_quarter: rows a quarter note, 1..32767.
        track: the place of the one track to draw; None draws all but the drums.

    Raises:
        InputError: there is no such track, or the roll would have more than MAX_STEPS rows.
    """
    steps = _steps(steps_per_quarter)
    if track is not None and not 0 <= track < len(score.tracks):
        allowed = f"0..{len(score.tracks) - 1}" if score.tracks else "None, there are none"
        raise InputError(f"track must be {allowed}, got {track}")
    tracks = [t for t in score.tracks if not t.is_drum] if track is None else [score.tracks[track]]
    notes = Notes().joined(*(each.notes for each in tracks))
    # Rounded in whole numbers: half a step goes up, for starts and ends alike.
    tpq = score.ticks_per_quarter
    start, stop = ((2 * ticks * steps + tpq) // (2 * tpq) for ticks in (notes.start_ticks, notes.end_ticks))
    stop = np.maximum(stop, start + 1)
    n_steps = int(stop.max()) if len(notes) else 0
    if n_steps > MAX_STEPS:
        raise InputError(f"a piano-roll has at most {MAX_STEPS:,} steps, this one would have {n_steps:,}")
    velocity, onset = np.zeros((n_steps, 128), np.uint8), np.zeros((n_steps, 128), bool)
    for first, last, pitch, loudness in _cut_off(start, stop, notes.pitch, notes.velocity):
        velocity[first:last, pitch] = loudness
        onset[first, pitch] = True
    return PianoRoll(velocity, onset, steps)


def _cut_off(
    start: NDArray[np.int64], stop: NDArray[np.int64], pitch: NDArray[np.uint8], velocity: NDArray[np.uint8]
) -> Iterator[tuple[int, int, int, int]]:
    """Yields (start, stop, pitch, velocity) of notes of which no two of one pitch overlap."""
    if not len(start):
        return
    key = pitch * np.int64(MAX_STEPS) + start
    order = np.argsort(key)
    first = np.flatnonzero(np.append(True, np.diff(key[order]) > 0))
    start, pitch = start[order][first], pitch[order][first]
    stop, velocity = (np.maximum.reduceat(column[order], first) for column in (stop, velocity))
    follows = pitch[1:] == pitch[:-1]
    stop[:-1][follows] = np.minimum(stop[:-1], start[1:])[follows]
    yield from zip(start.tolist(), stop.tolist(), pitch.tolist(), velocity.tolist(), strict=True)


def _steps(steps_per_quarter: int) -> int:
    if not 1 <= steps_per_quarter <= 32767:
        raise InputError(f"steps_per_quarter must be 1..32767, got {steps_per_quarter}")
    return int(steps_per_quarter)


def _velocities(roll: ArrayLike) -> NDArray[Any]:
    array = np.asarray(roll)
    if array.ndim != 2 or array.shape[1] != 128:
        hint = "; transpose it" if array.ndim == 2 and array.shape[0] == 128 else ""
        raise InputError(f"a piano-roll must have shape (time, 128), got {array.shape}{hint}")
    if len(array) > MAX_STEPS:
        raise InputError(f"a piano-roll has at most {MAX_STEPS:,} steps, got {len(array):,}")
    if array.dtype.kind == "b":
        return array * np.uint8(DEFAULT_VELOCITY)
    array = whole(array)
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 127):
        raise InputError("a piano-roll must hold whole velocities 0..127 (or booleans)")
    return array
