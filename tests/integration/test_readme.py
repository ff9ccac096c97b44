"""The README's code blocks, run one after the other in one folder, as a reader would.

Blocks that install are left out here: `.ci/run` runs them in environments of their own.
"""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    (language, code)
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    if "pip install" not in code
]


def test_every_block_has_a_language_that_is_run():
    fences = re.findall(r"^```(.*)$", README, re.MULTILINE)
    assert set(fences[::2]) <= {"sh", "python"}
    assert set(fences[1::2]) == {""}


@pytest.mark.slow
def test_blocks_run(tmp_path: Path):
    tools = tmp_path / "tools"
    tools.mkdir()
    command = tools / "musegen"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m musegen "$@"\n')
    command.chmod(0o755)
    folder = tmp_path / "reader"
    make_midi_folder(folder / "my-midi")
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    for language, code in BLOCKS:
        run = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


def make_midi_folder(folder: Path) -> None:
    """A folder such as the README's reader has: two labels, and works enough that some are held out."""
    import mido

    draw = random.Random(0)
    for number in range(24):
        track = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=4, denominator=4, time=0)])
        pitch = 60
        for _ in range(160):
            pitch = min(max(pitch + draw.choice((-4, -2, -1, 1, 2, 3, 5)), 40), 90)
            ticks = draw.choice((240, 480))
            track.append(mido.Message("note_on", note=pitch, velocity=draw.randint(50, 90), time=0))
            track.append(mido.Message("note_off", note=pitch, velocity=0, time=ticks))
        path = folder / ("bach" if number % 2 else "mozart") / f"piece-{number}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        song = mido.MidiFile(ticks_per_beat=480)
        song.tracks.append(track)
        song.save(path)
