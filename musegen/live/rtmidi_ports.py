"""Ports of the computer's MIDI systems, by python-rtmidi: ALSA and JACK on Linux, CoreMIDI, and Windows' own.

A JACK server that dies takes its clients with it without a word: sending would block for ever. So its end is heard
through a client of its own. A port that was named is looked for, and opened again when it comes back.
"""

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido

from musegen.errors import InputError, PortError
from musegen.live.clock import Clock, SystemClock
from musegen.live.jack_server import JackServer, silence_jack
from musegen.live.ports import Message, OnMessage, PortName

_SEQUENCER = Path("/dev/snd/seq")
_LOOK_SECONDS = 0.5  # how often a port that was named is looked for
_LEAVE_SECONDS = 0.05  # what was sent leaves with the next periods of the server, and what came has been taken
_NOT_MUSIC = {"sysex": True, "timing": False, "active_sense": True}  # what an input leaves out


def list_ports(api: str | None = None) -> list[PortName]:
    """Returns the ports that others have opened, of one MIDI system or of all that work here.

    Raises:
        InputError: no such system.
        PortError: none works here.
    """
    found = []
    for name in working_apis(api):
        for direction, kind in (("input", "MidiIn"), ("output", "MidiOut")):
            with _made(kind, name, "musegen-ports") as port:
                found += [PortName(name, direction, each) for each in port.get_ports()]
    return found


def working_apis(api: str | None = None) -> list[str]:
    """Returns the MIDI systems that work here: "alsa", "jack", "core" (macOS) or "winmm" (Windows).

    Args:
        api: only this one; None for all.

    Raises:
        InputError: no such system.
        PortError: none works; says what to do.
    """
    known = known_apis()
    if api is not None and api not in known:
        raise InputError(f"api is {api!r}; allowed here are {', '.join(known)}")
    needs = {"alsa": _SEQUENCER.exists, "jack": JackServer.runs}
    working = [name for name in known if api in (None, name) and needs.get(name, lambda: True)()]
    if not working:
        how = {"alsa": "load ALSA's sequencer (modprobe snd-seq)", "jack": "start a JACK server (jackd)"}
        wanted = [how[name] for name in known if api in (None, name) and name in how]
        others = [name for name in known if name != api and needs.get(name, lambda: True)()] if api else []
        what = f"{api} does not work here, but {' and '.join(others)} does" if others else "no MIDI system works here"
        raise PortError(f"{what}: {' or '.join(wanted) or 'install one'}")
    return working


def known_apis() -> list[str]:
    """Returns the MIDI systems that python-rtmidi knows on this kind of computer."""
    rtmidi = _rtmidi()
    return [rtmidi.get_api_name(each) for each in rtmidi.get_compiled_api()]


class RtOutPort:
    """An output of a MIDI system.

    Args:
        name: of the port to send to, or a part of its name; None makes a new port.
        virtual: the name of the new port, to which others connect.
        api: which MIDI system; None takes the first that works.

    Raises:
        InputError: no such port, or this system has no new ports.
        PortError: no MIDI system works here.
    """

    def __init__(self, name: str | None = None, virtual: str = "musegen", api: str | None = None):
        self._port = _Port("MidiOut", name, virtual, api)
        self.name = self._port.name

    @property
    def is_open(self) -> bool:
        return self._port.is_connected

    def send(self, message: Message) -> None:
        self._port.check()
        if self._port.is_connected:
            self._port.rt.send_message(message.bytes())

    def close(self) -> None:
        self._port.close()


class RtInPort:
    """An input of a MIDI system.

    Args:
        on_message: called with each message and the second at which it came, in the system's thread; messages that are
            no MIDI are counted in `n_bad` and left out.
        name: of the port to listen to, or a part of its name; None makes a new port.
        virtual: the name of the new port, to which others connect.
        api: which MIDI system; None takes the first that works.
        clock: whose seconds.

    Raises:
        InputError: no such port, or this system has no new ports.
        PortError: no MIDI system works here.
    """

    def __init__(
        self,
        on_message: OnMessage,
        name: str | None = None,
        virtual: str = "musegen",
        api: str | None = None,
        clock: Clock | None = None,
    ):
        self._on_message, self._clock = on_message, clock or SystemClock()
        self.n_bad = 0
        self._port = _Port("MidiIn", name, virtual, api, self._take)
        self.name = self._port.name

    def _take(self, came: tuple[list[int], float], _data: object = None) -> None:
        seconds = self._clock.now()
        try:
            message = mido.Message.from_bytes(came[0])
        except ValueError:
            self.n_bad += 1
            return
        self._on_message(message, seconds)

    @property
    def is_open(self) -> bool:
        return self._port.is_connected

    def close(self) -> None:
        self._port.close()


class _Port:
    """What inputs and outputs share: opening, watching, opening again, closing."""

    def __init__(self, kind: str, name: str | None, virtual: str, api: str | None, on_message: Any = None):
        self.api = working_apis(api)[0]
        self._kind, self._on_message = kind, on_message
        self._gone = threading.Event()  # the server has ended
        self._closing = threading.Event()
        self.is_connected = False  # while a server that has ended leaves it be: sending then raises
        with contextlib.ExitStack() as undo:
            if self.api == "jack":
                undo.callback(JackServer(self._gone.set).close)
            self.rt = undo.enter_context(_made(kind, self.api, virtual if name is None else "musegen"))
            if name is None and self.api == "winmm":
                raise InputError(
                    "Windows has no new MIDI ports: install loopMIDI, make a port in it, and name that port with --port"
                )
            self.name = virtual if name is None else _matching(name, self.rt.get_ports(), kind)
            self._open(None if name is None else self.name)
            self._held = undo.pop_all()
        if name is not None:
            threading.Thread(target=self._watch, name=f"musegen looks for {self.name}", daemon=True).start()

    def _open(self, name: str | None) -> None:
        if self._on_message:
            self.rt.ignore_types(**_NOT_MUSIC)
            self.rt.set_callback(self._on_message)
        if name is None:
            self.rt.open_virtual_port(self.name)
        else:
            self.rt.open_port(self.rt.get_ports().index(name), "musegen")
        self.is_connected = True

    def check(self) -> None:
        """Raises PortError where the port cannot be used any more."""
        if self._gone.is_set():
            raise PortError("the JACK server has ended; start it again (jackd), and then musegen")
        if self._closing.is_set():
            raise PortError(f"{self.name} is closed")

    def _watch(self) -> None:
        """Looks for the port that was named, again and again."""
        with contextlib.ExitStack() as undo:
            probe = undo.enter_context(_made(self._kind, self.api, "musegen-looks"))
            while not self._closing.wait(_LOOK_SECONDS) and not self._gone.is_set():
                is_there = self.name in probe.get_ports()
                if self.is_connected and not is_there:
                    self.is_connected = False
                elif is_there and not self.is_connected:
                    self._calm()
                    self.rt.close_port()
                    with contextlib.suppress(ValueError, OSError):  # gone again in between
                        self._open(self.name)
            if self._gone.is_set():
                _abandon(undo.pop_all())

    def _calm(self) -> None:
        """Waits until nothing is under way: closing holds Python's lock, for which a message that comes would wait."""
        if self._on_message:
            self.rt.cancel_callback()
        time.sleep(_LEAVE_SECONDS)

    def close(self) -> None:
        """Lets go of the port, after what was sent has left."""
        if self._closing.is_set():
            return
        self._closing.set()
        if not self._gone.is_set():
            self._calm()
        if self._gone.is_set():
            _abandon(self._held)
        else:
            self._held.close()


@contextlib.contextmanager
def _made(kind: str, api: str, client: str) -> Iterator[Any]:
    """Makes a client of a MIDI system, and lets go of it where the block fails or ends.

    Raises:
        PortError: the system does not want one.
    """
    rtmidi = _rtmidi()
    try:
        made = getattr(rtmidi, kind)(rtmidi.get_compiled_api_by_name(api), name=client)
    except rtmidi.RtMidiError as error:
        raise PortError(f"{api} refuses a client: {error}") from None
    try:
        yield made
    finally:
        made.delete()


def _abandon(clients: contextlib.ExitStack) -> None:
    """Never lets go of the clients of a server that died, not even as the interpreter ends: closing them would hang."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(clients))


def _matching(name: str, known: list[str], kind: str) -> str:
    """Returns the one port whose name is, or has in it, what was asked for, whatever the case."""
    hits = [each for each in known if each == name] or [each for each in known if name.lower() in each.lower()]
    if len(hits) != 1:
        direction = "inputs" if kind == "MidiIn" else "outputs"
        there = ", ".join(repr(each) for each in known) or "none"
        raise InputError(f"port is {name!r}, which fits {len(hits)} of the {direction}; there are: {there}")
    return hits[0]


def _rtmidi() -> Any:
    try:
        import rtmidi
    except ImportError:
        raise PortError("python-rtmidi is not installed; it comes with musegen up to Python 3.12") from None
    silence_jack()
    return rtmidi
