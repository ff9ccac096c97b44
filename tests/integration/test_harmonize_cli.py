"""Four-part writing as a user types it, with the weights that ship."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from musegen.midi.score import Score
from musegen.music.chorales import VOICES

Run = Callable[..., subprocess.CompletedProcess[str]]

TUNE = [(67, 1), (69, 1), (67, 1), (72, 1), (71, 1), (69, 2), (67, 1), (71, 1.5), (71, 0.5), (76, 1), (74, 1), (72, 4)]


@pytest.fixture
def melody(tmp_path: Path) -> Path:
    Score.from_notes(TUNE).write(tmp_path / "melody.mid")
    return tmp_path / "melody.mid"


def test_a_melody_is_harmonised_again_by_the_command_that_the_file_carries(musegen: Run, tmp_path: Path, melody: Path):
    done = musegen("harmonize", melody, "--instruments", "strings", "--passes", 4, "--json", "-o", "one.mid")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [track["name"] for track in facts["tracks"]] == list(VOICES)
    assert [track["program"] for track in facts["tracks"]] == [40, 40, 41, 42]
    score = Score.read(tmp_path / "one.mid")
    assert score.tracks[0].notes == Score.read(melody).tracks[0].notes
    command = shlex.split(score.texts[0].text)
    assert command[:3] == ["musegen", "harmonize", "melody.mid"]
    assert musegen(*command[1:], "-o", "two.mid").returncode == 0
    assert (tmp_path / "two.mid").read_bytes() == (tmp_path / "one.mid").read_bytes()


def test_bars_are_restored_and_nothing_else(musegen: Run, tmp_path: Path, melody: Path):
    musegen("harmonize", melody, "--passes", 4, "--seed", 1, "-o", "whole.mid")
    done = musegen(
        "infill", "whole.mid", "--model", "coconet", "--bars", "2", "--voices", "alto,tenor", "-o", "new.mid"
    )
    assert done.returncode == 0 and done.stdout.startswith("new.mid: "), done.stderr
    whole, new = Score.read(tmp_path / "whole.mid"), Score.read(tmp_path / "new.mid")
    assert new.tracks[0] == whole.tracks[0] and new.tracks[3] == whole.tracks[3]
    for voice in (1, 2):
        before, after = (score.tracks[voice].notes for score in (whole, new))
        outside = [(notes.start_ticks < 1920) | (notes.start_ticks >= 3840) for notes in (before, after)]
        assert before[outside[0]] == after[outside[1]]


def test_a_new_chorale_opens_as_notation(musegen: Run, tmp_path: Path):
    done = musegen("chorale", "--bars", 3, "--key", "d minor", "--passes", 4, "--seed", 1, "-o", "new.musicxml")
    assert done.returncode == 0, done.stderr
    score = Score.read(tmp_path / "new.musicxml")
    assert score.end_ticks == 12 * score.ticks_per_quarter and score.keys[0].sharps == -1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["harmonize", "melody.mid", "-o", "out.wav"], "must end in one of"),
        (["harmonize", "melody.mid", "-o", "no/out.mid"], "the folder no does not exist"),
        (["harmonize", "melody.mid", "--voice", "viola", "-o", "out.mid"], "unknown voice 'viola'"),
        (["harmonize", "melody.mid", "--instruments", "kazoo", "-o", "out.mid"], "unknown instrument or ensemble"),
        (["harmonize", "melody.mid", "--instruments", "flute,oboe", "-o", "out.mid"], "one name or four"),
        (["harmonize", "melody.mid", "--temperature", "0", "-o", "out.mid"], "temperature is 0.0"),
        (["harmonize", "melody.mid", "--candidates", "65", "-o", "out.mid"], "candidates is 65"),
        (["harmonize", "melody.mid", "--passes", "0", "-o", "out.mid"], "passes is 0"),
        (
            ["harmonize", "melody.mid", "--track", "2", "-o", "out.mid"],
            "track is 2; allowed are whole numbers from 1 to 1",
        ),
        (["harmonize", "melody.mid", "--model", "muse-small", "-o", "out.mid"], "models of the family coconet"),
        (["infill", "melody.mid", "-o", "out.mid"], "name bars, tracks or an instrument to add"),
        (
            ["infill", "melody.mid", "--passes", "2", "-o", "out.mid"],
            "must have a track each for soprano, alto, tenor and",
        ),
        (["infill", "melody.mid", "--bars", "x", "-o", "out.mid"], "--bars must be FIRST-LAST"),
        (["infill", "melody.mid", "--bars", "0-3", "-o", "out.mid"], "or one bar, got '0-3'"),
        (["infill", "melody.mid", "--bars", "3-2", "-o", "out.mid"], "or one bar, got '3-2'"),
        (["infill", "melody.mid", "--voices", "viola", "-o", "out.mid"], "unknown voice 'viola'"),
        (["chorale", "--bars", "0", "-o", "out.mid"], "bars is 0"),
        (["chorale", "--key", "H", "-o", "out.mid"], "key is 'H'"),
    ],
)
def test_what_cannot_be_done_is_one_line(musegen: Run, tmp_path: Path, melody: Path, arguments: list[str], words: str):
    done = musegen(*arguments)
    assert done.returncode == 2 and not done.stdout, done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("musegen: ") and words in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["melody.mid"]
