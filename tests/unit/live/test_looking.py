import pytest

from musegen.live.clock import SimulatedClock
from musegen.live.looking import LookedAt
from musegen.live.transport import Line


class Server(LookedAt):
    """A server whose transport is moved by hand, at 120."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.rolls, self.beat, self.since = clock, False, 0.0, 0.0

    def roll(self, beat=None):
        self.rolls, self.beat, self.since = True, self.beat if beat is None else beat, self.clock.now()

    def look(self):
        gone = (self.clock.now() - self.since) * 2 if self.rolls else 0.0
        return self.rolls, Line(self.beat + gone, self.clock.now(), 0.5)


@pytest.fixture
def server():
    return Server(SimulatedClock(10.0))


def test_what_began_between_two_looks_is_part_of_it(server):
    assert not server.is_rolling(10.0)
    server.clock.advance(0.04)
    server.roll()
    server.clock.advance(0.05)
    assert server.is_rolling(server.clock.now())
    assert server.epoch == 1
    assert server.line.beat == pytest.approx(0.1)
    assert server.start_beat == 0.0


def test_a_jump_begins_anew_and_rolling_on_does_not(server):
    server.roll()
    for _ in range(10):
        server.clock.advance(0.1)
        assert server.is_rolling(server.clock.now())
    assert server.epoch == 1
    server.roll(beat=32.0)
    server.clock.advance(0.1)
    assert server.is_rolling(server.clock.now())
    assert server.epoch == 2
    assert server.start_beat == pytest.approx(32.0)


def test_a_stop_and_another_start_begin_anew(server):
    server.roll()
    server.clock.advance(0.1)
    assert server.is_rolling(server.clock.now())
    server.rolls = False
    assert not server.is_rolling(server.clock.now())
    server.roll()
    server.clock.advance(0.1)
    assert server.is_rolling(server.clock.now())
    assert server.epoch == 2
