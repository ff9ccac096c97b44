import mido
import pytest

from musegen.errors import InputError, PortError, ScoreFileError
from musegen.live import rtmidi_ports
from musegen.live.clock import SimulatedClock
from musegen.live.opening import Setup
from musegen.live.playing import play, record
from musegen.live.ports import FilePort, MemoryPort
from musegen.midi.score import Notes, Score, Track

SCORE = Score(480, (Track("flute", 73, False, Notes([0, 240], [240, 240], [72, 74], [80, 90])),))


def test_a_memory_port_keeps_what_is_sent_and_gives_what_is_fed():
    heard = []
    port = MemoryPort(SimulatedClock(3.0), lambda message, seconds: heard.append((message.note, seconds)))
    port.send(mido.Message("note_on", note=60))
    port.feed(mido.Message("note_on", note=61))
    assert [(seconds, message.note) for seconds, message in port.sent] == [(3.0, 60)]
    assert heard == [(61, 3.0)]
    port.close()
    port.feed(mido.Message("note_on", note=62))
    assert len(heard) == 1
    with pytest.raises(PortError, match="memory is closed"):
        port.send(mido.Message("note_on"))


def test_a_file_port_writes_what_was_played_from_the_first_message_on(tmp_path):
    clock = SimulatedClock(10.0)
    port = FilePort(tmp_path / "take.mid", clock)
    for pitch in (60, 64):
        port.send(mido.Message("note_on", note=pitch))
        clock.advance(0.5)
        port.send(mido.Message("note_off", note=pitch))
        port.send(mido.Message("clock"))
    assert not port.path.exists()
    port.close()
    (track,) = Score.read(port.path).tracks
    assert [(note.start_ticks, note.duration_ticks, note.pitch) for note in track.notes] == [
        (0, 480, 60),
        (480, 480, 64),
    ]


def test_a_score_played_to_a_file_is_the_score(tmp_path):
    report = play(SCORE, Setup(port=str(tmp_path / "out.mid")), tempo=240)
    assert (report.n_notes, report.n_dropped) == (2, 0)
    (track,) = Score.read(tmp_path / "out.mid").tracks
    assert (track.program, [note.pitch for note in track.notes]) == (73, [72, 74])


def test_a_file_in_no_folder_is_an_error(tmp_path):
    with pytest.raises(ScoreFileError):
        play(SCORE, Setup(port=str(tmp_path / "none" / "out.mid")), tempo=240)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"follow": "bus"}, "unknown follow 'bus'"),
        ({"latency_ms": -1}, "latency_ms is -1; allowed are 0 to 1000"),
        ({"latency_ms": float("nan")}, "latency_ms is nan"),
        ({"virtual": ""}, "virtual is empty"),
    ],
)
def test_a_setup_that_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Setup(**options)


def test_where_no_midi_system_works_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(rtmidi_ports, "_SEQUENCER", tmp_path / "none")
    monkeypatch.setattr(rtmidi_ports.JackServer, "runs", staticmethod(lambda: False))
    pytest.importorskip("rtmidi")
    if set(rtmidi_ports.known_apis()) <= {"alsa", "jack"}:
        with pytest.raises(PortError, match=r"modprobe snd-seq.* or start a JACK server"):
            rtmidi_ports.list_ports()
    with pytest.raises(InputError, match="api is 'bus'; allowed here are"):
        rtmidi_ports.list_ports("bus")


@pytest.mark.parametrize(("seconds", "said"), [(0, "seconds is 0"), (float("nan"), "seconds is nan")])
def test_a_recording_is_checked_before_a_port_is_opened(tmp_path, seconds, said):
    with pytest.raises(InputError, match=said):
        record(tmp_path / "take.mid", seconds=seconds)
    with pytest.raises(InputError, match="must end in one of"):
        record(tmp_path / "take.wav")
