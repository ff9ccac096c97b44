from dataclasses import dataclass

import pytest

from musegen.live.clock import SimulatedClock
from musegen.live.ports import MemoryPort
from musegen.live.scheduler import Scheduler
from musegen.live.transport import OwnTransport, Transport


@dataclass
class Studio:
    """A scheduler on a port that remembers, in simulated time."""

    clock: SimulatedClock
    port: MemoryPort
    transport: OwnTransport
    scheduler: Scheduler

    @classmethod
    def of(cls, transport: Transport | None = None, clock: SimulatedClock | None = None, **options) -> "Studio":
        clock = clock or SimulatedClock()
        port = MemoryPort(clock)
        transport = transport or OwnTransport(clock)
        return cls(clock, port, transport, Scheduler(port, transport, clock, **options))

    def run(self, seconds: float, look=None) -> None:
        """Lets time go by, looking twenty times a second."""
        end = self.clock.now() + seconds
        while True:
            if look:
                look()
            wait = self.scheduler.turn()
            if self.clock.now() >= end:
                return
            self.clock.advance(min(wait, 0.05, end - self.clock.now()))

    @property
    def sent(self) -> list[tuple[float, str]]:
        """What was sent, notes and clock briefly: ("on 0 60", ...)."""
        return [(round(seconds, 6), brief(message)) for seconds, message in self.port.sent]


def brief(message) -> str:
    if message.type == "note_on" and message.velocity:
        return f"on {message.channel} {message.note}"
    if message.type in ("note_on", "note_off"):
        return f"off {message.channel} {message.note}"
    if message.type == "control_change":
        return f"cc {message.channel} {message.control} {message.value}"
    if message.type == "program_change":
        return f"program {message.channel} {message.program}"
    return message.type


def held(sent) -> set:
    """Returns the notes that a receiver of these messages still holds."""
    notes = set()
    for _, message in sent:
        if message.type == "note_on" and message.velocity:
            notes.add((message.channel, message.note))
        elif message.type in ("note_on", "note_off"):
            notes.discard((message.channel, message.note))
        elif message.type == "control_change" and message.control in (120, 123):
            notes = {note for note in notes if note[0] != message.channel}
    return notes


@pytest.fixture
def studio() -> Studio:
    return Studio.of()
