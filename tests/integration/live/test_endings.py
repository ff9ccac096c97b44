"""Whatever ends the music, no note is left sounding, and nothing hangs."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import mido
import pytest

from tests.integration.live.studio import Receiver, Studio, held, wait_until

pytestmark = pytest.mark.slow

_N_MOMENTS = 5
_ALL_NOTES_OFF, _ALL_SOUND_OFF, _PEDAL = 123, 120, 64

_RAISING = """
import sys
from musegen.live.opening import Setup
from musegen.live.streaming import stream
from musegen.music.grid import GridScore
from musegen.music.vocabulary import METER_INDEX, TEMPOS_BPM

class Failing:
    wishes = {}

    def change(self, **wishes):
        pass

    def __iter__(self):
        notes = [(6 * step, part, 40 + 12 * part + step % 12, 96, 5) for part in range(3) for step in range(16)]
        for _ in range(8):
            yield GridScore([METER_INDEX[4, 4]], [TEMPOS_BPM.index(120)], notes)
        sys.stdin.readline()
        raise ZeroDivisionError("as asked")

try:
    stream(Setup(port=sys.argv[1]), writer=Failing(), bars_ahead=8)
except ZeroDivisionError as error:
    sys.exit(f"raised {error}")
"""


def ends_of(messages: Sequence[mido.Message]) -> set[tuple[int, int]]:
    """(channel, controller) of the controllers that end all notes."""
    controls = [message for message in messages if message.type == "control_change"]
    return {(each.channel, each.control) for each in controls if each.control in (_ALL_NOTES_OFF, _ALL_SOUND_OFF)}


def assert_silent(receiver: Receiver, n_before: int) -> None:
    """Nothing sounds by the messages since `n_before`, and what ends all notes was the last word on each channel."""

    def heard() -> list[mido.Message]:
        return receiver.messages[n_before:]

    channels = {message.channel for message in heard()}
    assert len(channels) >= 3
    wanted = {(channel, end) for channel in channels for end in (_ALL_NOTES_OFF, _ALL_SOUND_OFF)}
    wait_until("all notes off", lambda: ends_of(heard()) == wanted)
    assert held(heard()) == set()
    pedals = {message.channel: message.value for message in heard() if message.is_cc(_PEDAL)}
    assert not any(pedals.values()), f"pedals are down: {pedals}"
    assert heard()[-1].is_cc(_ALL_SOUND_OFF), "something came after the end"


@pytest.mark.parametrize(
    ("how", "is_endless", "exit_code"),
    [(signal.SIGINT, False, 130), (signal.SIGINT, True, 0), (signal.SIGTERM, False, 143)],
)
def test_a_signal_at_any_moment_leaves_no_note(studio: Studio, dense_mid, how, is_endless, exit_code):
    path, receiver, moments = dense_mid(40, 240), studio.receiver(), random.Random(f"{how} {is_endless}")
    n_sounding = 0
    for _ in range(_N_MOMENTS):
        n_before, n_onsets = len(receiver.arrivals), receiver.n_onsets()
        player = studio.musegen("play", path, "--port", receiver.port, *["--loop"] * is_endless)
        wait_until("it plays", lambda n=n_onsets: receiver.n_onsets() > n + 3)
        time.sleep(moments.uniform(0, 0.6))
        n_sounding += bool(held(receiver.messages[n_before:]))
        player.send_signal(how)
        said, complaints = player.communicate(timeout=10)
        assert player.returncode == exit_code, (said, complaints)
        assert "Traceback" not in complaints
        assert_silent(receiver, n_before)
    assert n_sounding > _N_MOMENTS / 2, "something sounds nearly always in this music"


def test_a_writer_that_raises_at_any_moment_leaves_no_note(studio: Studio):
    receiver, moments = studio.receiver(), random.Random(3)
    for _ in range(_N_MOMENTS):
        n_before, n_onsets = len(receiver.arrivals), receiver.n_onsets()
        player = studio.start(sys.executable, "-c", _RAISING, receiver.port, stdin=subprocess.PIPE)
        wait_until("it plays", lambda n=n_onsets: receiver.n_onsets() > n + 3)
        time.sleep(moments.uniform(0, 0.6))
        _, complaints = player.communicate("raise\n", timeout=10)
        assert (player.returncode, complaints) == (1, "raised as asked\n")
        assert_silent(receiver, n_before)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("command", ["play", "stream"])
def test_a_server_that_dies_ends_the_music_with_a_clear_word(studio: Studio, dense_mid, command, how):
    receiver = studio.receiver()
    what = {"play": ["play", dense_mid(40, 240), "--loop"], "stream": ["stream", "--endless", "--seed", 1]}[command]
    player = studio.musegen(*what, "--port", receiver.port)
    wait_until("it plays", lambda: receiver.n_onsets() > 3 or player.poll() is not None, seconds=60)
    assert player.poll() is None, player.communicate()
    assert studio.server is not None
    studio.server.send_signal(how)
    said, complaints = player.communicate(timeout=20)  # longer is a hang
    assert (player.returncode, said) == (2, ""), complaints
    assert len(complaints.splitlines()) == 1 and "JACK server" in complaints
