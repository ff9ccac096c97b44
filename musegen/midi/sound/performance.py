"""A score as a synthesizer plays it: one stream of messages in order of time, on as many channels as it needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musegen.errors import InputError
from musegen.midi.score import DRUM_CHANNEL, Score, Track

MAX_CHANNELS = 256
"""How many channels a synthesizer has; one plays one instrument at a time."""

_BANK_CONTROLS = (0, 32)
_BATCH = 4096


class Kind(IntEnum):
    """What a message does; what its two values are."""

    NOTE_OFF = 0  # pitch, unused
    CONTROL = 1  # number, value
    PROGRAM = 2  # program, unused
    PITCH_BEND = 3  # unused, -8192..8191
    PRESSURE = 4  # unused, value
    KEY_PRESSURE = 5  # pitch, value
    NOTE_ON = 6  # pitch, velocity


class Message(NamedTuple):
    """One message to a synthesizer."""

    kind: Kind
    channel: int
    first: int
    second: int


# What happens at one tick happens in this order: ends, the instrument, its state, beginnings. A note without length
# begins before it ends.
_OFF, _BANK, _PROGRAM, _CONTROL, _BEND, _PRESSURE, _KEY_PRESSURE, _ON, _OFF_AT_ONCE = range(9)


@dataclass(frozen=True)
class Performance:
    """The messages of a score, in order.

    Args:
        is_drum: of each channel, whether a pitch names a drum on it.
        start_ticks: when each message comes.
        rows: its kind, channel, two values and, for the start of a note, the program where none was chosen yet.
        end_ticks: when the last note ends.
    """

    is_drum: tuple[bool, ...]
    start_ticks: NDArray[np.int64]
    rows: NDArray[np.int16]
    end_ticks: int

    @staticmethod
    def of(score: Score) -> "Performance":
        """Returns what a synthesizer has to be told to play a score.

        Raises:
            InputError: the score has no notes, or plays on more than MAX_CHANNELS channels.
        """
        if not score.n_notes:
            raise InputError("the score has no notes: there is nothing to hear")
        channels = _channels(score)
        is_drum = [False] * (1 + max(channels))
        parts = []
        for track, channel in zip(score.tracks, channels, strict=True):
            if channel >= 0:
                is_drum[channel] = track.is_drum
                parts += _parts(track, channel)
        start_ticks = np.concatenate([part[0] for part in parts])
        rows = np.concatenate([part[2] for part in parts])
        order = np.lexsort((np.concatenate([part[1] for part in parts]), start_ticks))
        return Performance(tuple(is_drum), start_ticks[order], rows[order], score.end_ticks)

    def programs(self) -> set[tuple[int, bool]]:
        """Returns every program that is chosen, and whether it is one of drums."""
        kind, channel, first, _, program = self.rows.T
        chosen = np.concatenate((first[kind == Kind.PROGRAM], program[kind == Kind.NOTE_ON]))
        channels = np.concatenate((channel[kind == Kind.PROGRAM], channel[kind == Kind.NOTE_ON]))
        pairs = np.unique(np.stack((chosen, np.asarray(self.is_drum)[channels]), 1), axis=0)
        return {(int(each), bool(drums)) for each, drums in pairs}

    def messages(self) -> Iterator[tuple[int, Message]]:
        """Yields the place of each message among the ticks, and the message.

        Two notes of one pitch that sound together on one channel are one sound, which ends with the later of them: a
        synthesizer would end both with the first.
        """
        sounding: dict[tuple[int, int], int] = {}
        has_program = [False] * len(self.is_drum)
        place = 0
        for start in range(0, len(self.rows), _BATCH):  # Lists of all messages at once would be ten times the columns
            for kind, channel, first, second, program in self.rows[start : start + _BATCH].tolist():
                if kind == Kind.NOTE_ON:
                    if not has_program[channel]:
                        has_program[channel] = True
                        yield place, Message(Kind.PROGRAM, channel, program, 0)
                    sounding[channel, first] = sounding.get((channel, first), 0) + 1
                elif kind == Kind.PROGRAM:
                    has_program[channel] = True
                elif kind == Kind.NOTE_OFF:
                    sounding[channel, first] -= 1
                if kind != Kind.NOTE_OFF or not sounding[channel, first]:
                    yield place, Message(Kind(kind), channel, first, second)
                place += 1


def _channels(score: Score) -> list[int]:
    """Returns the synthesizer's channel of each track, from 0 without gaps; -1 for a track that is not heard.

    Tracks of one channel and port share a channel. A track without one has its own while there are enough, and one with
    those of its program otherwise.
    """
    fixed = {(track.port, track.channel) for track in score.tracks if track.channel is not None}
    n_free = sum(track.channel is None and len(track.notes) > 0 for track in score.tracks)
    together = len(fixed) + n_free > MAX_CHANNELS
    found: dict[tuple[object, ...], int] = {}
    channels = []
    for index, track in enumerate(score.tracks):
        if track.channel is not None:
            key: tuple[object, ...] = (track.port, track.channel)
        elif track.is_drum:
            key = (track.port, DRUM_CHANNEL)
        else:
            key = ("program", track.program) if together else ("track", index)
        heard = len(track.notes) > 0 or key in found or (track.channel is not None and _has_events(track))
        channels.append(found.setdefault(key, len(found)) if heard else -1)
    if len(found) > MAX_CHANNELS:
        raise InputError(f"the score plays on {len(found)} channels; {MAX_CHANNELS} can sound together")
    return channels


def _has_events(track: Track) -> bool:
    return any(map(len, (track.controls, track.program_changes, track.pitch_bends, track.pressures)))


_Part = tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int16]]


def _parts(track: Track, channel: int) -> list[_Part]:
    """Returns the events of a track: their ticks, their order within a tick, and their rows."""
    notes, controls, bends = track.notes, track.controls, track.pitch_bends
    pressures, key_pressures, programs = track.pressures, track.key_pressures, track.program_changes

    def part(
        ticks: NDArray[np.int64],
        order: ArrayLike,
        kind: Kind,
        first: ArrayLike,
        second: ArrayLike,
        third: ArrayLike = 0,
    ) -> _Part:
        rows = np.empty((len(ticks), 5), np.int16)
        for place, values in enumerate((kind, channel, first, second, third)):
            rows[:, place] = values
        return ticks, np.broadcast_to(np.asarray(order, np.int8), ticks.shape), rows

    at_once = np.where(notes.duration_ticks > 0, _OFF, _OFF_AT_ONCE)
    banks = np.where(np.isin(controls.number, _BANK_CONTROLS), _BANK, _CONTROL)
    return [
        part(notes.end_ticks, at_once, Kind.NOTE_OFF, notes.pitch, 0),
        part(controls.start_ticks, banks, Kind.CONTROL, controls.number, controls.value),
        part(programs.start_ticks, _PROGRAM, Kind.PROGRAM, programs.program, 0),
        part(bends.start_ticks, _BEND, Kind.PITCH_BEND, 0, bends.value),
        part(pressures.start_ticks, _PRESSURE, Kind.PRESSURE, 0, pressures.value),
        part(key_pressures.start_ticks, _KEY_PRESSURE, Kind.KEY_PRESSURE, key_pressures.pitch, key_pressures.value),
        part(notes.start_ticks, _ON, Kind.NOTE_ON, notes.pitch, notes.velocity, track.program),
    ]
