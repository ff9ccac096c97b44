"""FluidSynth, a synthesizer on the same server: it sounds while notes play, and is silent after."""

import wave
from pathlib import Path

import numpy as np
import pytest

from tests.integration.live.studio import Studio, wait_until

pytestmark = pytest.mark.slow

_FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


def loudness(studio: Studio, seconds: int) -> float:
    """Root mean square, of 1, of what the synthesizer plays for so long."""
    path = studio.folder / "heard.wav"
    recorder = studio.start("jack_rec", "-f", path, "-d", seconds, "-b", 16, "fs:left", "fs:right")
    said, complaints = recorder.communicate(timeout=seconds + 5)
    assert recorder.returncode == 0, said + complaints
    with wave.open(str(path)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 2**15
    assert len(samples) > seconds * 48_000
    return float(np.sqrt(np.mean(samples**2)))


def test_a_synthesizer_sounds_while_notes_play_and_is_silent_after(studio: Studio, dense_mid, need):
    need("fluidsynth", "jack_rec")
    if not _FONT.exists():
        need(str(_FONT))
    names = ("midi.autoconnect=0", "audio.jack.id=fs", "midi.jack.id=fs")
    options = [word for name in names for word in ("-o", name)]
    studio.start("fluidsynth", "-s", "-i", "-a", "jack", "-m", "jack", *options, "-r", 48_000, _FONT)
    wait_until("it is there", lambda: {"fs:left", "fs:right"} <= set(studio.ports()))
    (midi,) = (port for port in studio.ports() if port.startswith("fs:midi"))
    before = loudness(studio, 1)
    player = studio.musegen("play", dense_mid(60, 240), "--port", midi)
    studio.wait_for_connection(midi)
    playing = loudness(studio, 2)
    player.terminate()
    player.communicate(timeout=10)
    assert player.returncode == 143
    after = loudness(studio, 1)
    assert playing > 0.005
    assert before < 0.0001 and after < playing / 50
