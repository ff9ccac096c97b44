"""Four voices on two staves: how they are written, and that they are read back as four tracks."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.midi.engraving.musicxml import to_music21, to_musicxml
from musegen.midi.notation.streams import from_music21
from musegen.midi.score import Meters, Notes, Score, Text, Track

NAMES = ("soprano", "Alto", "TENOR", "bass")


@st.composite
def quartets(draw) -> Score:
    """Voices that hold, repeat, rest and cross, after a pick-up or none."""
    numerator, denominator = draw(st.sampled_from(((2, 4), (3, 4), (4, 4), (6, 8))))
    bar, pickup = 96 * numerator // denominator, draw(st.sampled_from((0, 24)))
    tracks = []
    for place, name in enumerate(NAMES):
        at, rows = 0, []
        while at < pickup + 2 * bar:
            length = draw(st.sampled_from((6, 12, 24, 36, 48)))
            if not rows or draw(st.integers(0, 4)):
                rows.append((at, length, draw(st.integers(58, 64)), 64))
            at += length
        tracks.append(Track(name, 52 + place, False, Notes(*zip(*rows, strict=True))))
    first = Meters([0, pickup], [1, numerator], [4, denominator]) if pickup else Meters([0], [numerator], [denominator])
    return Score(24, tuple(tracks), meters=first)


def heard(score: Score) -> list[tuple[str, int, list[tuple[float, float, int]]]]:
    per = score.ticks_per_quarter
    return [
        (t.name, t.program, sorted((n.start_ticks / per, n.duration_ticks / per, n.pitch) for n in t.notes))
        for t in score.tracks
    ]


@settings(max_examples=12, deadline=None)
@given(quartets())
def test_four_voices_stand_on_two_staves_and_read_back(score):
    root = ElementTree.fromstring(to_musicxml(score))
    assert root.findtext("part/measure/attributes/staves") == "2" and len(root.findall("part")) == 1
    lines = {
        (n.findtext("staff"), n.findtext("voice"), n.findtext("stem")) for n in root.iter("note") if n.find("pitch")
    }
    assert lines == {("1", "1", "up"), ("1", "2", "down"), ("2", "5", "up"), ("2", "6", "down")}
    assert heard(from_music21(to_music21(score))) == heard(score)


def track(name: str, *marks: int) -> Track:
    return Track(
        name, 52, False, Notes([0, 24], [24, 72], [60, 62], [64, 64]), texts=tuple(Text(m, "fermata") for m in marks)
    )


@pytest.mark.parametrize("names", [NAMES[:3], (*NAMES, "alto"), (*NAMES[:3], "bass 1")])
def test_other_tracks_are_no_closed_score(names):
    assert to_musicxml(Score(24, tuple(map(track, names)))).count("<part id=") == len(names)


def fermatas_of(score: Score) -> list[list[float]]:
    return [[text.start_ticks / score.ticks_per_quarter for text in track.texts] for track in score.tracks]


def test_each_singer_has_fermatas_of_their_own_and_they_read_back():
    score = Score(24, (track("soprano", 24), track("alto", 0, 24), track("tenor"), track("bass", 0)))
    root = ElementTree.fromstring(to_musicxml(score))
    drawn = [(n.findtext("voice"), sign.get("type")) for n in root.iter("note") for sign in n.iter("fermata")]
    assert drawn == [("1", "upright"), ("2", "inverted"), ("2", "inverted"), ("6", "inverted")]
    assert not list(root.iter("words"))
    assert fermatas_of(from_music21(to_music21(score))) == fermatas_of(score) == [[1], [0, 1], [], [0]]


def test_two_voices_of_one_player_share_a_fermata():
    notes = Notes([0, 0, 24, 48], [96, 24, 24, 48], [60, 76, 74, 72], [64] * 4)
    text = to_musicxml(Score(24, (Track("flutes", 73, False, notes, texts=(Text(0, "fermata"), Text(48, "fermata"))),)))
    assert (text.count('<fermata type="upright"'), text.count("<fermata")) == (2, 2)


def chorale(n_bars: int, names: tuple[str, ...] = NAMES, silent_from: int = 10**6) -> Score:
    """Quarters in four voices; the alto is silent from some bar on."""
    beats = range(4 * n_bars)
    tracks = []
    for place, name in enumerate(names):
        rows = [(24 * b, 24, 72 - 8 * place + b % 3, 64) for b in beats if place != 1 or b < 4 * silent_from]
        tracks.append(Track(name, 52, False, Notes(*zip(*rows, strict=True))))
    return Score(24, tuple(tracks))


def nameless(score: Score, path: Path) -> Score:
    """The same as other programs write it, with one instrument for the whole part."""
    root = ElementTree.fromstring(to_musicxml(score))
    for part in root.iter("score-part"):
        for tag in ("score-instrument", "midi-instrument"):
            for element in part.findall(tag)[1:]:
                part.remove(element)
    path.write_bytes(ElementTree.tostring(root))
    return Score.read(path)


def test_a_chorale_of_other_programs_becomes_four_tracks(tmp_path: Path):
    score = chorale(5)
    found = nameless(score, tmp_path / "chorale.musicxml")
    assert [track.name for track in found.tracks] == [name.lower() for name in NAMES]
    assert [notes for _, _, notes in heard(found)] == [notes for _, _, notes in heard(score)]


@pytest.mark.parametrize("score", [chorale(3), chorale(8, silent_from=2)], ids=["short", "silent voice"])
def test_two_staves_that_are_no_chorale_stay_one_player(tmp_path: Path, score: Score):
    found = nameless(score, tmp_path / "piano.musicxml")
    assert len(found.tracks) == 1 and found.n_notes == score.n_notes
