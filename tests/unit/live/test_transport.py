import numpy as np
import pytest

from musegen.errors import InputError
from musegen.live.clock import SimulatedClock
from musegen.live.transport import OwnTransport


def test_beats_pass_at_the_tempo_and_changes_of_it_are_exact():
    clock = SimulatedClock(5.0)
    transport = OwnTransport(clock, bpm=120)
    assert not transport.is_rolling(clock.now())
    transport.start(beat=2)
    clock.advance(1.0)
    assert transport.line.beat_at(clock.now()) == pytest.approx(4.0)
    transport.tempo_change(beat=8, bpm=60)  # told of before it comes
    assert transport.line.seconds_at(8) == pytest.approx(5.0 + 3.0)
    assert transport.line.seconds_at(9) == pytest.approx(5.0 + 4.0)


def test_a_tempo_of_its_own_is_not_changed_by_the_music():
    transport = OwnTransport(SimulatedClock(), bpm=90, leads=False)
    transport.tempo_change(beat=0, bpm=200)
    assert transport.line.seconds_per_beat == pytest.approx(60 / 90)


def test_it_stops_where_it_is_and_tells_who_listens():
    clock, heard = SimulatedClock(), []
    transport = OwnTransport(clock, bpm=60)
    transport.listen(lambda: heard.append(transport.is_rolling(clock.now())))
    transport.start()
    clock.advance(2.5)
    transport.stop()
    clock.advance(10)
    assert transport.line.beat == pytest.approx(2.5)
    assert heard == [True, False]


@pytest.mark.parametrize("bpm", [0, -1, 9.9, 641, np.nan, np.inf])
def test_a_tempo_out_of_range_is_refused(bpm):
    with pytest.raises(InputError, match=r"tempo is .*; allowed are 10 to 640"):
        OwnTransport(SimulatedClock(), bpm=bpm)


def test_a_tempo_that_is_set_while_it_is_stopped_moves_nothing():
    clock = SimulatedClock()
    transport = OwnTransport(clock)
    transport.start()
    clock.advance(1.0)
    transport.stop()
    clock.advance(10.0)
    transport.set_bpm(60)
    assert transport.line.beat == 2.0
    transport.start(transport.line.beat)
    clock.advance(1.0)
    assert transport.line.beat_at(clock.now()) == pytest.approx(3.0)
