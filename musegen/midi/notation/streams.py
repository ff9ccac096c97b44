"""music21 streams to scores: notation as it sounds.

`staves` reads what stands in each staff, in exact fractions of a quarter. Here staves become tracks, time becomes
ticks, and the bars are put in the order in which they are played.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi import limits
from musegen.midi.columns import MAX_TICKS, Keys, Meters, Notes, Programs, Tempos
from musegen.midi.notation.bars import Bar
from musegen.midi.notation.repeats import played_order
from musegen.midi.notation.staves import CONTINUE, START, STOP, Meter, Sound, Staff, read_staves
from musegen.midi.score import DRUM_CHANNEL, FERMATA, Score, Text, TextKind, Track

Value = TypeVar("Value")
_FINEST = 32767  # ticks a quarter that a MIDI file can have
_USUAL = 480
_ROUNDED = 10080  # where nothing is fine enough: halves to 32nds, triplets, quintuplets, septuplets


def from_music21(stream: Any) -> Score:
    """Makes a score of a music21 stream: what a player would play from it.

    - Bars lie where the notation has them. A pick-up begins at tick 0 under a meter of its own length (a quarter before
      3/4 is a bar of 1/4), and so does any other bar that is shorter or longer than its time signature; parts of a bar
      that follow one another are one bar again.
    - Repeats, endings, D.C. and D.S. are played out; verses are sung in their turn. What leads nowhere is counted as
      "repeats" in `left_out`.
    - Ties are one note. Grace notes are played on the beat, a 32nd each or less, and their main note has the rest;
      after the last note of a bar they are its end.
    - Pitches are those that sound. Dynamics and accents become velocities as music21 weighs them. Chord symbols are
      silent (and counted). A fermata has no length: it is a marker of its track where its note begins.
    - A part is a track, and so are the staves of one instrument together; the voices of a closed score (soprano and
      alto on one staff, tenor and bass on another) are four. Unpitched notes become drums, on a track of
      their own where the part has both.
    - Time is exact where 32,767 ticks a quarter suffice, otherwise rounded.

    Args:
        stream: any `music21.stream.Stream`: a score, part, measure, voice, or an opus, whose first piece is read.

    Raises:
        InputError: it is no stream, or is longer than MAX_TICKS or a limit (`midi.limits`) allows.
    """
    from music21 import stream as streams

    if not isinstance(stream, streams.Stream):
        raise InputError(f"stream must be a music21 stream, got {type(stream).__name__}")
    left_out: Counter[str] = Counter()
    if isinstance(stream, streams.Opus):
        pieces = list(stream.scores)
        left_out["tunes"] = max(0, len(pieces) - 1)
        stream = pieces[0] if pieces else stream
    groups, bars = read_staves(stream, left_out)
    time = _Time(groups, bars, left_out)
    staves = [staff for group in groups for staff in group]
    tracks = [track for group in groups for track in _tracks(group, time, left_out)]
    tempos = _first_of_each(sorted((e for staff in staves for e in staff.tempos), key=lambda e: (e[0], e[2])))
    keys = next((staff.keys for staff in staves if staff.keys), [])
    marks = sorted({(start, text) for staff in staves for start, text in staff.marks})
    return Score(
        ticks_per_quarter=time.ticks_per_quarter,
        tracks=tuple(tracks),
        tempos=_columns(Tempos, time.changes([(start, (us,)) for start, us, _ in tempos])),
        meters=_columns(Meters, time.meters(next((staff.meters for staff in staves if staff.meters), []))),
        keys=_columns(Keys, time.changes([(start, (sharps, is_minor)) for start, sharps, is_minor in keys])),
        texts=tuple(Text(tick, text) for tick, text, _ in time.played(marks)),
        name=_name(stream),
        left_out={kind: count for kind, count in left_out.items() if count},
    )


class _Segment(NamedTuple):
    """Bars that are played one after the other as they stand, in ticks of the notation and of the music."""

    start: int
    end: int
    played_start: int
    n_pass: int
    n_passes: int


class _Time:
    """Turns the time of the notation, in exact quarters, into ticks of the music."""

    def __init__(self, groups: Sequence[Sequence[Staff]], bars: Sequence[Bar], left_out: Counter[str]):
        self.ticks_per_quarter = _ticks_per_quarter(groups, bars)
        self.bars = bars
        self.bar_ticks = [self.tick(bar.start) for bar in bars] + [self.tick(bars[-1].end)]
        self.order, n_nowhere = played_order([bar.marks for bar in bars])
        left_out["repeats"] += n_nowhere
        self.segments = self._segments()

    def tick(self, quarters: Fraction) -> int:
        tick = math.floor(quarters * self.ticks_per_quarter + Fraction(1, 2))
        if not 0 <= tick <= MAX_TICKS:
            raise InputError(f"has something {float(quarters):g} quarters from its start, which no score can hold")
        return tick

    def _segments(self) -> list[_Segment]:
        segments: list[_Segment] = []
        most = Counter(place for place, _ in self.order)
        played, previous = 0, None
        for place, n_pass in self.order:
            start, end = self.bar_ticks[place], self.bar_ticks[place + 1]
            # Verses go by how often a bar was played, so a bar without repeats is in its first pass.
            if previous == (place - 1, n_pass) and segments[-1].n_passes == most[place]:
                segments[-1] = segments[-1]._replace(end=end)
            else:
                segments.append(_Segment(start, end, played, n_pass, most[place]))
            played, previous = played + end - start, (place, n_pass)
        if played > MAX_TICKS:
            raise InputError(f"lasts {played / self.ticks_per_quarter:g} quarters, which no score can hold")
        return segments

    def played(self, events: Sequence[tuple[Fraction, Value]]) -> list[tuple[int, Value, _Segment]]:
        """Returns events, sorted by their time, each as often as it is played."""
        starts = [self.tick(start) for start, _ in events]
        found = []
        for segment in self.segments:
            shift = segment.played_start - segment.start
            for index in range(*_within(starts, segment)):
                found.append((starts[index] + shift, events[index][1], segment))
        return found

    def changes(self, events: Sequence[tuple[Fraction, Value]]) -> list[tuple[int, Value]]:
        """Returns events that hold until the next, sorted by their time, so that they hold where they did."""
        starts = [self.tick(start) for start, _ in events]
        found: list[tuple[int, Value]] = []
        for segment in self.segments:
            shift = segment.played_start - segment.start
            first = max(bisect_right(starts, segment.start) - 1, 0)
            for start, (_, value) in zip(starts[first:], events[first:], strict=True):
                if start >= segment.end and not (segment is self.segments[-1] and not found):
                    break
                if not found or found[-1][1] != value:
                    found.append((max(start, segment.start) + shift, value))
        return found

    def meters(self, notated: Sequence[tuple[Fraction, Meter]]) -> list[tuple[int, Meter]]:
        """Returns the meters under which bar lines fall where the notation has them."""
        if not notated or not self.bars[0].is_measure:
            return self.changes(notated)
        starts = [start for start, _ in notated]
        bars: list[tuple[int, Meter, int]] = []  # ticks, time signature, length
        at = 0
        for place, _ in self.order:
            length = self.bar_ticks[place + 1] - self.bar_ticks[place]
            signature = notated[max(bisect_right(starts, self.bars[place].start) - 1, 0)][1]
            whole = self._length(signature)
            # The second part of a bar that a repeat sign or a double bar divides; never of the pick-up itself.
            if len(bars) > 1 and bars[-1][1] == signature and bars[-1][2] + length == whole:
                bars[-1] = (bars[-1][0], signature, whole)
            elif length:
                bars.append((at, signature, length))
            at += length
        return self._distinct(bars)

    def _distinct(self, bars: Sequence[tuple[int, Meter, int]]) -> list[tuple[int, Meter]]:
        found: list[tuple[int, Meter]] = []
        for at, signature, length in bars:
            is_cut_off = at == bars[-1][0] and at > 0 and length < self._length(signature)
            meter = signature if is_cut_off else self._meter_of(signature, length)
            if not found or found[-1][1] != meter:
                found.append((at, meter))
        return found

    def _length(self, meter: Meter) -> int:
        return meter[0] * 4 * self.ticks_per_quarter // meter[1]

    def _meter_of(self, signature: Meter, length: int) -> Meter:
        """Returns the meter of a bar: its signature, or one of its length that is written like it."""
        if length == self._length(signature):
            return signature
        denominator = signature[1]
        while denominator <= 64:
            numerator, rest = divmod(length * denominator, 4 * self.ticks_per_quarter)
            if not rest and 1 <= numerator <= 255:
                return numerator, denominator
            denominator *= 2
        return signature


def _within(starts: Sequence[int] | NDArray[np.int64], segment: _Segment) -> tuple[int, int]:
    return int(np.searchsorted(starts, segment.start)), int(np.searchsorted(starts, segment.end))


def _ticks_per_quarter(groups: Sequence[Sequence[Staff]], bars: Sequence[Bar]) -> int:
    """Returns the fewest ticks, 480 or more, in which every time of the piece is whole; or 10080 where none is."""
    times = {time for group in groups for staff in group for time in staff.times()} | {bar.end for bar in bars}
    common = 1
    for denominator in {time.denominator for time in times}:
        common = math.lcm(common, denominator)
        if common > _FINEST:
            return _ROUNDED
    usual = math.lcm(common, _USUAL)
    return usual if usual <= _FINEST else common * math.ceil(_USUAL / common)


def _tracks(group: Sequence[Staff], time: _Time, left_out: Counter[str]) -> Iterable[Track]:
    """Makes the track of an instrument, and a second one where it has both pitches and drums."""
    dynamics = sorted(event for staff in group for event in staff.dynamics)
    sounds = [sound for staff in group for sound in staff.sounds]
    name, programs = group[0].name, sorted({event for staff in group for event in staff.programs})
    lyrics = _sung(time, sorted(event for staff in group for event in staff.lyrics), left_out)
    kinds = sorted({sound.is_drum for sound in sounds}) or [group[0].is_drum]
    for is_drum in kinds:
        notes = _notes([sound for sound in sounds if sound.is_drum == is_drum], dynamics, time)
        changes = time.changes([(start, (program,)) for start, program in programs if not is_drum])
        fermatas = _fermatas(time, [at for staff in group for at in staff.fermatas], notes)
        yield Track(
            name,
            changes[0][1][0] if changes else 0,
            is_drum,
            notes,
            programs=_columns(Programs, changes) if len(changes) > 1 else None,
            texts=(*lyrics, *fermatas) if is_drum == kinds[0] else (),
            channel=DRUM_CHANNEL if is_drum else None,
        )


def _notes(sounds: list[Sound], dynamics: Sequence[tuple[Fraction, float]], time: _Time) -> Notes:
    """Plays the notes of a track: velocities, ticks, repeats, ties."""
    sounds.sort(key=lambda sound: sound.start)
    places = [start for start, _ in dynamics]
    rows = []
    for sound in sounds:
        place = bisect_right(places, sound.start) - 1
        start = time.tick(sound.start)
        end = time.tick(sound.start + sound.duration)
        velocity = sound.velocity(dynamics[place][1] if place >= 0 else None)
        rows.append((start, max(end - start, 1), sound.pitch, velocity, sound.tie))
    table = np.array(rows, np.int64).reshape(-1, 5)
    spans = [_within(table[:, 0], segment) for segment in time.segments]
    most = limits.current().notes
    if sum(end - start for start, end in spans) > most:
        raise InputError(f"plays more than {most:,} notes ({limits.how_to_raise('notes')})")
    parts = [
        table[start:end] + np.array((segment.played_start - segment.start, 0, 0, 0, 0))
        for (start, end), segment in zip(spans, time.segments, strict=True)
    ]
    played = _joined(np.concatenate([table[:0], *parts]))
    return Notes(*played[:, :4].T)


def _joined(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Makes one note of notes that are tied: of one pitch, the second starting where the first ends."""
    if not table[:, 4].any():
        return table
    table = table[np.argsort(table[:, 0], kind="stable")]
    rows = table.tolist()
    held: dict[tuple[int, int], list[int]] = {}  # pitch and end of notes that go on -> their rows
    is_kept = np.ones(len(rows), bool)
    for index, (start, duration, pitch, _, tie) in enumerate(rows):
        going_on = held.get((pitch, start)) if tie in (CONTINUE, STOP) else None
        first = going_on.pop() if going_on else None
        if first is not None:
            rows[first][1] += duration
            is_kept[index] = False
        if tie in (START, CONTINUE):
            held.setdefault((pitch, start + duration), []).append(index if first is None else first)
    return np.array(rows, np.int64)[is_kept]


def _sung(time: _Time, lyrics: Sequence[tuple[Fraction, tuple[int, str]]], left_out: Counter[str]) -> tuple[Text, ...]:
    """Chooses the verse of each pass: its own, else the first that there is."""
    verses: dict[int, dict[int, int]] = {}  # tick -> verse -> place in `lyrics`
    passes: dict[int, int] = {}
    for tick, place, segment in time.played([(start, place) for place, (start, _) in enumerate(lyrics)]):
        verses.setdefault(tick, {}).setdefault(lyrics[place][1][0], place)
        passes[tick] = segment.n_pass
    sung = [(tick, places.get(passes[tick], places[min(places)])) for tick, places in verses.items()]
    left_out["lyrics"] += len(lyrics) - len({place for _, place in sung})
    return tuple(Text(tick, lyrics[place][1][1], TextKind.LYRIC) for tick, place in sung)


def _fermatas(time: _Time, places: Sequence[Fraction], notes: Notes) -> list[Text]:
    """Returns a marker at the start of each note that carries a fermata, also where it is tied and carries it later."""
    starts, ends = notes.start_ticks, notes.end_ticks
    found: set[int] = set()
    for tick, _, _ in time.played([(at, None) for at in sorted(set(places))]):
        sounding = starts[(starts <= tick) & (ends > tick)]
        if len(sounding):
            found.add(int(sounding.max()))
    return [Text(tick, FERMATA) for tick in sorted(found)]


def _first_of_each(events: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Returns the first of the events of each time."""
    found: dict[Any, tuple[Any, ...]] = {}
    for event in events:
        found.setdefault(event[0], event)
    return list(found.values())


def _columns(kind: type[Any], events: Sequence[tuple[int, tuple[int, ...]]]) -> Any:
    return kind(*zip(*((start, *values) for start, values in events), strict=True)) if events else kind()


def _name(stream: Any) -> str:
    metadata = stream.metadata
    return str(metadata.bestTitle or metadata.movementName or "").strip() if metadata is not None else ""
