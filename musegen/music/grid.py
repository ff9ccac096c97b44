"""GridScore: music as the tokens carry it, and the way there and back from a Score.

Time is 24 ticks a quarter, instruments are classes, velocities, tempos and durations are levels of `vocabulary`, and
the piece is a row of whole bars. A pick-up is a first bar in a shorter meter.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from musegen.errors import InputError
from musegen.midi.instruments import DRUMS, INSTRUMENTS, class_of
from musegen.midi.score import Meters, Notes, Score, Tempos, Track
from musegen.midi.units import bpm_to_us_per_quarter, ticks_to_seconds
from musegen.music import vocabulary as v

ONSET, INSTRUMENT, PITCH, DURATION, VELOCITY = range(5)
"""Columns of GridScore.notes."""

SCORE_TICKS_PER_QUARTER = 480
DRUM_TICKS = 6  # a drum is struck, not held: one length for all
_OVERHANG_TICKS = v.TICKS_PER_QUARTER  # what rings less than this over the last bar line ends on it
_MIN_BAR_TICKS = 3  # the shortest bar that a meter can name
_CLASS_OF_PROGRAM = np.array([class_of(program, is_drum=False) for program in range(128)])
_MAX_TICKS = 100_000 * v.TICKS_PER_QUARTER  # a damaged file can claim enough bars to fill the memory


@dataclass(frozen=True, eq=False)
class GridScore:
    """A piece on the grid.

    Args:
        meters: (n_bars,) index of each bar's meter in `vocabulary.METERS`.
        tempos: (n_bars,) index of each bar's tempo in `vocabulary.TEMPOS_BPM`.
        notes: (n_notes, 5) onset in ticks from the start, instrument class, pitch 21..108, duration in ticks (one that
            the tokens can write), velocity level 0..7. Sorted here into the canonical order, that of the columns.

    Raises:
        InputError: a value is out of its range, or a note starts outside the bars.
    """

    meters: np.ndarray
    tempos: np.ndarray
    notes: np.ndarray

    def __post_init__(self):
        notes = _in_order(np.asarray(self.notes, dtype=np.int64).reshape(-1, 5))
        for name, value in (("meters", self.meters), ("tempos", self.tempos), ("notes", notes)):
            array = np.array(value, dtype=np.int64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check()

    def _check(self):
        if len(self.meters) != len(self.tempos):
            raise InputError(f"meters has {len(self.meters)} bars and tempos {len(self.tempos)}; they must agree")
        onset, instrument, pitch, duration, velocity = self.notes.T
        _check_range("meter", self.meters, 0, len(v.METERS) - 1)
        _check_range("tempo", self.tempos, 0, len(v.TEMPOS_BPM) - 1)
        _check_range("onset", onset, 0, self.n_ticks - 1)
        _check_range("instrument", instrument, 0, len(INSTRUMENTS) - 1)
        _check_range("pitch", pitch, v.LOWEST_PITCH, v.HIGHEST_PITCH)
        _check_range("velocity level", velocity, 0, len(v.VELOCITIES) - 1)
        if not v.is_duration(duration).all():
            raise InputError(f"duration is {duration[~v.is_duration(duration)][0]} ticks, which no tokens write")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GridScore):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_bars(self) -> int:
        """How many bars there are."""
        return len(self.meters)

    @property
    def n_ticks(self) -> int:
        """Where the last bar ends."""
        return int(self.bar_ticks[-1])

    @cached_property
    def bar_ticks(self) -> np.ndarray:
        """Where each bar starts, and where the last one ends: (n_bars + 1,) ticks."""
        return np.concatenate([[0], np.cumsum(v.METER_TICKS[self.meters])])

    @property
    def instruments(self) -> tuple[int, ...]:
        """The classes that play, ascending."""
        return tuple(np.unique(self.notes[:, INSTRUMENT]).tolist())

    def bars(self, first: int, last: int) -> "GridScore":
        """Returns the bars first..last - 1 as a piece of their own; notes that ring on into them are left out."""
        first_tick, last_tick = self.bar_ticks[first], self.bar_ticks[last]
        onset = self.notes[:, ONSET]
        notes = self.notes[(onset >= first_tick) & (onset < last_tick)] - [first_tick, 0, 0, 0, 0]
        return GridScore(self.meters[first:last], self.tempos[first:last], notes)

    def to_score(self) -> Score:
        """Returns the same music as a Score: a track an instrument class, written with the class's own program."""
        scale = SCORE_TICKS_PER_QUARTER // v.TICKS_PER_QUARTER
        tracks = []
        for index in self.instruments:
            instrument = INSTRUMENTS[index]
            onset, _, pitch, duration, velocity = self.notes[self.notes[:, INSTRUMENT] == index].T
            notes = Notes(onset * scale, duration * scale, pitch, np.array(v.VELOCITIES)[velocity])
            tracks.append(Track(instrument.name, instrument.program, instrument.is_drum, notes))
        starts = self.bar_ticks[:-1] * scale
        new_tempo = np.diff(self.tempos, prepend=-1) != 0
        new_meter = np.diff(self.meters, prepend=-1) != 0
        meters = np.array(v.METERS)[self.meters[new_meter]].reshape(-1, 2)
        return Score(
            SCORE_TICKS_PER_QUARTER,
            tuple(tracks),
            tempos=Tempos(starts[new_tempo], bpm_to_us_per_quarter(np.array(v.TEMPOS_BPM)[self.tempos[new_tempo]])),
            meters=Meters(starts[new_meter], meters[:, 0], meters[:, 1]),
        )


_BITS = (31, 6, 7, 14, 5)  # room for each column of notes, in one key of 63 bits


def _in_order(notes: np.ndarray) -> np.ndarray:
    """Returns rows of notes in canonical order: by onset, then by the other columns from left to right."""
    if (notes < 0).any() or (notes >= [1 << bits for bits in _BITS]).any():
        return notes[np.lexsort(notes.T[::-1])]
    key = np.zeros(len(notes), np.int64)
    for column, bits in zip(notes.T, _BITS, strict=True):
        key = (key << bits) | column
    if (key[1:] >= key[:-1]).all():
        return notes
    return notes[np.argsort(key)]  # several times faster than sorting by five columns


def _check_range(name: str, values: np.ndarray, low: int, high: int):
    bad = (values < low) | (values > high)
    if bad.any():
        raise InputError(f"{name} is {values[bad][0]}; allowed are {low} to {high}")


@dataclass(frozen=True)
class QuantiseReport:
    """What `quantise` changed, in notes unless said otherwise."""

    n_notes: int = 0
    moved_onsets: int = 0
    mean_shift_ms: float = 0.0
    max_shift_ms: float = 0.0
    changed_durations: int = 0
    folded_pitches: int = 0
    merged_notes: int = 0
    merged_tracks: int = 0
    dropped_drums: int = 0
    dropped_controls: int = 0
    replaced_meters: int = 0
    cut_bars: int = 0
    has_beat: bool = True


def quantise(score: Score) -> tuple[GridScore, QuantiseReport]:
    """Puts a Score on the grid. Idempotent: what `to_score` gives back quantises to the same GridScore.

    Onsets and ends go to the nearest tick and durations to the nearest that the tokens write (drums to one length);
    tracks of one class become one part, and notes of equal onset and pitch in it one note, the longest and loudest;
    pitches outside 21..108 are folded in by octaves, and dropped on drums; a bar takes its mean tempo; a bar that a
    change of meter cuts short becomes a bar in a shorter meter.

    Returns:
        The grid score and what was changed.

    Raises:
        InputError: the score is longer than 100,000 quarters, as only a damaged file is.
    """
    raw = _gather(score)
    onset = _to_grid(raw[:, ONSET], score.ticks_per_quarter)
    end = _to_grid(raw[:, ONSET] + raw[:, DURATION], score.ticks_per_quarter)
    notes = raw.copy()
    notes[:, ONSET] = onset
    notes[:, VELOCITY] = np.clip(raw[:, VELOCITY] // 16, 0, len(v.VELOCITIES) - 1)
    is_drum = raw[:, INSTRUMENT] == DRUMS
    notes[:, DURATION] = np.where(is_drum, DRUM_TICKS, v.nearest_duration(np.maximum(end - onset, 1)))
    notes[:, PITCH] = np.where(is_drum, raw[:, PITCH], _fold(raw[:, PITCH]))
    outside = is_drum & ((raw[:, PITCH] < v.LOWEST_PITCH) | (raw[:, PITCH] > v.HIGHEST_PITCH))
    kept = notes[~outside]

    meters, replaced, cut = _bar_meters(score, kept)
    bar_ticks = _fit_durations(kept, meters)
    while len(again := _bar_meters(score, kept)[0]) < len(meters):  # a shortened last note may leave a bar empty
        meters = again
        bar_ticks = _fit_durations(kept, meters)

    merged = _merge(kept)

    exact = raw[:, ONSET] * v.TICKS_PER_QUARTER / score.ticks_per_quarter
    ms = 1000 * np.abs(_seconds_at(score, exact) - _seconds_at(score, onset))
    exact_duration = raw[~outside, DURATION] * v.TICKS_PER_QUARTER / score.ticks_per_quarter
    n_parts = int((np.bincount(raw[:, INSTRUMENT]) > 0).sum())
    report = QuantiseReport(
        n_notes=len(raw),
        moved_onsets=int((exact != onset).sum()),
        mean_shift_ms=float(ms.mean()) if len(ms) else 0.0,
        max_shift_ms=float(ms.max(initial=0.0)),
        changed_durations=int((exact_duration != kept[:, DURATION]).sum()),
        folded_pitches=int((notes[:, PITCH] != raw[:, PITCH]).sum()),
        merged_notes=len(kept) - len(merged),
        merged_tracks=sum(_n_classes(track) for track in score.tracks if len(track.notes)) - n_parts,
        dropped_drums=int(outside.sum()),
        dropped_controls=sum(_n_controls(track) for track in score.tracks),
        replaced_meters=replaced,
        cut_bars=cut,
        has_beat=has_beat(score),
    )
    return GridScore(meters, _bar_tempos(score, bar_ticks), merged), report


def has_beat(score: Score, threshold: float = 0.3) -> bool:
    """Returns whether the onsets of a Score keep to its beat; a free performance recorded against a click does not.

    Onsets that follow a beat cluster at one phase of some subdivision of the quarter. The measure is the length of the
    mean of the onsets' phases as unit vectors (1: all alike, 0: anywhere), the largest over quarters in 1, 2, 3, 4 and
    6 parts.
    """
    onsets = np.sort(np.concatenate([track.notes.start_ticks for track in score.tracks] or [np.zeros(0)]))
    onsets = onsets[np.diff(onsets, prepend=-1) > 0]
    if len(onsets) < 16:
        return True
    quarters = onsets / score.ticks_per_quarter
    return bool(max(abs(np.exp(2j * np.pi * parts * quarters).mean()) for parts in (1, 2, 3, 4, 6)) >= threshold)


def _gather(score: Score) -> np.ndarray:
    """Returns all notes of a Score as (n_notes, 5) in the columns of GridScore, in its own ticks and velocities."""
    rows = [
        np.stack(
            np.broadcast_arrays(
                track.notes.start_ticks,
                _classes(track),
                track.notes.pitch,
                track.notes.duration_ticks,
                track.notes.velocity,
            ),
            axis=1,
        ).astype(np.int64)
        for track in score.tracks
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 5), dtype=np.int64)


def _n_classes(track: Track) -> int:
    """Returns as how many instruments a track plays; its program may change."""
    if track.is_drum or track.programs is None or len(track.programs) < 2:
        return 1
    return len(np.unique(_classes(track)))


def _n_controls(track: Track) -> int:
    return len(track.controls) + len(track.pitch_bends) + len(track.pressures) + len(track.key_pressures)


def _classes(track: Track) -> np.ndarray:
    """Returns the instrument class of each note of a track, whose program may change."""
    if track.is_drum:
        return np.array([DRUMS])
    return _CLASS_OF_PROGRAM[track.programs_of(track.notes.start_ticks)]


def _to_grid(ticks: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    return (2 * ticks * v.TICKS_PER_QUARTER + ticks_per_quarter) // (2 * ticks_per_quarter)


def _fold(pitch: np.ndarray) -> np.ndarray:
    below = np.maximum(-((pitch - v.LOWEST_PITCH) // 12), 0)
    above = np.maximum((pitch - v.HIGHEST_PITCH + 11) // 12, 0)
    return pitch + 12 * below - 12 * above


def _merge(notes: np.ndarray) -> np.ndarray:
    """Returns the notes in canonical order with those of equal onset, instrument and pitch made one."""
    notes = _in_order(notes)
    first = np.ones(len(notes), dtype=bool)
    first[1:] = (notes[1:, :DURATION] != notes[:-1, :DURATION]).any(axis=1)
    if first.all():
        return notes
    groups = np.flatnonzero(first)
    merged = notes[groups]
    merged[:, DURATION:] = np.maximum.reduceat(notes[:, DURATION:], groups, axis=0)
    return merged


def _fit_durations(notes: np.ndarray, meters: np.ndarray) -> np.ndarray:
    """Ends all notes by the last bar line, in place, and returns where the bars start and the last one ends."""
    bar_ticks = np.concatenate([[0], np.cumsum(v.METER_TICKS[meters])])
    room = bar_ticks[-1] - notes[:, ONSET]
    late = notes[:, DURATION] > room
    notes[late, DURATION] = v.longest_duration(room[late])
    return bar_ticks


def _bar_meters(score: Score, notes: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Returns each bar's meter up to the last onset and what rings beyond it, and how many were replaced and cut."""
    last_onset = int(notes[:, ONSET].max(initial=-1))
    sounding = int((notes[:, ONSET] + notes[:, DURATION]).max(initial=0))
    starts = _to_grid(score.meters.start_ticks, score.ticks_per_quarter).tolist()
    named = zip(score.meters.numerator.tolist(), score.meters.denominator.tolist(), strict=True)
    changes = [(start, v.METER_INDEX.get(meter, -1)) for start, meter in zip(starts, named, strict=True)]
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, v.METER_INDEX[4, 4]))
    replaced = sum(meter < 0 for _, meter in changes)
    end = max(last_onset + 1, sounding - _OVERHANG_TICKS + 1) if last_onset >= 0 else 0
    if end > _MAX_TICKS:
        n_quarters = end // v.TICKS_PER_QUARTER
        raise InputError(f"the score is {n_quarters} quarters long; allowed are {_MAX_TICKS // v.TICKS_PER_QUARTER}")
    meters: list[int] = []
    tick, cut = 0, 0
    for index, (_, meter) in enumerate(changes):
        meter = meter if meter >= 0 else v.METER_INDEX[4, 4]
        until = min(changes[index + 1][0], end) if index + 1 < len(changes) else end
        is_last = until == end
        n_ticks = int(v.METER_TICKS[meter])
        n_whole = max(0, -(-(until - tick) // n_ticks) if is_last else (until - tick) // n_ticks)
        meters += [meter] * n_whole
        tick += n_whole * n_ticks
        rest = (until - tick) // _MIN_BAR_TICKS * _MIN_BAR_TICKS
        if rest > 0 and not is_last:
            meters += short_meters(rest)
            tick += rest
            cut += 1
    return np.array(meters, dtype=np.int64), replaced, cut


def short_meters(ticks: int) -> list[int]:
    """Returns the meter with the largest beats whose bar has so many ticks, a multiple of 3, or two if none has."""
    for denominator in (4, 8, 16, 32):
        numerator, rest = divmod(ticks * denominator, v.TICKS_PER_WHOLE)
        if rest == 0 and (numerator, denominator) in v.METER_INDEX:
            return [v.METER_INDEX[numerator, denominator]]
    whole = ticks // v.TICKS_PER_WHOLE * v.TICKS_PER_WHOLE
    return short_meters(whole) + short_meters(ticks - whole)


def _bar_tempos(score: Score, bar_ticks: np.ndarray) -> np.ndarray:
    """Returns each bar's mean tempo as a level, which changes only when the tempo is nearer to another by a margin."""
    if len(bar_ticks) < 2:
        return np.zeros(0, dtype=np.int64)
    bpm = np.diff(bar_ticks) / v.TICKS_PER_QUARTER * 60 / np.diff(_seconds_at(score, bar_ticks))
    scale = np.log(np.array(v.TEMPOS_BPM))
    position = np.interp(np.log(bpm), scale, np.arange(len(scale)))
    levels = np.empty(len(position), dtype=np.int64)
    level = round(position[0])
    for bar, value in enumerate(position.tolist()):
        if abs(value - level) > 0.75:  # rubato around a level's edge is not a new tempo in every bar
            level = round(value)
        levels[bar] = level
    return levels


def _seconds_at(score: Score, grid_ticks: np.ndarray) -> np.ndarray:
    """Returns when ticks of the grid (fractions too) come, in seconds from the start."""
    ticks = grid_ticks * score.ticks_per_quarter / v.TICKS_PER_QUARTER
    return ticks_to_seconds(ticks, score.tempos.start_ticks, score.tempos.us_per_quarter, score.ticks_per_quarter)
