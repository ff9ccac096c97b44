"""A score: what a MIDI file says, in integer ticks, checked at the edge and immutable from then on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.columns import (
    MAX_TICKS,
    Control,
    Controls,
    Key,
    Keys,
    Meter,
    Meters,
    Note,
    Notes,
    PitchBend,
    PitchBends,
    Tempo,
    Tempos,
)
from musegen.midi.units import ticks_to_seconds

__all__ = [
    "MAX_TICKS", "Control", "Controls", "Key", "Keys", "Meter", "Meters", "Note", "Notes", "PitchBend", "PitchBends",
    "Score", "Tempo", "Tempos", "Track",
]  # fmt: skip

_NO_CONTROLS, _NO_PITCH_BENDS, _NO_KEYS = Controls(), PitchBends(), Keys()
_DEFAULT_TEMPO = Tempos([0], [500_000])  # 120 bpm
_DEFAULT_METER = Meters([0], [4], [4])


@dataclass(frozen=True)
class Track:
    """One part of a score: an instrument and what it plays.

    Args:
        name: any text, may be empty.
        program: General MIDI program, 0..127.
        is_drum: whether it plays on the drum channel, where a pitch names a drum.
        notes: its notes.
        controls: its controller changes.
        pitch_bends: its pitch wheel.

    Raises:
        InputError: the program is out of range.
    """

    name: str
    program: int
    is_drum: bool
    notes: Notes
    controls: Controls = _NO_CONTROLS
    pitch_bends: PitchBends = _NO_PITCH_BENDS

    def __post_init__(self) -> None:
        if not 0 <= self.program <= 127:
            raise InputError(f"program must be 0..127, got {self.program}")

    @property
    def end_ticks(self) -> int:
        """The tick at which its last note ends; 0 without notes."""
        return int(self.notes.end_ticks.max()) if len(self.notes) else 0


@dataclass(frozen=True)
class Score:
    """A piece of music in integer ticks.

    A tempo and a meter hold from tick 0: where none is given there, 120 bpm and 4/4 are put in.

    Args:
        ticks_per_quarter: ticks in a quarter note, 1..32767.
        tracks: the parts.
        tempos: the tempo changes.
        meters: the time signatures.
        keys: the key signatures.
        texts: (tick, text) of the markers of the song, in order of time.

    Raises:
        InputError: an argument is out of its range.
    """

    ticks_per_quarter: int
    tracks: tuple[Track, ...] = ()
    tempos: Tempos = _DEFAULT_TEMPO
    meters: Meters = _DEFAULT_METER
    keys: Keys = _NO_KEYS
    texts: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.ticks_per_quarter <= 32767:
            raise InputError(f"ticks_per_quarter must be 1..32767, got {self.ticks_per_quarter}")
        for tick, _ in self.texts:
            if not 0 <= tick <= MAX_TICKS:
                raise InputError(f"the tick of a text must be 0..{MAX_TICKS}, got {tick}")
        texts = tuple(sorted(((int(tick), text) for tick, text in self.texts), key=lambda text: text[0]))
        object.__setattr__(self, "tracks", tuple(self.tracks))
        object.__setattr__(self, "texts", texts)
        if not len(self.tempos) or self.tempos.start_ticks[0] > 0:
            object.__setattr__(self, "tempos", _DEFAULT_TEMPO.joined(self.tempos))
        if not len(self.meters) or self.meters.start_ticks[0] > 0:
            object.__setattr__(self, "meters", _DEFAULT_METER.joined(self.meters))

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

    @staticmethod
    def read(path: str | os.PathLike[str]) -> "Score":
        """Reads a MIDI file.

        Tracks without notes are left out; a MIDI track that plays on several channels or programs becomes several.

        Args:
            path: a .mid file of type 0, 1 or 2 with time in ticks a quarter.

        Raises:
            ScoreFileError: the file is missing, a folder, empty, cut off, damaged or not MIDI.
        """
        from musegen.midi.smf import read  # symusic takes 100 ms to import: only who touches files pays

        return read(Path(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a type-1 MIDI file: whole, or not at all. Equal scores give equal bytes.

        Tempos, meters, keys and texts (as markers) go into the first track.

        Raises:
            ScoreFileError: the folder is missing or the file cannot be written.
            InputError: a note ends after MAX_TICKS.
        """
        from musegen.midi.files import write_atomically
        from musegen.midi.smf import to_bytes

        write_atomically(path, to_bytes(self))
