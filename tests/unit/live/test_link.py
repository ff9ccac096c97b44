import time

import pytest

from musegen.live.clock import SystemClock
from musegen.live.link import LinkTransport

pytest.importorskip("link", reason="LinkPython is not installed: pip install 'musegen[link]'")


@pytest.fixture
def transport():
    transport = LinkTransport(SystemClock(), bpm=100)
    yield transport
    transport.close()


def test_alone_in_a_session_it_begins_on_the_next_bar_line_and_keeps_its_tempo(transport):
    clock = SystemClock()
    assert transport.is_rolling(clock.now())
    line = transport.line
    assert line.seconds_per_beat == pytest.approx(0.6)
    assert -4.01 < line.beat <= 0.01
    epoch = transport.epoch
    assert transport.is_rolling(clock.now())
    assert transport.epoch == epoch
    transport.tempo_change(0, 200)
    assert transport.line.seconds_per_beat == pytest.approx(0.6)


def test_its_beats_are_those_of_the_session(transport):
    clock = SystemClock()
    transport.is_rolling(clock.now())
    state = transport._link.captureSessionState()
    micros, now = transport._link.clock().micros(), clock.now()
    of_session = state.beatAtTime(micros, 4.0)
    ours = transport.line.beat_at(now)
    assert (of_session - ours) % 4 == pytest.approx(0, abs=0.01) or (of_session - ours) % 4 == pytest.approx(
        4, abs=0.01
    )


def test_it_stops_and_rolls_with_the_session(transport):
    clock = SystemClock()
    assert transport.is_rolling(clock.now())
    epoch = transport.epoch
    for is_playing in (True, False, True):
        deadline = time.monotonic() + 5
        while transport._link.captureSessionState().isPlaying() != is_playing:  # a session may be joined just now
            assert time.monotonic() < deadline
            state = transport._link.captureSessionState()
            state.setIsPlaying(is_playing, transport._link.clock().micros())
            transport._link.commitSessionState(state)
            time.sleep(0.01)
        assert transport.is_rolling(clock.now()) == is_playing
    assert transport.epoch > epoch
