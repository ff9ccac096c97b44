import itertools
import time

import mido
import pytest

from musegen.errors import InputError, UnknownNameError
from musegen.live.clock import SimulatedClock, SystemClock
from musegen.live.following import ClockFollower
from musegen.live.jam import Answerer, Harmonizer, Phrase
from musegen.live.jamming import jam
from musegen.live.opening import Setup
from musegen.live.ports import MemoryPort
from musegen.live.scheduler import Scheduler
from musegen.live.session import Session
from musegen.live.transport import OwnTransport
from tests.unit.live.conftest import Studio, held
from tests.unit.live.test_stream import bar_of, onsets


class Echo:
    """Goes on from a phrase with numbered bars, and remembers the phrases."""

    def __init__(self, meter=(4, 4)):
        self.phrases, self._meter = [], meter

    def __call__(self, phrase):
        self.phrases.append([(n.start_ticks / 480, n.duration_ticks / 480, n.pitch) for n in phrase.tracks[0].notes])
        return (bar_of(nth, self._meter) for nth in itertools.count())


class Player:
    """Somebody who plays in simulated time."""

    def __init__(self, mode="answer", n_bars=2, meter=(4, 4), transport=None, clock=None):
        self.echo = Echo(meter)
        self.answerer = Answerer(self.echo, mode, n_bars, meter)
        clock = clock or SimulatedClock()
        self.studio = Studio.of(transport or OwnTransport(clock, leads=False), clock)
        self.studio.scheduler.on_roll = lambda beat: self.answerer.roll(self.studio.scheduler, beat)
        self.answerer.open(Session(self.studio.scheduler))

    def wait(self, beats):
        self.studio.run(beats / 2, self._look)

    def _look(self):
        self.answerer.look(self.studio.scheduler)
        answer = self.answerer._answering
        now = self.studio.transport.line.beat_at(self.studio.clock.now())
        while answer is not None and answer.thread.is_alive() and answer.queued_until < min(now + 6, answer.end_beat):
            time.sleep(0.001)  # simulated time stands still meanwhile

    def plays(self, pitch, beats=1.0, rests=0.0):
        for kind, wait in (("note_on", beats), ("note_off", rests)):
            self.answerer.receive(mido.Message(kind, note=pitch), self.studio.clock.now())
            self.wait(wait)


def test_a_phrase_of_two_bars_is_answered_on_the_bar_line_with_two_bars():
    player = Player()
    player.wait(3)  # time of its own begins with the first note
    for pitch in (60, 62, 64, 65, 67, 65, 64):
        player.plays(pitch)
    player.wait(14)
    assert player.echo.phrases == [[(at, 1.0, pitch) for at, pitch in enumerate((60, 62, 64, 65, 67, 65))]] or (
        # what is played while the answer is being written is in it as far as it had come
        player.echo.phrases[0][:6] == [(at, 1.0, pitch) for at, pitch in enumerate((60, 62, 64, 65, 67, 65))]
    )
    played = onsets(player.studio)
    assert [bar for _, bar in played] == [0] * 4 + [1] * 4
    assert [seconds for seconds, _ in played] == pytest.approx([1.5 + 4 + each / 2 for each in range(8)])
    assert player.answerer.n_answers == 1
    assert player.answerer.n_late == 0


def test_turns_are_taken_and_silence_is_not_answered():
    player = Player(n_bars=1)
    player.plays(60, 2, 14)  # answered in the second bar, then nothing
    player.plays(72, 2, 6)
    assert [seconds for seconds, _ in onsets(player.studio)] == pytest.approx(
        [2 + each / 2 for each in range(4)] + [10 + each / 2 for each in range(4)]
    )
    assert [phrase[0][2] for phrase in player.echo.phrases] == [60, 72]


def test_three_four_has_bars_of_three():
    player = Player(n_bars=1, meter=(3, 4))
    player.plays(60, 1, 8)
    assert onsets(player.studio)[0] == (1.5, 0)


def test_it_goes_on_where_the_player_is_silent_and_hushes_when_they_play():
    player = Player("continue")
    player.plays(60, 2)
    player.wait(12)
    played = onsets(player.studio)
    assert played[0][0] == pytest.approx(4.0)  # the player was silent from beat 2 to 6; the next bar line is 8
    assert len(played) >= 5
    player.plays(62, 1)
    assert held(player.studio.port.sent) == set()
    before = len(onsets(player.studio))
    player.plays(64, 2)
    assert len(onsets(player.studio)) == before
    player.wait(10)
    assert len(onsets(player.studio)) > before
    assert [phrase[0][2] for phrase in player.echo.phrases] == [60, 62]


def test_it_answers_in_the_bars_of_a_clock_that_is_followed():
    clock = SimulatedClock()
    follower = ClockFollower(clock)
    player = Player(n_bars=1, transport=follower, clock=clock)

    def roll(n_clocks):
        for _ in range(n_clocks):
            follower.receive(mido.Message("clock"), clock.now())
            player.wait(1 / 24)

    follower.receive(mido.Message("start"), clock.now())
    roll(24)
    player.answerer.receive(mido.Message("note_on", note=65), clock.now())
    roll(24)
    player.answerer.receive(mido.Message("note_off", note=65), clock.now())
    roll(24 * 6)
    assert player.echo.phrases[0][0] == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01), 65)
    assert onsets(player.studio)[0][0] == pytest.approx(2.0, abs=0.01)


def test_an_answer_that_comes_too_late_waits_for_the_next_bar_line():
    player = Player(n_bars=1)
    slow = player.echo

    def late(phrase):
        player.studio.clock.advance(1.0)  # as long as it takes to write the first bar
        return slow(phrase)

    player.answerer._continues = late
    player.plays(60, 1, 10)
    assert onsets(player.studio)[0][0] == pytest.approx(4.0)
    assert player.answerer.n_late == 1


def test_a_phrase_keeps_overlapping_and_held_notes():
    phrase = Phrase()
    for kind, note, beat in (("note_on", 60, 0.5), ("note_on", 64, 1), ("note_off", 60, 2), ("note_on", 67, 3)):
        phrase.take(mido.Message(kind, note=note), beat)
    score = phrase.score(0, 4, (4, 4), 120)
    assert score is not None
    assert [(n.start_ticks, n.duration_ticks, n.pitch) for n in score.tracks[0].notes] == [
        (240, 720, 60), (480, 1440, 64), (1440, 480, 67),
    ]  # fmt: skip
    assert phrase.score(8, 12, (4, 4), 120) is None


class Thirds:
    """Sets a third under the melody."""

    def __init__(self):
        self.heard = []

    def add(self, pitches):
        self.heard.append(sorted(pitches))
        return [max(pitches) - 4]


@pytest.fixture
def harmonizer():
    voices, port = Thirds(), MemoryPort()
    scheduler = Scheduler(port, OwnTransport(SystemClock()))
    partner = Harmonizer(voices)
    with Session(scheduler) as session:
        partner.open(session)
        partner.look(scheduler)

        def play(kind, *pitches, until):
            for pitch in pitches:
                partner.receive(mido.Message(kind, note=pitch, velocity=70), scheduler.clock.now())
            session.wait(lambda: len(port.sent) >= until)

        yield play, voices, port
        partner.close()


def sent(port):
    return [(message.type, message.note) for _, message in port.sent]


def test_voices_sound_as_long_as_the_note_that_they_belong_to(harmonizer):
    play, voices, port = harmonizer
    play("note_on", 72, until=1)
    play("note_off", 72, until=2)
    play("note_on", 74, until=3)
    play("note_on", 76, until=5)  # legato: both keys are down
    assert sent(port) == [("note_on", 68), ("note_off", 68), ("note_on", 70), ("note_off", 70), ("note_on", 72)]
    assert voices.heard == [[72], [74], [74, 76]]


def test_notes_that_are_struck_together_are_one_chord(harmonizer):
    play, voices, port = harmonizer
    play("note_on", 60, 64, 67, until=1)
    assert voices.heard == [[60, 64, 67]]
    assert sent(port) == [("note_on", 63)]


def test_harmonize_follows_nobody():
    with pytest.raises(InputError, match="follow is 'clock'; harmonize answers at once"):
        jam(Setup(follow="clock"), mode="harmonize")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "duel"}, "unknown mode 'duel'"),
        ({"bars": 0}, "bars is 0"),
        ({"meter": "four"}, "meter"),
        ({"mode": "harmonize", "composer": "bach"}, "composer means nothing to harmonize"),
        ({"composer": "nobody"}, "unknown composer"),
    ],
)
def test_a_jam_that_cannot_be_is_refused_before_a_port_is_opened(options, said):
    with pytest.raises((InputError, UnknownNameError), match=said):
        jam(**options)
