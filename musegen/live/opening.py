"""Which port, whose time: what a user says about the studio, opened as a session."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from musegen.errors import InputError, UnknownNameError
from musegen.live.clock import Clock, SystemClock
from musegen.live.following import ClockFollower
from musegen.live.jack_server import JackTransport
from musegen.live.link import LinkTransport
from musegen.live.ports import FilePort, Message, OnMessage, OutPort
from musegen.live.rtmidi_ports import RtInPort, RtOutPort
from musegen.live.scheduler import Scheduler, Sent
from musegen.live.session import Closable, Session
from musegen.live.transport import OwnTransport, Transport, checked_bpm
from musegen.midi.formats import MIDI_SUFFIXES, check_writable

Follow = Literal["free", "clock", "jack", "link"]
FOLLOWS = ("free", "clock", "jack", "link")
DEFAULT_VIRTUAL = "musegen"
MAX_LATENCY_MS = 1000.0
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Setup:
    """Where messages go to and come from, and who keeps the time.

    Args:
        port: name, or a part of it, of the port to play on; a path that ends in .mid writes a file instead. None makes
            a new port.
        virtual: the name of new ports.
        input: name, or a part of it, of the port to hear; None makes a new port where one is needed.
        follow: "free" keeps musegen's own time, "clock" follows the MIDI clock that comes in, "jack" the
            transport of a JACK server, "link" Ableton Link.
        sends_clock: send MIDI clock as well.
        latency_ms: send so much earlier, 0 to 1000.
        api: which MIDI system; None takes the first that works.

    Raises:
        InputError: an argument is out of its range.
    """

    port: str | None = None
    virtual: str = DEFAULT_VIRTUAL
    input: str | None = None
    follow: Follow = "free"
    sends_clock: bool = False
    latency_ms: float = 0.0
    api: str | None = None

    def __post_init__(self):
        if self.follow not in FOLLOWS:
            raise UnknownNameError("follow", self.follow, FOLLOWS)
        if not 0 <= self.latency_ms <= MAX_LATENCY_MS:
            raise InputError(f"latency_ms is {self.latency_ms}; allowed are 0 to {MAX_LATENCY_MS:g}")
        if not self.virtual:
            raise InputError("virtual is empty; allowed are names")

    def open(
        self,
        *,
        bpm: float = 120.0,
        leads: bool = True,
        hears: OnMessage | None = None,
        on_roll: Callable[[Scheduler, float], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        on_sent: Callable[[Sent], None] | None = None,
        clock: Clock | None = None,
    ) -> Session:
        """Opens the ports and joins them to a transport.

        Args:
            bpm: tempo of musegen's own time, and until a clock tells.
            leads: whether tempo changes of the music change it.
            hears: called with what comes in; an input is opened for it.
            on_roll, on_stop, on_sent: of the scheduler.
            clock: whose seconds.

        Returns:
            A session, which plays in a `with` block. Its transport does not roll yet.

        Raises:
            InputError: no such port.
            PortError: no MIDI system works here.
        """
        checked_bpm(bpm)
        clock = clock or SystemClock()
        transport = self._transport(clock, bpm, leads)
        also: list[Closable] = [transport] if isinstance(transport, LinkTransport | JackTransport) else []
        if hears or isinstance(transport, ClockFollower):
            also.append(RtInPort(_Fork(transport, hears), self.input, self.virtual, self.api, clock))
        try:
            port = self._output(clock)
        except BaseException:
            for opened in also:
                opened.close()
            raise
        scheduler = Scheduler(
            port,
            transport,
            clock,
            latency_seconds=self.latency_ms / 1000,
            sends_clock=self.sends_clock,
            on_sent=on_sent,
            on_stop=on_stop,
        )
        scheduler.on_roll = (lambda beat: on_roll(scheduler, beat)) if on_roll else None
        return Session(scheduler, *also, settle_seconds=_SETTLE_SECONDS if self.port is None else 0.0)

    def _transport(self, clock: Clock, bpm: float, leads: bool) -> Transport:
        if self.follow == "clock":
            return ClockFollower(clock, bpm)
        if self.follow == "jack":
            return JackTransport(clock, bpm)
        if self.follow == "link":
            return LinkTransport(clock, bpm)
        return OwnTransport(clock, bpm, leads, lead_in_seconds=self.latency_ms / 1000)

    def _output(self, clock: Clock) -> OutPort:
        if self.port is not None and self.port.lower().endswith(tuple(MIDI_SUFFIXES)):
            check_writable(self.port)
            return FilePort(Path(self.port), clock)
        return RtOutPort(self.port, self.virtual, self.api)


class _Fork:
    """Gives what comes in to the transport, where it follows the clock, and to whoever hears."""

    def __init__(self, transport: Transport, hears: OnMessage | None):
        self._takes_clock = transport.receive if isinstance(transport, ClockFollower) else None
        self._hears = hears

    def __call__(self, message: Message, seconds: float) -> None:
        if self._takes_clock:
            self._takes_clock(message, seconds)
        if self._hears:
            self._hears(message, seconds)
