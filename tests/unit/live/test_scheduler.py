import threading

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import PortError
from musegen.live.clock import SimulatedClock, SystemClock
from musegen.live.events import Event
from musegen.live.following import ClockFollower
from musegen.live.ports import MemoryPort
from musegen.live.scheduler import Scheduler
from musegen.live.session import Session
from musegen.live.transport import OwnTransport
from tests.unit.live.conftest import Studio, held


def note(beat, pitch=60, length=1.0, channel=0):
    return [
        Event(beat, mido.Message("note_on", note=pitch, channel=channel)),
        Event(beat + length, mido.Message("note_off", note=pitch, channel=channel)),
    ]


def test_messages_are_sent_at_their_beats_whatever_order_they_came_in(studio):
    studio.scheduler.add(note(2, 64) + note(0, 60))
    studio.transport.start()
    studio.run(3)
    assert studio.sent == [(0.0, "on 0 60"), (0.5, "off 0 60"), (1.0, "on 0 64"), (1.5, "off 0 64")]


def test_messages_of_one_beat_keep_their_order(studio):
    studio.scheduler.add(Event(1, mido.Message("program_change", program=each)) for each in (3, 1, 2))
    studio.transport.start()
    studio.run(1)
    assert [what for _, what in studio.sent] == ["program 0 3", "program 0 1", "program 0 2"]


def test_a_tempo_change_of_the_music_holds_from_its_beat(studio):
    studio.scheduler.add([*note(0), Event(1, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(60))), *note(3)])
    studio.transport.start()
    studio.run(5)
    assert studio.sent[2] == (2.5, "on 0 60")  # one beat at 120, two at 60


def test_latency_sends_earlier():
    studio = Studio.of(latency_seconds=0.2)
    studio.scheduler.add(note(1))
    studio.transport.start()
    studio.run(2)
    assert studio.sent[0] == (0.3, "on 0 60")


def test_a_stop_ends_what_sounds_and_a_start_goes_on(studio):
    stopped = []
    studio.scheduler._on_stop = lambda: stopped.append(studio.clock.now())
    studio.scheduler.add([*note(0, 60, 4, channel=3), *note(2, 62)])
    studio.transport.start()
    studio.run(0.6)
    studio.transport.stop()
    studio.run(1)
    assert [what for _, what in studio.sent] == ["on 3 60", "off 3 60", "cc 3 123 0", "cc 3 120 0"]
    assert len(stopped) == 1
    studio.transport.start(beat=1.2)
    studio.run(3)
    # The note-off that was due later is not sent again: nothing sounds that it could end.
    assert [what for _, what in studio.sent[4:]] == ["on 0 62", "off 0 62"]


def test_a_pedal_is_lifted_as_well(studio):
    studio.scheduler.add([Event(0, mido.Message("control_change", control=64, value=127))])
    studio.transport.start()
    studio.run(0.1)
    studio.scheduler.close()
    assert [what for _, what in studio.sent] == ["cc 0 64 127", "cc 0 64 0", "cc 0 123 0", "cc 0 120 0"]


def test_notes_that_are_much_too_late_are_dropped_with_their_ends_and_counted(studio):
    studio.transport.start()
    studio.run(4)
    studio.scheduler.add(note(1, 60) + note(8, 62))
    studio.run(3)
    assert [what for _, what in studio.sent] == ["on 0 62", "off 0 62"]
    assert studio.scheduler.n_dropped == 1


def test_its_own_clock_leads_others():
    studio = Studio.of(sends_clock=True)
    studio.transport.start()
    studio.run(1.0)
    studio.transport.stop()
    studio.run(0.1)
    studio.transport.start(beat=2.0)
    studio.run(0.1)
    kinds = [what for _, what in studio.sent]
    assert kinds[0] == "start"
    assert kinds[1:50] == ["clock"] * 49  # two beats, and the one on their end
    assert kinds[50:53] == ["stop", "songpos", "continue"]
    assert studio.port.sent[51][1].pos == 8
    times = [seconds for seconds, what in studio.sent[1:50] if what == "clock"]
    assert times == pytest.approx([each / 48 for each in range(49)], abs=1e-6)


@pytest.mark.parametrize("beat", [0.01, 1.2, 1.25, 2.0])
def test_who_follows_its_clock_from_anywhere_is_where_it_is(beat):
    studio = Studio.of(sends_clock=True)
    studio.transport.start(beat=beat)
    studio.run(2.0)
    follower = ClockFollower(SimulatedClock())
    for seconds, message in studio.port.sent:
        follower.receive(message, seconds)
    now = studio.clock.now()
    assert follower.line.beat_at(now) == pytest.approx(studio.transport.line.beat_at(now), abs=0.01)


def test_with_much_latency_nothing_is_dropped_or_hurried():
    clock = SimulatedClock()
    studio = Studio.of(OwnTransport(clock, lead_in_seconds=0.6), clock, latency_seconds=0.6)
    studio.scheduler.add(note(0, 60) + note(1, 62))
    studio.transport.start()
    studio.run(2.0)
    ons = [(seconds, what) for seconds, what in studio.sent if what.startswith("on")]
    assert ons == [(0.0, "on 0 60"), (0.5, "on 0 62")] and not studio.scheduler.n_dropped
    studio.scheduler.add(note(studio.transport.line.beat_at(clock.now()), 64))  # as soon as can be
    studio.run(0.2)
    assert "on 0 64" in [what for _, what in studio.sent]


def test_a_tempo_that_cannot_be_played_is_the_nearest_that_can(studio):
    studio.scheduler.add([Event(1, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(900))), *note(2, 60)])
    studio.transport.start()
    studio.run(2.0)
    assert [what for _, what in studio.sent] == ["on 0 60", "off 0 60"]
    assert 60 / studio.transport.line.seconds_per_beat == pytest.approx(640)


def test_notes_for_a_port_that_is_gone_have_not_begun(studio):
    studio.port.is_open = False
    studio.scheduler.add(note(0, 60))
    studio.transport.start()
    studio.run(1.0)
    assert studio.scheduler.n_notes == 0 and studio.scheduler.n_dropped


def test_it_follows_a_clock_through_a_change_of_tempo():
    clock = SimulatedClock()
    follower = ClockFollower(clock)
    studio = Studio.of(follower, clock)
    studio.scheduler.add(event for beat in range(16) for event in note(beat, 60 + beat, 0.5))
    follower.receive(mido.Message("start"), clock.now())
    beats = {}
    for nth in range(24 * 16):
        beats[nth / 24] = clock.now()
        follower.receive(mido.Message("clock"), clock.now())
        studio.run(60 / 24 / (120 if nth < 180 else 90))
    came = {message.note - 60: seconds for seconds, message in studio.port.sent if message.type == "note_on"}
    assert set(came) == set(range(16))
    assert all(abs(came[beat] - beats[beat]) < 0.03 for beat in range(16))


class VanishingPort(MemoryPort):
    """A port whose other side goes and comes back."""

    is_open = True


def test_a_port_that_comes_back_is_told_its_programs_again():
    clock = SimulatedClock()
    port, transport = VanishingPort(clock), OwnTransport(clock)
    studio = Studio(clock, port, transport, Scheduler(port, transport, clock))
    studio.scheduler.add(
        [Event(0, mido.Message("program_change", program=19)), *note(0, 60, 8), *note(4), *note(8, 64)]
    )
    transport.start()
    studio.run(1)
    port.is_open = False
    studio.run(2)
    port.is_open = True
    studio.run(3)
    assert [what for _, what in studio.sent] == ["program 0 19", "on 0 60", "program 0 19", "on 0 64", "off 0 64"]
    assert studio.scheduler.n_dropped == 1  # the note that came meanwhile


class HangingPort(MemoryPort):
    """A port of a server that has died: it takes a message and never returns."""

    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    def send(self, message):
        self.released.wait(30)


def test_a_port_that_hangs_ends_the_session_with_an_error_and_no_hang():
    port, transport = HangingPort(), OwnTransport(SystemClock())
    scheduler = Scheduler(port, transport)
    scheduler.add(note(0))
    with pytest.raises(PortError, match="memory takes no more messages"), Session(scheduler) as session:
        transport.start()
        session.wait(lambda: False)
    port.released.set()


class BrokenPort(MemoryPort):
    """A port whose server has ended."""

    def send(self, message):
        raise PortError("the server has ended")


def test_a_port_that_breaks_ends_the_session_with_its_error():
    transport = OwnTransport(SystemClock())
    scheduler = Scheduler(BrokenPort(), transport)
    scheduler.add(note(0))
    with pytest.raises(PortError, match="the server has ended"), Session(scheduler) as session:
        transport.start()
        session.wait(lambda: False)


@settings(max_examples=60, deadline=None)
@given(
    notes=st.lists(
        st.tuples(st.floats(0, 8), st.integers(0, 127), st.floats(0.01, 9), st.integers(0, 15)), min_size=1, max_size=30
    ),
    stop=st.floats(0.0, 6.0),
    fails=st.booleans(),
)
def test_nothing_is_left_sounding_wherever_it_ends(notes, stop, fails):
    studio = Studio.of()
    studio.scheduler.add(event for each in notes for event in note(each[0], each[1], each[2], each[3]))
    studio.transport.start()
    studio.run(stop)
    if not fails:
        studio.transport.stop()
        studio.scheduler.turn()
    studio.scheduler.close()
    assert held(studio.port.sent) == set()
    n_on = sum(message.type == "note_on" for _, message in studio.port.sent)
    assert n_on == sum(message.type == "note_off" for _, message in studio.port.sent)


def test_in_a_thread_every_message_says_when_it_was_due_and_when_it_went():
    sent, transport, port = [], OwnTransport(SystemClock(), bpm=600), MemoryPort()
    scheduler = Scheduler(port, transport, on_sent=sent.append)
    scheduler.add(event for beat in range(10) for event in note(beat * 0.1, 60 + beat, 0.05))
    with Session(scheduler) as session:
        transport.start()
        session.wait(lambda: scheduler.n_sent >= 20)
    assert all(each.actual >= each.intended for each in sent[:20])
    assert [each.message for each in sent] == [message for _, message in port.sent]
    assert scheduler.lateness_ms(100)[0] == pytest.approx(max(each.actual - each.intended for each in sent) * 1000)
