import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import musegen as musegen_package

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def _same_package_in_child_processes():
    """Processes that the tests start import the package that the tests import, wherever they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(musegen_package.__file__).parents[1]))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def musegen(tmp_path: Path) -> Run:
    """Run the command in a process of its own, in a folder of its own, as a user without a terminal would."""

    def run(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error::DeprecationWarning:musegen", "-m", "musegen", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def prompt_mid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bars of piano and violin as other programs write them: 480 ticks, names, a tempo, a program change."""
    import mido

    song = mido.MidiFile(ticks_per_beat=480, type=1)
    conductor = mido.MidiTrack(
        [
            mido.MetaMessage("track_name", name="Song", time=0),
            mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(90), time=0),
            mido.MetaMessage("time_signature", numerator=3, denominator=4, time=0),
        ]
    )
    song.tracks.append(conductor)
    for name, channel, program, pitches in (
        ("Right hand", 0, 0, [60, 64, 67, 65, 62, 59]),
        ("Fiddle", 1, 40, [72, 71, 69, 67, 69, 71]),
    ):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=name, time=0)])
        track.append(mido.Message("program_change", channel=channel, program=program, time=0))
        for pitch in pitches:
            track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=70, time=0))
            track.append(mido.Message("note_off", channel=channel, note=pitch, velocity=0, time=480))
        song.tracks.append(track)
    path = tmp_path_factory.mktemp("prompt") / "prompt.mid"
    song.save(path)
    return path
