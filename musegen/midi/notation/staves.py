"""What stands in the staves of a music21 stream, in exact fractions of a quarter."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from musegen.errors import InputError
from musegen.midi.notation.bars import Bar, exact, mark_bars, read_bars
from musegen.midi.notation.lines import VOICES, Line, lines_of
from musegen.midi.score import DRUM_CHANNEL
from musegen.midi.units import MAX_US_PER_QUARTER

ALONE, START, CONTINUE, STOP = range(4)
"""How a note is tied."""

Meter = tuple[int, int]
_TIES = {"start": START, "continue": CONTINUE, "stop": STOP}
_GRACE = Fraction(1, 8)  # a 32nd: the longest that a grace note is
_GRACE_GRID = 480  # grace notes of the usual lengths take no finer ticks
_SNARE = 38
_OF_SIGNS = ("tempos", "meters", "keys")
_UNNAMED = "MusicXML Part"  # what music21 calls a part without a name
_LEVEL, _UNMARKED = 0.5, 0.20866  # of music21.volume: the middle, and what a note without velocity is above it


class Sound(NamedTuple):
    """A note as written, at its sounding pitch.

    `level`, `shift` and `follows_dynamics` are what music21 knows about its loudness: 0..1, accents, and whether a
    dynamic mark scales it.
    """

    start: Fraction
    duration: Fraction
    pitch: int
    is_drum: bool
    tie: int
    level: float
    shift: float
    follows_dynamics: bool

    def velocity(self, dynamic: float | None) -> int:
        """Returns the velocity, 1..127, under a dynamic mark of 0..1, as music21 realises it."""
        level = self.level
        if self.follows_dynamics:
            level = level * (1 if dynamic is None else 2 * dynamic) + self.shift
        return min(max(round(level * 127), 1), 127) if math.isfinite(level) else 90


@dataclass
class Staff:
    """The events of one staff; each list holds pairs or triples that begin with the time in quarters."""

    name: str = ""
    is_drum: bool = False
    sounds: list[Sound] = field(default_factory=list)
    dynamics: list[tuple[Fraction, float]] = field(default_factory=list)
    lyrics: list[tuple[Fraction, tuple[int, str]]] = field(default_factory=list)
    programs: list[tuple[Fraction, int]] = field(default_factory=list)
    tempos: list[tuple[Fraction, int, int]] = field(default_factory=list)
    meters: list[tuple[Fraction, Meter]] = field(default_factory=list)
    keys: list[tuple[Fraction, int, bool]] = field(default_factory=list)
    marks: list[tuple[Fraction, str]] = field(default_factory=list)
    fermatas: list[Fraction] = field(default_factory=list)

    def times(self) -> Iterator[Fraction]:
        """Every time that should fall on a tick."""
        for sound in self.sounds:
            yield sound.start
            yield sound.duration
        for events in (self.dynamics, self.lyrics, self.programs, self.tempos, self.meters, self.keys, self.marks):
            for event in events:
                yield event[0]


def read_staves(stream: Any, left_out: Counter[str]) -> tuple[list[list[Staff]], list[Bar]]:
    """Reads a music21 stream that is no opus; each voice of a closed score counts as a staff of its own.

    Args:
        stream: a score, part, measure, voice or plain stream.
        left_out: counts what is met and left out.

    Returns:
        The staves, those of one instrument together; and the bars, at least one.
    """
    parts = _instruments(stream)
    bars, starts = read_bars([part for group in parts for part in group])
    groups = [[_read_line(line, stream, starts, left_out) for line in group] for group in lines_of(parts)]
    readers = [reader for group in groups for reader in group]
    if readers[0].part is not stream:
        outside = _Reader(Line(stream), stream, starts, left_out, is_shallow=True).staff
        readers[0].staff.tempos += outside.tempos
        readers[0].staff.marks += outside.marks
    bars[-1].end = max(bars[-1].end, *(reader.end for reader in readers))
    for reader in readers:
        mark_bars(bars, reader.measures, reader.brackets, reader.repeat_marks)
    return [[reader.staff for reader in group] for group in groups], bars


def _instruments(stream: Any) -> list[list[Any]]:
    """Returns the parts of a stream, the staves of one instrument (PartStaffs of one StaffGroup) together."""
    from music21 import layout
    from music21 import stream as streams

    if isinstance(stream, streams.Part) or not stream.hasPartLikeStreams():
        return [[stream]]
    parts = list(stream.getElementsByClass(streams.Part)) or list(stream.getElementsByClass(streams.Stream))
    owner: dict[int, int] = {}
    for group in stream.getElementsByClass(layout.StaffGroup):
        staves = group.getSpannedElements()
        if all(isinstance(staff, streams.PartStaff) for staff in staves):
            for staff in staves:
                owner.setdefault(id(staff), id(group))
    groups: dict[int, list[Any]] = {}
    for part in parts:
        groups.setdefault(owner.get(id(part), id(part)), []).append(part)
    return list(groups.values())


def _read_line(line: Line, score: Any, starts: dict[int, Fraction], left_out: Counter[str]) -> "_Reader":
    met: Counter[str] = Counter()
    reader = _Reader(line, score, starts, met)
    # The signs of a staff are met again by each of its voices; the soprano and the tenor count them.
    is_again = line.elements is not None and line.name.lower() in (VOICES[1], VOICES[3])
    left_out.update({kind: count for kind, count in met.items() if not is_again or kind not in _OF_SIGNS})
    return reader


class _Reader:
    """Reads one part, or one voice of it."""

    def __init__(
        self, line: Line, score: Any, starts: dict[int, Fraction], left_out: Counter[str], is_shallow: bool = False
    ):
        from music21 import stream as streams

        part, self.line = line.part, line
        self.part, self.starts, self.left_out, self.staff = part, starts, left_out, Staff()
        self.measures: list[tuple[Fraction, Any]] = []
        self.brackets: list[Any] = []
        self.octaves = 0
        self.repeat_marks: list[tuple[Fraction, Any]] = []
        self.instruments: list[tuple[Fraction, Any]] = []
        self.key_signatures: list[tuple[Fraction, Any]] = []
        self.transposed: set[int] = set()
        sounding = part.atSoundingPitch if part.atSoundingPitch != "unknown" else score.atSoundingPitch
        self.is_written = sounding is False
        self.elements: list[tuple[Fraction, int, Any]] = []
        self._walk(part, Fraction(0), is_shallow)
        if isinstance(part, streams.Measure):
            self.measures.append((Fraction(0), part))
        self.end = max((at + exact(e.duration.quarterLength) for at, _, e in self.elements), default=Fraction(0))
        self._read_instruments()
        self._read_notes()
        self._read_keys()

    def _walk(self, stream: Any, offset: Fraction, is_shallow: bool = False) -> None:
        """Visits everything in a stream and the streams in it, and keeps the notes for later, each with its stream."""
        from music21 import note
        from music21 import stream as streams

        for element in stream:
            at = self.starts.get(id(element), offset + exact(stream.elementOffset(element)))
            if isinstance(element, streams.Stream):
                if isinstance(element, streams.Measure):
                    self.measures.append((at, element))
                if not is_shallow:
                    self._walk(element, at)
            elif isinstance(element, note.GeneralNote):
                if self.line.elements is not None and id(element) not in self.line.elements:
                    continue
                self.elements.append((at, id(stream), element))
            else:
                self._read_sign(max(at, Fraction(0)), element)

    def _read_sign(self, at: Fraction, sign: Any) -> None:
        from music21 import dynamics, expressions, instrument, key, meter, repeat, spanner, tempo

        if isinstance(sign, instrument.Instrument):
            self.instruments.append((at, sign))
        elif isinstance(sign, dynamics.Dynamic):
            self.staff.dynamics.append((at, float(sign.volumeScalar)))
        elif isinstance(sign, tempo.MetronomeMark | tempo.MetricModulation):
            self._read_tempo(at, sign)
        elif isinstance(sign, meter.TimeSignature):
            self._read_meter(at, sign)
        elif isinstance(sign, key.KeySignature):
            self.key_signatures.append((at, sign))
        elif isinstance(sign, expressions.RehearsalMark):
            self.staff.marks.append((at, str(sign.content)))
        elif isinstance(sign, repeat.RepeatExpression):
            self.repeat_marks.append((at, sign))
        elif isinstance(sign, spanner.RepeatBracket):
            self.brackets.append(sign)
        elif isinstance(sign, spanner.Ottava) and sign.transposing:
            self.transposed.update(id(each) for each in sign.getSpannedElements())
            self.octaves = int(sign.interval().semitones)

    def _read_tempo(self, at: Fraction, sign: Any) -> None:
        mark = sign if hasattr(sign, "getQuarterBPM") else sign.newMetronome
        bpm = mark.getQuarterBPM() if mark is not None else None
        if mark is None or bpm is None:
            return
        us = 6e7 / bpm if bpm > 0 and math.isfinite(bpm) else 0.0
        if 1 <= us <= MAX_US_PER_QUARTER:
            # Of several at one place: the number that is written, then one for playback only, then that of a word.
            rank = 1 if mark.number is None else 2 if mark.numberImplicit else 0
            self.staff.tempos.append((at, round(us), rank))
        else:
            self.left_out["tempos"] += 1

    def _read_meter(self, at: Fraction, sign: Any) -> None:
        numerator, denominator = sign.numerator, sign.denominator
        if numerator and denominator and 1 <= numerator <= 255 and denominator in (1, 2, 4, 8, 16, 32, 64):
            self.staff.meters.append((at, (int(numerator), int(denominator))))
        else:
            self.left_out["meters"] += 1

    def _read_instruments(self) -> None:
        from music21 import exceptions21, instrument

        name = str(getattr(self.part, "partName", None) or "").strip()
        for at, each in self.instruments:
            name = name or str(each.partName or each.instrumentName or "").strip()
            if each.midiProgram is not None and 0 <= each.midiProgram <= 127:
                self.staff.programs.append((at, int(each.midiProgram)))
            is_unpitched = isinstance(each, instrument.UnpitchedPercussion)
            # General MIDI has unpitched instruments, such as a taiko, on its other channels too.
            self.staff.is_drum |= is_unpitched if each.midiChannel is None else each.midiChannel == DRUM_CHANNEL
        if not self.staff.programs and name:
            try:
                program = instrument.fromString(name).midiProgram
            except exceptions21.Music21Exception:
                program = None
            self.staff.programs += [(Fraction(0), program)] if program is not None else []
        if self.line.program is not None:
            self.staff.programs = [(Fraction(0), int(self.line.program))]
        self.staff.name = self.line.name or ("" if name == _UNNAMED else name)

    def _read_keys(self) -> None:
        for at, sign in self.key_signatures:
            transposition = self._transposition(at)
            sharps = sign.sharps
            if transposition:  # a fifth up is a sharp more
                sharps = sign.transpose(transposition).sharps
            if sharps is not None and -7 <= sharps <= 7:
                self.staff.keys.append((at, int(sharps), getattr(sign, "mode", None) in ("minor", "aeolian")))
            else:
                self.left_out["keys"] += 1

    def _transposition(self, at: Fraction) -> Any:
        """Returns the interval from the written to the sounding pitch of the instrument that plays at a time."""
        if not self.is_written:
            return None
        playing = [each for start, each in self.instruments if start <= at] or [e for _, e in self.instruments[:1]]
        return playing[-1].transposition if playing else None

    def _read_notes(self) -> None:
        voices: dict[int, list[tuple[Fraction, Any]]] = {}
        for at, voice, element in self.elements:
            voices.setdefault(voice, []).append((at, element))
        for voice in voices.values():
            self._read_voice(voice)

    def _read_voice(self, voice: Sequence[tuple[Fraction, Any]]) -> None:
        """Reads the notes of a stream, and finds the main note of each grace note."""
        from music21 import harmony

        graces: list[Any] = []
        last: list[int] = []  # places in `sounds` of the last note that is no grace note
        for at, element in voice:
            duration = exact(element.duration.quarterLength)
            if isinstance(element, harmony.ChordSymbol) and not element.writeAsChord:
                self.left_out["chord symbols"] += 1
            elif duration < 0 or at < 0:
                raise InputError(f"has a note at {at} that lasts {duration} quarters")
            elif element.isRest:
                if graces and duration:
                    self._place_graces(graces, at, duration)
                    graces = []
            elif element.duration.isGrace or not duration:
                graces.append(element)
            else:
                taken = self._place_graces(graces, at, duration)
                graces = []
                place = len(self.staff.sounds)
                self._add(element, at + taken, duration - taken, at)
                last = list(range(place, len(self.staff.sounds)))
            self._read_lyrics(at, element)
        if graces:
            self._end_with(graces, last, voice[-1][0])

    def _place_graces(self, graces: Sequence[Any], at: Fraction, room: Fraction) -> Fraction:
        """Puts grace notes one after the other into the first half of the room, and returns what they take."""
        if not graces:
            return Fraction(0)
        longest = min(_GRACE, room / (2 * len(graces)))
        each = Fraction(int(longest * _GRACE_GRID), _GRACE_GRID) or longest
        for index, grace in enumerate(graces):
            self._add(grace, at + index * each, each, at)
        return len(graces) * each

    def _end_with(self, graces: Sequence[Any], last: Sequence[int], at: Fraction) -> None:
        """Puts grace notes that nothing follows at the end of the note before them."""
        sounds = self.staff.sounds
        if not last:
            self._place_graces(graces, at, _GRACE * 2 * len(graces))
            return
        note = sounds[last[0]]
        end = note.start + note.duration
        taken = self._place_graces(graces, end, note.duration)
        for index in range(len(sounds) - 1, -1, -1):
            if sounds[index].start < end and index not in last:
                break
            sounds[index] = (
                sounds[index]._replace(duration=sounds[index].duration - taken)
                if index in last
                else sounds[index]._replace(start=sounds[index].start - taken)
            )

    def _add(self, element: Any, start: Fraction, duration: Fraction, at: Fraction) -> None:
        transposition = self._transposition(at)
        shift = float(transposition.semitones) if transposition is not None else 0.0
        if id(element) in self.transposed:
            shift += self.octaves
        if any("Fermata" in sign.classes for sign in element.expressions):
            self.staff.fermatas.append(start)
        level, follows = _level(element)
        accent = float(sum(sign.volumeShift for sign in element.articulations))
        for note in getattr(element, "notes", None) or (element,):
            pitch, is_drum = self._pitch(note, shift)
            if pitch is None or not 0 <= pitch <= 127:
                self.left_out["notes"] += 1
                continue
            tie = _TIES.get(note.tie.type, ALONE) if note.tie is not None else ALONE
            if element is not note and note.hasVolumeInformation():
                level, follows = _level(note)
            self.staff.sounds.append(Sound(start, duration, pitch, is_drum, tie, level, accent, follows))

    def _pitch(self, note: Any, shift: float) -> tuple[int | None, bool]:
        if hasattr(note, "pitch"):
            exact_pitch = note.pitch.ps + shift
            pitch = math.floor(exact_pitch + 0.5) if math.isfinite(exact_pitch) else None
            self.left_out["quarter tones"] += pitch != exact_pitch
            return pitch, self.staff.is_drum
        owner = note.storedInstrument
        if owner is None or getattr(owner, "percMapPitch", None) is None:
            owner = next((each for _, each in self.instruments if getattr(each, "percMapPitch", None)), None)
        return getattr(owner, "percMapPitch", _SNARE), True

    def _read_lyrics(self, at: Fraction, element: Any) -> None:
        for number, lyric in enumerate(element.lyrics, start=1):
            if lyric.text:
                hyphen = "-" if lyric.syllabic in ("begin", "middle") else ""
                verse = lyric.number if isinstance(lyric.number, int) else number
                self.staff.lyrics.append((at, (verse, str(lyric.text) + hyphen)))


def _level(element: Any) -> tuple[float, bool]:
    """Returns how loud a note is, 0..1, before dynamics, and whether these count (music21's Volume.getRealized)."""
    if not element.hasVolumeInformation():
        return _LEVEL + _UNMARKED, True
    volume = element.volume
    scalar = volume.velocityScalar
    if scalar is None:
        return _LEVEL + _UNMARKED, bool(volume.velocityIsRelative)
    return float(scalar), bool(volume.velocityIsRelative)
