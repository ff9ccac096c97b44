"""`musegen render`, `listen` and `doctor` as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def seconds_of(path: Path) -> float:
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("musegen: ") and all(word in line for word in words), line


def test_render(musegen: Run, prompt_mid: Path, tmp_path: Path):
    done = musegen("render", prompt_mid, "-o", "a.wav", "--sample-rate", 22050)
    assert done.returncode == 0, done.stderr
    assert 4.0 <= seconds_of(tmp_path / "a.wav") < 15
    [line] = done.stdout.splitlines()
    assert line.startswith("a.wav: ") and "times faster than real time" in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_render_says_what_is_wrong(musegen: Run, prompt_mid: Path, tmp_path: Path):
    assert_one_line(musegen("render", "gone.mid", "-o", "a.wav"), "gone.mid", "no such file")
    assert_one_line(musegen("render", prompt_mid, "-o", "a.mp3"), "must end in .wav")
    assert_one_line(musegen("render", prompt_mid, "-o", "no/a.wav"), "no/a.wav", "does not exist")
    assert_one_line(musegen("render", prompt_mid, "-o", "a.wav", "--sound-font", "b.sf2"), "sound_font", "b.sf2")
    assert_one_line(musegen("render", prompt_mid, "-o", "a.wav", "--sample-rate", 1), "8000 to 96000")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
def test_ctrl_c_leaves_nothing(tmp_path: Path):
    from musegen.midi.score import Notes, Score, Track

    starts = list(range(0, 24 * 7200, 6))
    notes = Notes(starts, [24] * len(starts), [60 + i % 12 for i in range(len(starts))], [90] * len(starts))
    Score(24, (Track("", 19, False, notes),)).write(tmp_path / "long.mid")
    command = [sys.executable, "-m", "musegen", "render", "long.mid", "-o", "a.wav"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "musegen: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["long.mid"]


@pytest.mark.skipif(os.path.exists("/dev/snd"), reason="this machine has a sound card, and would play")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a sound device")
def test_listen_without_a_sound_device(musegen: Run, prompt_mid: Path, tmp_path: Path):
    assert_one_line(musegen("listen", prompt_mid), "`musegen render` writes a")
    assert not list(tmp_path.iterdir())


def test_doctor(musegen: Run):
    done = musegen("doctor", "--quick")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name in ("python", "torch", "models", "midi files", "fluidsynth", "sound font", "midi ports"):
        assert any(line[4:].startswith(name) for line in done.stdout.splitlines())
    assert "composing" not in done.stdout


@pytest.mark.slow
def test_doctor_measures_speed(musegen: Run):
    done = musegen("doctor", "--json")
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    for name in ("composing", "rendering by tones"):
        assert checks[name]["per_second"] > 0


def test_doctor_fails_where_the_core_is_broken(musegen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "models" / "broken"
    broken.mkdir(parents=True)
    (broken / "model.safetensors").touch()
    (broken / "config.json").write_text("{}")
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path / "models"))
    done = musegen("doctor", "--quick", "--json")
    assert done.returncode == 1
    [models] = [check for check in json.loads(done.stdout) if check["name"] == "models"]
    assert not models["ok"] and models["is_core"] and "names no family of models" in models["detail"]
