"""MuseScore opens what is written, does not complain, and hears the same notes."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from musegen.midi.score import Keys, Meters, Notes, Score, Tempos, Text, TextKind, Track

PROGRAM = next((path for path in map(shutil.which, ("mscore3", "musescore3", "mscore")) if path), None)

pytestmark = [
    pytest.mark.skipif(
        PROGRAM is None and os.environ.get("CI") != "true", reason="MuseScore 3 is not installed (apt: musescore3)"
    ),
    pytest.mark.filterwarnings("default::DeprecationWarning:music21"),
]

# What MuseScore says of every file, of every drum part, and of every chord that it makes of MIDI.
_HARMLESS = ("QStandardPaths", "convert <", "to <", "... success", "qt.qpa", "element already exists", "chord 0x")


def convert(source: Path, target: Path) -> Path:
    """Let MuseScore open a file and write another."""
    assert PROGRAM is not None, "MuseScore 3 is missing, and in CI it must not be: apt install musescore3"
    result = subprocess.run(
        [PROGRAM, "-o", str(target), str(source)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(target.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = (result.stderr + result.stdout).splitlines()
    complaints = [line for line in said if line.strip() and not any(words in line for words in _HARMLESS)]
    assert result.returncode == 0 and not complaints, (result.returncode, complaints[:5])
    assert target.stat().st_size > 0
    return target


def heard(score: Score) -> list[tuple[int, int, int]]:
    """All notes as (start, duration, pitch) in 24ths of a quarter: in .mid, MuseScore's end a tick early."""
    scale = 24 / score.ticks_per_quarter
    rows = [note for track in score.tracks if not track.is_drum for note in track.notes]
    return sorted((round(n.start_ticks * scale), round((n.duration_ticks + 1) * scale), n.pitch) for n in rows)


def struck(score: Score) -> list[tuple[int, int]]:
    """All drum strokes as (start, pitch); how long they last is not notated."""
    rows = [note for track in score.tracks if track.is_drum for note in track.notes]
    return sorted((round(note.start_ticks * 24 / score.ticks_per_quarter), note.pitch) for note in rows)


def notes(start: list[int], duration: list[int], pitch: list[int]) -> Notes:
    return Notes(start, duration, pitch, [80] * len(start))


def chorale() -> Score:
    """Four voices with a pick-up in a key with flats, as `harmonize` writes them."""
    voices = [("soprano", 67, 1), ("alto", 63, 2), ("tenor", 58, 1), ("bass", 51, 4)]
    tracks = []
    for name, pitch, beats in voices:
        start = [0, *range(480, 17 * 480, 480 * beats)]
        duration = [480, *[480 * beats] * (16 // beats)]
        tracks.append(Track(name, 52, False, notes(start, duration, [pitch + i % 3 for i in range(len(start))])))
    return Score(480, tuple(tracks), meters=Meters([0, 480], [1, 4], [4, 4]), keys=Keys([0], [-3], [0]))


def quartet() -> Score:
    """Four parts with a pick-up, triplets, a change of meter and key, ties over bar lines, and words."""
    start = np.array([0, 480, 960, 1120, 1280, 1440, 1680, 2160, 2400, 3840])
    duration = np.array([480, 480, 160, 160, 160, 240, 480, 240, 1440, 480])
    tune = np.array([67, 72, 74, 75, 77, 79, 78, 79, 80, 72])
    words = ((0, "O"), (480, "glo-"), (960, "ry"))
    lyrics = tuple(Text(tick, syllable, TextKind.LYRIC) for tick, syllable in words)
    programs = (("Violin", 40, 0), ("", 40, -4), ("Viola", 41, -9), ("Cello", 42, -24))
    tracks = [
        Track(name, program, False, Notes(start, duration, tune + down, np.full(10, 70)), texts=lyrics * (not down))
        for name, program, down in programs
    ]
    meters = Meters([0, 480, 2400], [1, 4, 3], [4, 4, 4])
    return Score(
        480, tuple(tracks), Tempos([0, 2400], [500_000, 800_000]), meters, Keys([0, 2400], [-3, 0], [True, False])
    )


def piano() -> Score:
    """Two staves, chords, two voices on one staff, sixteenths and rests, in 6/8."""
    right = [(0, 720, 79), (0, 240, 72), (240, 240, 74), (480, 240, 76), (720, 120, 77), (840, 120, 76), (960, 240, 74)]
    left = [(0, 720, 48), (0, 720, 43), (960, 480, 41), (1440, 1440, 36), (1440, 1440, 48)]
    columns = (list(column) for column in zip(*sorted(right + left), strict=True))
    return Score(480, (Track("Piano", 0, False, notes(*columns)),), meters=Meters([0], [6], [8]))


def drums() -> Score:
    steps = list(range(0, 16 * 240, 240))
    pitches = [(42, 36), (42,), (46, 38), (42, 44)]
    rows = [(step, pitch) for place, step in enumerate(steps) for pitch in pitches[place % 4]]
    track = Track("Kit", 0, True, Notes([r[0] for r in rows], [60] * len(rows), [r[1] for r in rows], [90] * len(rows)))
    bass = Track("Bass", 33, False, notes([0, 960, 1920, 2880], [960] * 4, [40, 43, 45, 47]))
    return Score(480, (track, bass), name="Groove & more")


@pytest.mark.parametrize("make", [quartet, piano, drums, chorale])
def test_musescore_hears_what_we_wrote(tmp_path, make):
    score = make()
    score.write(tmp_path / "ours.musicxml")
    theirs = Score.read(convert(tmp_path / "ours.musicxml", tmp_path / "theirs.mid"))
    assert heard(theirs) == heard(score)
    assert struck(theirs) == struck(score)
    assert [track.program for track in theirs.tracks if not track.is_drum][-1] == score.tracks[-1].program


def test_musescore_writes_back_what_it_read(tmp_path):
    score = quartet()
    score.write(tmp_path / "ours.mxl")
    theirs = Score.read(convert(tmp_path / "ours.mxl", tmp_path / "theirs.musicxml"))
    assert heard(theirs) == heard(score)
    assert [key.sharps for key in theirs.keys] == [-3, 0]
    assert [(meter.numerator, meter.denominator) for meter in theirs.meters] == [(1, 4), (4, 4), (3, 4)]


def test_musescore_reads_four_voices_on_two_staves(tmp_path):
    score = chorale()
    score.write(tmp_path / "ours.musicxml")
    theirs = Score.read(convert(tmp_path / "ours.musicxml", tmp_path / "theirs.musicxml"))
    assert [track.name.lower() for track in theirs.tracks] == [track.name for track in score.tracks]
    for ours, track in zip(score.tracks, theirs.tracks, strict=True):
        scale = theirs.ticks_per_quarter // 24
        assert [(n.start_ticks // scale, n.pitch) for n in track.notes] == [
            (n.start_ticks // 20, n.pitch) for n in ours.notes
        ]
    assert [key.sharps for key in theirs.keys] == [-3]


def test_musescore_prints_a_page_and_opens_our_midi(tmp_path):
    piano().write(tmp_path / "ours.musicxml")
    assert convert(tmp_path / "ours.musicxml", tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    drums().write(tmp_path / "ours.mid")
    convert(tmp_path / "ours.mid", tmp_path / "midi.musicxml")
