"""MIDI ports: where messages go and come from. Real ones are in `rtmidi_ports`; these need no MIDI system at all."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import mido

from musegen.errors import PortError
from musegen.live.clock import Clock, SystemClock
from musegen.midi.convert import from_mido

Message = Any
"""A `mido.Message`: its attributes depend on its type, and no type checker sees them."""

OnMessage = Callable[[Message, float], None]
"""Called with a message that came in and the second of the clock at which it came, in a thread of the port's."""

FILE_TICKS_PER_QUARTER = 480
FILE_BPM = 120.0


class PortName(NamedTuple):
    """A port that others have opened.

    Args:
        api: the MIDI system it belongs to ("alsa", "jack", "core", "winmm").
        direction: "output" where messages can be sent to, "input" where they can be had from.
        name: its name.
    """

    api: str
    direction: str
    name: str


class OutPort(Protocol):
    """Where messages are sent to."""

    name: str

    @property
    def is_open(self) -> bool:
        """Whether somebody is there: False while the other side has gone and may come back."""
        ...

    def send(self, message: Message) -> None:
        """Hands a message over.

        Raises:
            PortError: the port is closed, or what carries it has gone for good.
        """
        ...

    def close(self) -> None:
        """Lets go of the port, after what was sent has left."""
        ...


class InPort(Protocol):
    """Where messages come from, by a function that was given when it was opened."""

    name: str

    def close(self) -> None:
        """Lets go of the port; nothing comes after it."""
        ...


class MemoryPort:
    """An output that keeps what is sent to it; also an input for whoever feeds it.

    Args:
        clock: whose seconds.
        on_message: called with what is fed to it.
        name: of the port.

    Attributes:
        sent: (second, message) of all that was sent.
    """

    is_open = True

    def __init__(self, clock: Clock | None = None, on_message: OnMessage | None = None, name: str = "memory"):
        self.name = name
        self.sent: list[tuple[float, Message]] = []
        self._clock, self._on_message = clock or SystemClock(), on_message
        self._closed = False

    def send(self, message: Message) -> None:
        if self._closed:
            raise PortError(f"{self.name} is closed")
        self.sent.append((self._clock.now(), message))

    def feed(self, message: Message) -> None:
        """Has a message come in, now."""
        if self._on_message and not self._closed:
            self._on_message(message, self._clock.now())

    def close(self) -> None:
        self._closed = True


class FilePort:
    """An output that becomes a MIDI file when it is closed, at 120 quarters a minute; it starts with the first message.

    Args:
        path: ends in .mid or .midi.
        clock: whose seconds.
    """

    is_open = True

    def __init__(self, path: Path, clock: Clock | None = None):
        self.path, self.name = path, str(path)
        self._clock = clock or SystemClock()
        self._taken: list[tuple[float, Message]] = []
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        if message.type not in ("clock", "active_sensing"):
            with self._lock:
                self._taken.append((self._clock.now(), message))

    def close(self) -> None:
        """Writes the file, whole or not at all.

        Raises:
            ScoreFileError: it cannot be written.
        """
        with self._lock:
            taken, self._taken = self._taken, []
        if taken:
            from_mido(as_mido(taken)).write(self.path)


def as_mido(taken: list[tuple[float, Message]], bpm: float = FILE_BPM) -> mido.MidiFile:
    """Returns messages with their seconds as a MIDI file of one track, from the first of them on."""
    file = mido.MidiFile(type=1, ticks_per_beat=FILE_TICKS_PER_QUARTER)
    track = file.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
    ticks_per_second = FILE_TICKS_PER_QUARTER * bpm / 60
    before = 0
    for seconds, message in taken:
        tick = round((seconds - taken[0][0]) * ticks_per_second)
        if message.type in ("sysex", "songpos", "start", "stop", "continue", "clock"):
            continue
        track.append(message.copy(time=tick - before))
        before = tick
    return file
