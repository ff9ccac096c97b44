"""A score: what a MIDI file says, in integer ticks, checked at the edge and immutable from then on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musegen.errors import InputError
from musegen.midi.columns import (
    MAX_TICKS,
    Control,
    Controls,
    Key,
    KeyPressure,
    KeyPressures,
    Keys,
    Meter,
    Meters,
    Note,
    Notes,
    PitchBend,
    PitchBends,
    Pressure,
    Pressures,
    Program,
    Programs,
    Tempo,
    Tempos,
)
from musegen.midi.units import ticks_to_seconds

if TYPE_CHECKING:
    import mido
    import music21
    import pretty_midi
    import symusic

    from musegen.midi.convert.arrays import Melody, PianoRoll

__all__ = [
    "DRUM_CHANNEL", "MAX_TICKS", "Control", "Controls", "Key", "KeyPressure", "KeyPressures", "Keys", "Meter", "Meters",
    "Note", "Notes", "PitchBend", "PitchBends", "Pressure", "Pressures", "Program", "Programs", "Score", "Tempo",
    "Tempos", "Text", "TextKind", "Track",
]  # fmt: skip

ChangesT = TypeVar("ChangesT", Tempos, Meters)

DRUM_CHANNEL = 9
"""The channel, counted from 0, on which a pitch names a drum."""

_NO_CONTROLS, _NO_PITCH_BENDS = Controls(), PitchBends()
_NO_PRESSURES, _NO_KEY_PRESSURES, _NO_KEYS = Pressures(), KeyPressures(), Keys()
_DEFAULT_TEMPO = Tempos([0], [500_000])  # 120 bpm
_DEFAULT_METER = Meters([0], [4], [4])


class TextKind(IntEnum):
    """What a text of a MIDI file is for; the values are the types of its meta events."""

    TEXT = 0x01
    COPYRIGHT = 0x02
    NAME = 0x03
    INSTRUMENT = 0x04
    LYRIC = 0x05
    MARKER = 0x06
    CUE = 0x07
    PROGRAM = 0x08
    DEVICE = 0x09


FERMATA = "fermata"
"""The marker of a track at the start of a note that is held: MIDI has no other way to say so."""


class Text(NamedTuple):
    """A text at a place in the music."""

    start_ticks: int
    text: str
    kind: TextKind = TextKind.MARKER

    @property
    def is_fermata(self) -> bool:
        """Whether it says that the note which begins there is held."""
        return self.kind is TextKind.MARKER and self.text.strip().lower() == FERMATA


def _from_tick_0(changes: ChangesT, default: ChangesT) -> ChangesT:
    """Returns changes of which one holds from tick 0: `default` if none does."""
    if not len(changes):
        return default
    return default.joined(changes) if changes.start_ticks[0] > 0 else changes


def _checked_texts(texts: Sequence[Text | tuple[int, str]]) -> tuple[Text, ...]:
    """Returns texts in order of time; plain (tick, text) pairs become markers."""
    if not texts:
        return ()
    try:
        checked = [
            Text(int(text[0]), text[1], TextKind(text[2] if len(text) > 2 else TextKind.MARKER)) for text in texts
        ]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"a text must be (tick, text) or (tick, text, kind 1..9): {error}") from None
    for text in checked:
        if not isinstance(text.text, str):
            raise InputError(f"a text must be a str, got {text.text!r}")
        if not 0 <= text.start_ticks <= MAX_TICKS:
            raise InputError(f"the tick of a text must be 0..{MAX_TICKS}, got {text.start_ticks}")
    return tuple(sorted(checked, key=lambda text: text.start_ticks))


@dataclass(frozen=True)
class Track:
    """One part of a score: an instrument on a channel, and what it plays.

    Where it stands in a file (`channel`, `port`, `chunk`) is not part of the music: tracks that differ only there are
    equal.

    Args:
        name: any text, may be empty.
        program: General MIDI program of the first note, 0..127.
        is_drum: whether it plays on the drum channel, where a pitch names a drum.
        notes: its notes.
        controls: its controller changes, the bank (0 and 32) among them.
        pitch_bends: its pitch wheel.
        programs: its program changes; None is the usual one, to `program` at tick 0. No changes at all: other tracks
            on its channel choose the program, and where none does, it is `program`.
        pressures: its aftertouch.
        key_pressures: its aftertouch key by key.
        texts: its lyrics and other texts.
        channel: 0..15, 9 for drums; None leaves the choice to whoever writes the file.
        port: of a device with more than 16 channels, 0..127.
        chunk: which track of the file it is from, counted from 0. A track of a file that plays on several channels
            becomes several of these with one `chunk`, and one again when it is written. None: one of its own.

    Raises:
        InputError: a value is out of range, or drums are on another channel than 9.
    """

    name: str
    program: int
    is_drum: bool
    notes: Notes
    controls: Controls = _NO_CONTROLS
    pitch_bends: PitchBends = _NO_PITCH_BENDS
    programs: Programs | None = None
    pressures: Pressures = _NO_PRESSURES
    key_pressures: KeyPressures = _NO_KEY_PRESSURES
    texts: tuple[Text, ...] = ()
    channel: int | None = field(default=None, compare=False)
    port: int = field(default=0, compare=False)
    chunk: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.program <= 127:
            raise InputError(f"program must be 0..127, got {self.program}")
        if self.channel is not None and not 0 <= self.channel <= 15:
            raise InputError(f"channel must be 0..15, got {self.channel}")
        if self.channel is not None and self.is_drum != (self.channel == DRUM_CHANNEL):
            raise InputError(f"drums play on channel {DRUM_CHANNEL} and nothing else does, got {self.channel}")
        if not 0 <= self.port <= 127:
            raise InputError(f"port must be 0..127, got {self.port}")
        if self.chunk is not None and self.chunk < 0:
            raise InputError(f"chunk must be 0 or more, got {self.chunk}")
        if self.texts != ():
            object.__setattr__(self, "texts", _checked_texts(self.texts))

    @property
    def end_ticks(self) -> int:
        """The tick at which its last note ends; 0 without notes."""
        return int(self.notes.end_ticks.max()) if len(self.notes) else 0

    @property
    def program_changes(self) -> Programs:
        """Its program changes, the usual one too."""
        return Programs([0], [self.program]) if self.programs is None else self.programs

    def programs_of(self, start_ticks: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Returns the program, 0..127, with which notes that start at these ticks sound."""
        changes = self.programs
        if changes is None or not len(changes):
            return np.full(len(start_ticks), self.program, np.uint8)
        place = np.searchsorted(changes.start_ticks, start_ticks, side="right") - 1
        return np.where(place < 0, np.uint8(self.program), changes.program[place])


@dataclass(frozen=True)
class Score:
    """A piece of music in integer ticks.

    A tempo and a meter hold from tick 0: where none is given there, 120 bpm and 4/4 are put in.

    What a MIDI file may have and a score has not: system exclusive and other system messages, release velocities,
    sequence numbers, key signatures and meters that no notation knows, the clicks of a metronome in a time signature,
    SMPTE offsets, sequencer-specific data, all but the last of several tempos, meters or keys at one tick, silence
    after the last event, and the order of unlike events at one tick. `left_out` counts what was met and left out.

    Args:
        ticks_per_quarter: ticks in a quarter note, 1..32767.
        tracks: the parts.
        tempos: the tempo changes.
        meters: the time signatures.
        keys: the key signatures.
        texts: texts of the song; a pair (tick, text) stands for a marker.
        name: the title; a MIDI file has it as the name of its first track.
        encoding: how the file writes texts, "utf-8" or "latin-1"; any of Python's that can write these.
        left_out: what of a file was left out or mended, by kind; not part of the music (equal music compares equal).

    Raises:
        InputError: an argument is out of its range.
    """

    ticks_per_quarter: int
    tracks: tuple[Track, ...] = ()
    tempos: Tempos = _DEFAULT_TEMPO
    meters: Meters = _DEFAULT_METER
    keys: Keys = _NO_KEYS
    texts: tuple[Text, ...] = ()
    name: str = ""
    encoding: str = field(default="utf-8", compare=False)
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.ticks_per_quarter <= 32767:
            raise InputError(f"ticks_per_quarter must be 1..32767, got {self.ticks_per_quarter}")
        object.__setattr__(self, "tracks", tuple(self.tracks))
        object.__setattr__(self, "texts", _checked_texts(self.texts))
        object.__setattr__(self, "tempos", _from_tick_0(self.tempos, _DEFAULT_TEMPO))
        object.__setattr__(self, "meters", _from_tick_0(self.meters, _DEFAULT_METER))

    @property
    def n_notes(self) -> int:
        """How many notes all tracks have together."""
        return sum(len(track.notes) for track in self.tracks)

    @property
    def end_ticks(self) -> int:
        """The tick at which the last note ends; 0 without notes."""
        return max((track.end_ticks for track in self.tracks), default=0)

    @property
    def duration_seconds(self) -> float:
        """The time at which the last note ends, in seconds from tick 0."""
        return self.seconds_at(self.end_ticks)

    @overload
    def seconds_at(self, ticks: int) -> float: ...
    @overload
    def seconds_at(self, ticks: NDArray[np.integer]) -> NDArray[np.float64]: ...
    def seconds_at(self, ticks: int | NDArray[np.integer]) -> float | NDArray[np.float64]:
        """Converts ticks (one or an array) to seconds from tick 0."""
        seconds = ticks_to_seconds(ticks, self.tempos.start_ticks, self.tempos.us_per_quarter, self.ticks_per_quarter)
        return seconds if isinstance(ticks, np.ndarray) else float(seconds)

    # Files -------------------------------------------------------------------------------------------------------

    @staticmethod
    def read(path: str | os.PathLike[str], *, encoding: str | None = None) -> "Score":
        """Reads a score file; its content tells which kind it is.

        Args:
            path: a MIDI file (.mid of type 0, 1 or 2, also in a RIFF container; the patterns of type 2 lie over each
                other, as its tracks), MusicXML (.musicxml, .xml, .mxl), ABC (.abc) or Humdrum (.krn).
            encoding: of the texts in a MIDI file, such as "shift_jis"; None takes UTF-8 where all texts are UTF-8, else
                Latin-1.

        Raises:
            ScoreFileError: the file is missing, a folder, empty, cut off, damaged, over a limit (`midi.limits`) or no
                music.
        """
        from musegen.midi.formats import read

        return read(path, encoding)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a file: whole, or not at all. The same score gives the same bytes.

        Where notes of one pitch overlap in a track, MIDI does not say which of them ends: it is read as the oldest.

        Args:
            path: ends in .mid or .midi (a MIDI file of type 1), or in .musicxml, .xml or .mxl (quantised to notation).

        Raises:
            ScoreFileError: the folder is missing or the file cannot be written.
            InputError: the name ends otherwise, or an event comes after MAX_TICKS.
        """
        from musegen.midi.formats import write

        write(self, path)

    # Objects of other libraries -------------------------------------------------------------------------------------

    @staticmethod
    def from_pretty_midi(pm: "pretty_midi.PrettyMIDI") -> "Score":
        """Reads a `pretty_midi.PrettyMIDI`; see `midi.convert.from_pretty_midi`."""
        from musegen.midi.convert import from_pretty_midi

        return from_pretty_midi(pm)

    def to_pretty_midi(self) -> "pretty_midi.PrettyMIDI":
        """Returns it as a `pretty_midi.PrettyMIDI`; see `midi.convert.to_pretty_midi` for what that cannot hold."""
        from musegen.midi.convert import to_pretty_midi

        return to_pretty_midi(self)

    @staticmethod
    def from_mido(mid: "mido.MidiFile") -> "Score":
        """Reads a `mido.MidiFile`; see `midi.convert.from_mido`."""
        from musegen.midi.convert import from_mido

        return from_mido(mid)

    def to_mido(self) -> "mido.MidiFile":
        """Returns all of it as a `mido.MidiFile` of type 1 in UTF-8."""
        from musegen.midi.convert import to_mido

        return to_mido(self)

    @staticmethod
    def from_music21(stream: "music21.stream.Stream") -> "Score":
        """Reads any stream of music21 as it sounds."""
        from musegen.midi.convert import from_music21

        return from_music21(stream)

    def to_music21(self) -> "music21.stream.Score":
        """Returns it as notation of music21."""
        from musegen.midi.convert import to_music21

        return to_music21(self)

    @staticmethod
    def from_symusic(score: "symusic.core.ScoreTick | symusic.core.ScoreQuarter | symusic.core.ScoreSecond") -> "Score":
        """Reads a score of symusic in any of its units."""
        from musegen.midi.convert import from_symusic

        return from_symusic(score)

    def to_symusic(self) -> "symusic.core.ScoreTick":
        """Returns it as symusic's score in ticks; see `midi.convert.to_symusic` for what that cannot hold."""
        from musegen.midi.convert import to_symusic

        return to_symusic(self)

    @staticmethod
    def from_notes(notes: "NDArray[np.void] | Melody", *, ticks_per_quarter: int = 480, program: int = 0) -> "Score":
        """Makes a score of a note array or of (pitch, quarters) pairs; see `midi.convert.from_notes`."""
        from musegen.midi.convert import from_notes

        return from_notes(notes, ticks_per_quarter=ticks_per_quarter, program=program)

    def to_notes(self) -> NDArray[np.void]:
        """Returns all notes as an array; see `midi.convert.arrays.NOTE_DTYPE`."""
        from musegen.midi.convert import to_notes

        return to_notes(self)

    @staticmethod
    def from_piano_roll(
        roll: "PianoRoll | ArrayLike",
        *,
        onset: ArrayLike | None = None,
        steps_per_quarter: int | None = None,
        program: int = 0,
        is_drum: bool = False,
    ) -> "Score":
        """Makes a score of a (time, 128) piano-roll; see `midi.convert.from_piano_roll`."""
        from musegen.midi.convert import from_piano_roll

        return from_piano_roll(roll, onset=onset, steps_per_quarter=steps_per_quarter, program=program, is_drum=is_drum)

    def to_piano_roll(self, *, steps_per_quarter: int = 4, track: int | None = None) -> "PianoRoll":
        """Draws the notes of one track, or of all but the drums, into a piano-roll; see `midi.convert`."""
        from musegen.midi.convert import to_piano_roll

        return to_piano_roll(self, steps_per_quarter=steps_per_quarter, track=track)

    def _repr_html_(self) -> str:
        from musegen.midi.picture.notebook import html

        return html(self)
