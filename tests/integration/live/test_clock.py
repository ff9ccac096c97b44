"""MIDI clock: that of `jack_midi_clock` is followed, and `jack_mclk_dump` reads ours."""

import re
import signal
import time

import numpy as np
import pytest

from tests.integration.live.studio import SAMPLE_RATE, Receiver, Studio, held, is_onset, wait_until

pytestmark = pytest.mark.slow

_BPM = 140
# A tempo that two seconds of onsets tell, each a JACK period early or late at most.
_TOLERANCE = 0.01


def melody(receiver: Receiver) -> list[tuple[float, int]]:
    """(second, pitch) of the notes of the part with two a quarter."""
    return [(at, each.note) for at, each in receiver.arrivals if is_onset(each) and each.channel == 0]


def tempo_of(seconds: list[float], a_quarter: int) -> float:
    """Quarters a minute of evenly spaced events, by regression: single ones are a JACK period off."""
    slope = np.polyfit(np.arange(len(seconds)), seconds, 1)[0]
    return 60 / a_quarter / slope


def test_a_clock_starts_the_music_gives_its_tempo_moves_and_stops_it(studio: Studio, dense_mid, need):
    need("jack_midi_clock")
    receiver = studio.receiver()
    player = studio.musegen("play", dense_mid(60, 90), "--follow", "clock", "--virtual", "follower")
    wait_until("both ports are there", lambda: {"follower:follower", "follower-01:follower"} <= set(studio.ports()))
    studio.connect("follower-01:follower", receiver.port)
    studio.transport("stop", "locate 0")
    studio.start("jack_midi_clock", "-d", "1", "-b", _BPM)
    studio.connect("jack_midi_clock:mclk_out", "follower:follower")
    time.sleep(0.5)
    assert not receiver.messages, "it must wait for the clock"

    studio.transport("play")
    wait_until("it plays 24 notes", lambda: len(melody(receiver)) >= 24)
    begun = melody(receiver)
    assert [pitch for _, pitch in begun[:12]] == [72 + nth * 7 % 12 for nth in range(12)], "it begins at the beginning"
    assert tempo_of([at for at, _ in begun[4:]], 2) == pytest.approx(_BPM, rel=_TOLERANCE)

    studio.transport("stop")
    wait_until("it is silent", lambda: not held(receiver.messages))
    time.sleep(0.5)
    n_stopped = len(receiver.arrivals)
    time.sleep(0.5)
    assert len(receiver.arrivals) == n_stopped, "it goes on though the clock has stopped"

    studio.transport("locate 0", "play")
    wait_until("it plays again", lambda: len(melody(receiver)) > len(begun) + 6)
    again = [pitch for _, pitch in melody(receiver)]
    assert again.count(72) >= 2
    player.send_signal(signal.SIGINT)
    _, complaints = player.communicate(timeout=10)
    assert player.returncode == 0, complaints
    wait_until("it is silent", lambda: not held(receiver.messages))


def test_our_clock_is_read_right(studio: Studio, dense_mid, need):
    need("jack_mclk_dump")
    heard = studio.folder / "clock.txt"
    with heard.open("w") as out:
        studio.start("stdbuf", "-oL", "jack_mclk_dump", "-n", stdout=out)
    wait_until("it listens", lambda: "jack_mclk_dump:mclk_in" in studio.ports())
    player = studio.musegen("play", dense_mid(12, 126), "--port", "jack_mclk_dump:mclk_in", "--send-clock")
    _, complaints = player.communicate(timeout=60)
    assert player.returncode == 0, complaints
    wait_until("it reads that we stop", lambda: "(0xfc) stop" in heard.read_text())

    lines = heard.read_text().splitlines()
    events = [line.split("@")[0].split()[1:] for line in lines if line.startswith("EVENT")]
    assert events == [["(0xfa)", "start"], ["(0xfc)", "stop"]]
    clocks = [int(line.split("@")[1]) / SAMPLE_RATE for line in lines if line.startswith("CLK")]
    assert abs(len(clocks) - 12 * 2 * 24) <= 24, "24 a quarter, to the end of the last note"
    assert tempo_of(clocks, 24) == pytest.approx(126, rel=_TOLERANCE)
    said = [float(bpm) for bpm in re.findall(r"flt: +([\d.]+)\[BPM\]", heard.read_text())]
    assert np.median(said) == pytest.approx(126, rel=2 * _TOLERANCE), "its filter swings by a percent and more"
