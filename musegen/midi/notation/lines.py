"""Closed scores: staves on which each voice is a singer or a player of its own, and what belongs to whom."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from musegen.midi.instruments import VOICES

_CHOIR_PROGRAMS = frozenset((52, 53, 54))  # General MIDI: choir aahs, voice oohs, synth voice
_CHOIR_NAMES = ({"soprano", "alto"}, {"tenor", "bass"}, {"s", "a"}, {"t", "b"}, {"sa"}, {"tb"}, {"women"}, {"men"})
_SOUNDING = Fraction(3, 4)  # of a closed score's length: a voice of a fugue or of a piano piece is silent more often
_MOST_CHORDS = 0.05  # of a voice's notes: a last octave of the bass
_FEWEST_NOTES, _FEWEST_BARS = 4, 4  # of each voice, of the piece: below these, voices may be one player's by chance


class Line(NamedTuple):
    """What one track is read from in a staff: all of it, or the elements of one voice with their ids.

    `name` and `program` are its own, where it has them.
    """

    part: Any
    elements: frozenset[int] | None = None
    name: str = ""
    program: int | None = None


class _Voice(NamedTuple):
    """A voice of a staff, with the elements that it holds, each with its start in quarters."""

    part: Any
    elements: list[tuple[Fraction, Any]]

    @property
    def sounds(self) -> list[tuple[Fraction, Any]]:
        return [(at, each) for at, each in self.elements if not each.isRest and each.duration.quarterLength > 0]


def lines_of(groups: Sequence[Sequence[Any]]) -> list[list[Line]]:
    """Returns what each track is read from: the staves of an instrument, or one voice of a closed score.

    Voices are read apart where their notes name different instruments, and where two staves hold two voices each from
    beginning to end, all singing most of the time: one part of two staves, or two parts of a choir.

    Args:
        groups: music21 parts; the staves of one instrument are together.
    """
    found: list[list[Line]] = []
    place = 0
    while place < len(groups):
        here, after = groups[place], groups[place + 1] if place + 1 < len(groups) else ()
        lines = _players(here) or _choir(here)
        if not lines and len(here) == len(after) == 1 and all(_is_of_choir(part) for part in (*here, *after)):
            lines = _choir((*here, *after))
            place += bool(lines)
        found += lines or [[Line(part) for part in here]]
        place += 1
    return found


def voices_of(part: Any) -> list[list[tuple[Fraction, Any]]]:
    """Returns the voices of a music21 part in order of their ids: their notes and rests, each with its start.

    What a measure without voices holds is the first voice's.
    """
    from music21 import stream as streams

    voices: dict[str, list[tuple[Fraction, Any]]] = {}
    alone: list[tuple[Fraction, Any]] = []
    for measure in list(part.getElementsByClass(streams.Measure)) or [part]:
        at = Fraction(0) if measure is part else Fraction(part.elementOffset(measure))
        alone += _notes(measure, at)
        for voice in measure.voices:
            inside = at + Fraction(measure.elementOffset(voice))
            voices.setdefault(str(voice.id), []).extend(_notes(voice, inside))
    ordered = [voices[key] for key in sorted(voices, key=lambda key: (len(key), key))] or [[]]
    ordered[0] += alone
    return ordered


def _notes(stream: Any, at: Fraction) -> Iterator[tuple[Fraction, Any]]:
    return ((at + Fraction(stream.elementOffset(each)), each) for each in stream.notesAndRests)


def _line(voice: _Voice, name: str, program: int | None = None) -> Line:
    return Line(voice.part, frozenset(id(each) for _, each in voice.elements), name, program)


def _players(parts: Sequence[Any]) -> list[list[Line]]:
    """Returns the voices of an instrument's staves by the players that their notes name; nothing for one player."""
    voices = [_Voice(part, elements) for part in parts for elements in voices_of(part)]
    players: dict[int, tuple[Any, list[_Voice]]] = {}
    for voice in voices:
        owners = {id(owner): owner for _, each in voice.sounds for owner in _owners(each)}
        if len(owners) > 1 or None in owners.values():
            return []
        for key, owner in owners.items():
            players.setdefault(key, (owner, []))[1].append(voice)
    if len(players) < 2:
        return []
    return [
        [_line(voice, str(owner.instrumentName or "").strip(), owner.midiProgram) for voice in own]
        for owner, own in players.values()
    ]


def _owners(sound: Any) -> Iterable[Any]:
    """Yields the instruments that a note or the notes of a chord name, None for those that name none or a drum."""
    for note in getattr(sound, "notes", (sound,)):
        yield note.storedInstrument if hasattr(note, "pitch") else None


def _is_of_choir(part: Any) -> bool:
    from music21 import instrument

    programs = {each.midiProgram for each in part.recurse().getElementsByClass(instrument.Instrument)}
    words = str(getattr(part, "partName", None) or "").lower().replace(".", " ").replace("/", " ").split()
    return set(words) in _CHOIR_NAMES or (bool(programs) and programs <= _CHOIR_PROGRAMS)


def _choir(parts: Sequence[Any]) -> list[list[Line]]:
    """Returns the voices of two staves that hold two voices each throughout, from the highest down, else nothing."""
    if len(parts) != 2 or any(len(part.getElementsByClass("Measure")) < _FEWEST_BARS for part in parts):
        return []
    staves = [[_Voice(part, elements) for elements in voices_of(part)] for part in parts]
    voices = [voice for staff in staves for voice in staff]
    if any(len(staff) != 2 for staff in staves) or any(len(voice.sounds) < _FEWEST_NOTES for voice in voices):
        return []
    starts, ends = zip(*(_span(voice) for voice in voices), strict=True)
    length = max(ends) - min(starts)
    if not all(_sings(voice, length * _SOUNDING) for voice in voices):
        return []
    ordered = [voice for staff in staves for voice in sorted(staff, key=_height, reverse=True)]
    return [[_line(voice, name)] for voice, name in zip(ordered, VOICES, strict=True)]


def _span(voice: _Voice) -> tuple[Fraction, Fraction]:
    at, last = voice.sounds[-1]
    return voice.sounds[0][0], at + Fraction(last.duration.quarterLength)


def _sings(voice: _Voice, least: Fraction) -> bool:
    """Whether a voice sounds for so many quarters and has one pitch at a time."""
    sounds = voice.sounds
    if any(not hasattr(note, "pitch") for _, each in sounds for note in getattr(each, "notes", (each,))):
        return False
    n_chords = sum(len(each.pitches) > 1 for _, each in sounds)
    total = sum((Fraction(each.duration.quarterLength) for _, each in sounds), Fraction(0))
    return n_chords <= _MOST_CHORDS * len(sounds) and total >= least


def _height(voice: _Voice) -> float:
    sounds = voice.sounds
    return sum(max(pitch.ps for pitch in each.pitches) for _, each in sounds) / len(sounds)
