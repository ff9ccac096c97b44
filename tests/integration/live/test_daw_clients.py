"""The scripts of `examples/daw`, run by the programs that they are for, on a bridge that runs.

REAPER's is run by Ardour's Lua on a stand-in for REAPER's functions: REAPER itself was not tried.
"""

import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musegen.midi.score import Notes, Score, Track
from tests.integration.live.studio import Studio, end, record_in_ardour, wait_until

HERE = Path(__file__).parent
CLIENTS = HERE.parents[2] / "examples" / "daw"
MELODY = (67, 69, 71, 67, 67, 66, 67, 67)


@pytest.fixture(scope="module")
def bridge() -> Iterator[int]:
    """`musegen serve` on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "musegen", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def answers() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5).status == 200
        except urllib.error.URLError:
            return False

    try:
        wait_until("the bridge answers", answers, 60)
        yield port
    finally:
        end(process)


@pytest.fixture
def melody() -> Score:
    n = len(MELODY)
    notes = Notes([480 * nth for nth in range(n)], [450] * n, MELODY, [80] * n)
    return Score(480, (Track("melody", 0, False, notes),))


@pytest.fixture
def client(tmp_path: Path, bridge: int) -> Callable[..., Path]:
    """Copies a script and has it ask the bridge of the tests, or another port."""

    def copy(name: str, port: int = bridge) -> Path:
        path = tmp_path / Path(name).name
        text = (CLIENTS / name).read_text(encoding="utf-8")
        assert text.count(":8765") == 1
        path.write_text(text.replace(":8765", f":{port}"), encoding="utf-8")
        return path

    return copy


def test_musescore_opens_the_score_in_four_voices(need, client, melody: Score, tmp_path: Path):
    need("mscore3")
    melody.write(tmp_path / "song.musicxml")
    said, answered = tmp_path / "musegen-said.txt", tmp_path / "musegen-answered.musicxml"

    def run(plugin: Path) -> str:
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        command = ["mscore3", "-p", str(plugin), str(tmp_path / "song.musicxml")]
        subprocess.run(command, env=environment, capture_output=True, timeout=120)
        return said.read_text(encoding="utf-8")

    assert run(client("musescore/musegen.qml")) == f"done: {answered}"
    found = Score.read(answered)
    assert [track.name for track in found.tracks] == ["soprano", "alto", "tenor", "bass"]
    assert found.tracks[0].notes.pitch.tolist() == list(MELODY)
    assert all(len(track.notes) for track in found.tracks)
    assert "start `musegen serve`" in run(client("musescore/musegen.qml", port=9))


@pytest.mark.slow
def test_ardour_adds_three_voices_to_a_region_that_it_recorded(need, client, melody: Score, studio: Studio):
    need("ardour7-lua", "curl")
    melody.write(studio.folder / "melody.mid")
    session, _ = record_in_ardour(studio, studio.folder / "melody.mid")

    def run(script: Path) -> str:
        command = ["ardour7-lua", str(HERE / "ardour_action.lua"), str(session), str(script)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    recorded = re.findall(r"NOTE\s+(\d+)", run(client("ardour/musegen.lua", port=9)))
    out = run(client("ardour/musegen.lua"))
    n_added = int(re.search(r"SAID .*: (\d+) notes", out)[1])  # pyright: ignore[reportOptionalSubscript]
    pitches = re.findall(r"NOTE\s+(\d+)", out)
    assert [int(pitch) for pitch in recorded] == list(MELODY)
    assert n_added >= 3
    assert len(pitches) == len(MELODY) + n_added
    assert not set(MELODY) - {int(pitch) for pitch in pitches}
    assert "does `musegen serve` run?" in run(client("ardour/musegen.lua", port=9))


def test_the_script_for_reaper_adds_three_voices_in_a_stand_in(need, client):
    need("ardour7-lua", "curl")
    takes = [f"{960 * nth} {960 * nth + 900} {pitch}" for nth, pitch in enumerate(MELODY)]

    def run(script: Path) -> str:
        command = ["ardour7-lua", str(HERE / "reaper.lua"), str(script), *takes]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    out = run(client("reaper/musegen.lua"))
    added = [tuple(map(int, note)) for note in re.findall(r"NOTE (\d+) (\d+) (\d+) (\d+)", out)]
    assert f"SAID {len(added)} notes were added." in out
    assert len(added) >= 3
    assert all(0 <= start < stop <= 960 * (len(MELODY) + 4) for start, stop, _, _ in added)
    assert all(36 <= pitch <= max(MELODY) for _, _, pitch, _ in added)
    assert "Does `musegen serve` run?" in run(client("reaper/musegen.lua", port=9))
