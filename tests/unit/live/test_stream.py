import itertools
import threading

import mido
import numpy as np
import pytest

from musegen.errors import InputError
from musegen.live.controls import Knobs
from musegen.live.following import ClockFollower
from musegen.live.opening import Setup
from musegen.live.session import Session
from musegen.live.stream import Stream
from musegen.live.streaming import stream
from musegen.midi.score import Score
from musegen.music.grid import GridScore
from musegen.music.vocabulary import METER_INDEX
from tests.unit.live.conftest import Studio, held

FAST = 320  # quarters a minute, where real time passes


def bar_of(nth: int, meter=(4, 4), rings: int = 0, bpm: int = 120) -> GridScore:
    """A bar with one quarter on each beat, whose pitch tells which bar it is."""
    from musegen.music.vocabulary import TEMPOS_BPM

    notes = [(24 * beat, 0, 36 + nth % 60, 24 + rings * (beat == meter[0] - 1), 5) for beat in range(meter[0])]
    return GridScore(np.array([METER_INDEX[meter]]), np.array([TEMPOS_BPM.index(bpm)]), np.array(notes))


class Bars:
    """A writer of bars that are known beforehand; it can be made to wait."""

    def __init__(self, n_bars=None, meter=(4, 4), fails_at=None, rings=0, bpm=120):
        self.wishes = {"composer": None}
        self.go = threading.Event()
        self.go.set()
        self._n_bars, self._meter, self._fails_at, self._rings, self._bpm = n_bars, meter, fails_at, rings, bpm

    def change(self, **wishes):
        if set(wishes) - {"composer"}:
            raise InputError(f"wish is {next(iter(wishes))!r}; allowed are composer")
        self.wishes |= wishes

    def __iter__(self):
        for nth in itertools.count() if self._n_bars is None else range(self._n_bars):
            self.go.wait(10)
            if nth == self._fails_at:
                raise RuntimeError("the model has burst")
            yield bar_of(nth, self._meter, self._rings, self._bpm)


def playing(n_bars=None, transport=None, clock=None, **bars):
    """Returns a stream in simulated time, and the bars that it is given by hand."""
    music = Stream(Bars(**bars), n_bars, bars_ahead=2)
    studio = Studio.of(transport, clock)
    studio.scheduler.on_roll = lambda beat: music.roll(studio.scheduler, beat)
    music._session = Session(studio.scheduler)
    return music, studio


def onsets(studio):
    return [(seconds, int(what.split()[2]) - 36) for seconds, what in studio.sent if what.startswith("on")]


def test_bars_follow_each_other_in_time():
    music, studio = playing()
    bars = iter(Bars())

    def look():
        while music.n_ready < 2:
            music.take(next(bars))
        music.look(studio.scheduler)

    studio.run(16.1, look)
    assert onsets(studio)[:33] == [(round(0.5 * each, 6), each // 4) for each in range(33)]
    assert music.n_underruns == 0


def test_a_tempo_that_is_wished_for_is_kept_exactly():
    music, studio = playing()
    music._writer.wishes["tempo"] = 150.0  # type: ignore[index]
    for nth in range(4):
        music.take(bar_of(nth, bpm=120))
    studio.run(4.1, lambda: music.look(studio.scheduler))
    assert onsets(studio)[:11] == [(round(0.4 * each, 6), each // 4) for each in range(11)]


def test_it_waits_until_bars_are_ready():
    music, studio = playing()
    music.take(bar_of(0))
    studio.run(1, lambda: music.look(studio.scheduler))
    assert not studio.sent
    music.take(bar_of(1))
    studio.run(1, lambda: music.look(studio.scheduler))
    assert onsets(studio)[0] == (1.0, 0)


def test_a_bar_that_is_not_there_in_time_has_the_newest_repeated_in_time_and_counted():
    music, studio = playing()
    music.take(bar_of(0))
    music.take(bar_of(1))
    studio.run(7.9, lambda: music.look(studio.scheduler))
    music.take(bar_of(2))
    studio.run(2, lambda: music.look(studio.scheduler))
    played = onsets(studio)
    assert [bar for _, bar in played[::4]] == [0, 1, 1, 1, 1]  # at 7.9 s the fifth bar had been queued already
    assert [seconds for seconds, _ in played[::4]] == [0, 2, 4, 6, 8]
    assert music.n_underruns == 3


def test_as_many_bars_as_asked_for_are_played_and_then_it_is_over():
    music, studio = playing(n_bars=3)
    bars = iter(Bars())

    def look():
        while music.n_ready < 2:
            music.take(next(bars))
        music.look(studio.scheduler)

    studio.run(20, look)
    assert [bar for _, bar in onsets(studio)[::4]] == [0, 1, 2]
    assert music.is_over(studio.scheduler)
    assert held(studio.port.sent) == set()


def test_in_another_meter_it_begins_on_that_meter_s_bar_line():
    from musegen.live.clock import SimulatedClock

    clock = SimulatedClock()
    follower = ClockFollower(clock)
    music, studio = playing(transport=follower, clock=clock, meter=(3, 4))
    bars = iter(Bars(meter=(3, 4)))

    def look():
        while music.n_ready < 2:
            music.take(next(bars))
        music.look(studio.scheduler)

    follower.receive(mido.Message("songpos", pos=4 * 7), clock.now())  # beat 7: bars begin at 6 and 9
    follower.receive(mido.Message("continue"), clock.now())
    for _ in range(24 * 5):
        follower.receive(mido.Message("clock"), clock.now())
        studio.run(60 / 24 / 120, look)
    seconds, bar = onsets(studio)[0]
    assert bar == 0
    assert seconds == pytest.approx(1.0, abs=0.01)  # two beats later


def test_a_stopped_transport_goes_on_with_the_bars_that_were_not_heard():
    music, studio = playing()
    bars = iter(Bars())

    def look():
        while music.n_ready < 3:
            music.take(next(bars))
        music.look(studio.scheduler)

    studio.run(3.0, look)  # in the middle of the second bar
    music.stop()
    studio.run(1.0, look)
    assert held(studio.port.sent) == set()
    before = len(onsets(studio))
    music.start()
    studio.run(4.0, look)
    after = onsets(studio)[before:]
    assert after[0][1] == 2  # the bar that was cut is not begun again
    assert after[4][1] == 3


def test_a_stop_in_the_last_bar_ends_it_when_it_goes_on():
    music, studio = playing(n_bars=1)
    music.take(bar_of(0))
    studio.run(1.0, lambda: music.look(studio.scheduler))
    music.stop()
    studio.run(1.0, lambda: music.look(studio.scheduler))
    assert not music.is_over(studio.scheduler)
    music.start()
    studio.run(1.0, lambda: music.look(studio.scheduler))
    assert music.is_over(studio.scheduler)


def test_a_bar_that_was_queued_and_not_heard_is_played_after_a_stop():
    music, studio = playing(n_bars=2)
    music.take(bar_of(0))
    music.take(bar_of(1))
    studio.run(1.8, lambda: music.look(studio.scheduler))  # the second bar is queued half a beat ahead
    music.stop()
    studio.run(1.0, lambda: music.look(studio.scheduler))
    music.start()
    studio.run(4.0, lambda: music.look(studio.scheduler))
    assert [bar for _, bar in onsets(studio)] == [0] * 4 + [1] * 4
    assert music.is_over(studio.scheduler)


def test_remote_control_changes_all_or_nothing():
    music, _ = playing()
    music.change(composer="bach", bars=5)
    assert music.status()["wishes"] == {"composer": "bach"}
    for wrong in ({"composer": "liszt", "mood": 1}, {"bars": 0, "composer": "liszt"}, {"bars": "many"}):
        with pytest.raises(InputError):
            music.change(**wrong)
    assert music.status()["wishes"] == {"composer": "bach"}
    assert music.status()["bars"] == 5


def test_start_and_stop_belong_to_whoever_leads():
    from musegen.live.clock import SimulatedClock

    clock = SimulatedClock()
    music, _ = playing(transport=ClockFollower(clock), clock=clock)
    with pytest.raises(InputError, match="transport that is followed"):
        music.stop()


@pytest.mark.parametrize("options", [{"bars": 0}, {"bars_ahead": 0}, {"bars_ahead": 65}])
def test_impossible_lengths_are_refused(options, tmp_path):
    with pytest.raises(InputError, match="bars"):
        stream(Setup(port=str(tmp_path / "x.mid")), writer=Bars(), **options)


def test_written_by_a_thread_it_arrives_whole(tmp_path):
    report = stream(Setup(port=str(tmp_path / "x.mid")), bars=2, bars_ahead=2, writer=Bars(bpm=FAST))
    assert report.n_notes == 8
    notes = Score.read(tmp_path / "x.mid").tracks[0].notes
    assert list(notes.pitch) == [36] * 4 + [37] * 4
    assert np.abs(np.diff(notes.start_ticks) - 480 * 120 / FAST).max() < 60


def test_more_bars_may_be_wished_for_after_the_last_was_written(tmp_path):
    asked = []

    def look(music):
        if music.n_played == 2 and not asked:
            asked.append(music.change(bars=4))

    report = stream(Setup(port=str(tmp_path / "x.mid")), bars=2, bars_ahead=3, writer=Bars(bpm=FAST), on_look=look)
    assert report.n_notes == 16
    assert len(set(Score.read(tmp_path / "x.mid").tracks[0].notes.pitch.tolist())) == 4


def test_a_writer_that_fails_ends_it_with_its_error_and_no_note_held(tmp_path):
    with pytest.raises(RuntimeError, match="the model has burst"):
        stream(Setup(port=str(tmp_path / "x.mid")), bars_ahead=1, writer=Bars(fails_at=2, rings=24, bpm=FAST))
    messages = [message for track in Score.read(tmp_path / "x.mid").to_mido().tracks for message in track]
    assert held((0, message) for message in messages if not message.is_meta) == set()


def test_what_changes_while_it_plays_does_not_grow():
    music, studio = playing()
    bars = iter(Bars())

    def look():
        while music.n_ready < 2:
            music.take(next(bars))
        music.look(studio.scheduler)

    studio.run(400, look)
    assert music.n_played > 190
    assert len(music._queued) <= 3
    assert studio.scheduler.n_queued < 20


@pytest.mark.parametrize(
    ("control", "value", "wish"),
    [
        (16, 0, ("temperature", 0.5)),
        (16, 127, ("temperature", 1.5)),
        (17, 64, ("density", "medium")),
        (18, 127, ("composer", "vivaldi")),
        (18, 0, ("composer", "bach")),
    ],
)
def test_knobs_change_wishes(control, value, wish):
    changed = []
    music, _ = playing()
    music._writer.change = lambda **wishes: changed.append(wishes)
    knobs = Knobs(music, ["bach", "chopin", "vivaldi"])
    knobs.receive(mido.Message("control_change", control=control, value=value), 0.0)
    knobs.receive(mido.Message("control_change", control=1, value=value), 0.0)
    knobs.receive(mido.Message("note_on", note=control), 0.0)
    assert changed == [dict([wish])]
