import mido
import numpy as np
import pytest

from musegen.live.clock import SimulatedClock
from musegen.live.following import ClockFollower


class Host:
    """Sends MIDI clock as a DAW does, late by a jitter or in periods of a server."""

    def __init__(self, jitter_seconds=0.0, period_seconds=0.0, seed=0):
        self.clock = SimulatedClock()
        self.follower = ClockFollower(self.clock)
        self._jitter, self._period, self._rng = jitter_seconds, period_seconds, np.random.default_rng(seed)
        self.tempo_errors, self.beat_errors, self.n_clocks = [], [], 0

    def send(self, kind, **fields):
        self.follower.receive(mido.Message(kind, **fields), self.clock.now())

    def roll(self, n_clocks, bpm):
        """Sends clocks; `bpm` is a tempo, or tells one for each second."""
        for _ in range(n_clocks):
            now = self.clock.now()
            at = now + self._rng.normal(0, self._jitter)
            if self._period:
                at = np.ceil(now / self._period) * self._period
            self.follower.receive(mido.Message("clock"), at)
            tempo = bpm(now) if callable(bpm) else bpm
            self.tempo_errors.append(abs(self.follower.bpm / tempo - 1))
            self.beat_errors.append(abs(self.follower.line.seconds_at(self.n_clocks / 24) - now))
            self.n_clocks += 1
            self.clock.advance(60 / 24 / tempo)

    def beat(self):
        return self.follower.line.beat_at(self.clock.now())


@pytest.mark.parametrize("bpm", [40, 120, 301.5])
def test_a_clock_with_jitter_is_followed_closely(bpm):
    host = Host(jitter_seconds=0.001)
    host.send("start")
    host.roll(1000, bpm)
    assert np.percentile(host.tempo_errors[100:], 99) < 0.002
    assert np.percentile(host.beat_errors[100:], 99) < 0.001


def test_a_ramp_is_followed_without_lag():
    host = Host(jitter_seconds=0.001)
    host.send("start")
    host.roll(2400, lambda second: 90 + 50 * min(second / 60, 1))
    assert np.median(host.tempo_errors[100:]) < 0.001
    assert np.percentile(host.tempo_errors[100:], 95) < 0.004


def test_a_new_tempo_is_taken_over_within_half_a_beat():
    host = Host(jitter_seconds=0.001)
    host.send("start")
    host.roll(400, 120)
    host.roll(24, 140)
    assert max(host.tempo_errors[-8:]) < 0.02
    assert max(host.beat_errors[-8:]) < 0.003


def test_clocks_that_come_in_periods_of_a_server_are_smoothed():
    host = Host(period_seconds=256 / 48000)
    host.send("start")
    host.roll(400, 140)
    assert max(host.tempo_errors[200:]) < 0.002


def test_start_begins_with_the_next_clock_at_beat_0():
    host = Host()
    host.roll(48, 120)  # a host's clock runs while it stands
    assert not host.follower.is_rolling(host.clock.now())
    host.send("start")
    assert not host.follower.is_rolling(host.clock.now())
    host.n_clocks = 0
    host.roll(25, 120)
    assert host.follower.is_rolling(host.clock.now())
    assert host.beat() == pytest.approx(25 / 24, abs=1e-6)


def test_stop_song_position_and_continue():
    host = Host()
    host.send("start")
    host.roll(48, 120)
    epoch = host.follower.epoch
    host.send("stop")
    assert not host.follower.is_rolling(host.clock.now())
    host.roll(10, 120)
    assert host.follower.line.beat == pytest.approx(2.0)
    host.send("songpos", pos=32)  # sixteenths: beat 8
    host.send("continue")
    host.roll(1, 120)
    assert host.follower.is_rolling(host.clock.now())
    assert host.follower.line.beat == pytest.approx(8.0)
    assert host.follower.epoch == epoch + 1


def test_a_clock_that_is_gone_stops_and_goes_on_where_it_had_counted_to():
    host = Host()
    host.send("start")
    host.roll(96, 120)
    epoch = host.follower.epoch
    host.clock.advance(0.4)
    assert host.follower.is_rolling(host.clock.now())
    host.clock.advance(2)
    assert host.follower.is_lost(host.clock.now())
    assert not host.follower.is_rolling(host.clock.now())
    host.roll(1, 100)
    assert host.follower.is_rolling(host.clock.now())
    assert host.follower.line.beat == pytest.approx(4.0)
    assert host.follower.epoch == epoch + 1
    host.roll(60, 100)
    assert host.follower.bpm == pytest.approx(100, rel=1e-3)


def test_other_messages_and_bursts_change_nothing_or_stay_in_range():
    host = Host()
    host.send("note_on", note=60)
    assert host.follower.epoch == 0
    host.send("start")
    for _ in range(300):  # all at once, as after a hiccup
        host.send("clock")
    assert 10 <= host.follower.bpm <= 640.001
