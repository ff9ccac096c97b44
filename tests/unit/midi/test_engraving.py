"""Notation: what is written can be read back, and looks as a musician expects."""

import io
import re
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.engraving.musicxml import to_music21, to_musicxml, to_mxl
from musegen.midi.engraving.parts import MAX_BARS, sheet_of
from musegen.midi.notation.streams import from_music21
from musegen.midi.score import Keys, Meters, Notes, Score, Tempos, Text, TextKind, Track

QUARTER = 24


def score_of(*parts, meters=((0, 4, 4),), programs=(), keys=(), **more) -> Score:
    """A score of parts that are lists of (start, duration, pitch) in 24ths of a quarter."""
    tracks = []
    for place, part in enumerate(parts):
        start, duration, pitch = (list(column) for column in zip(*part, strict=True)) if part else ([], [], [])
        program = programs[place] if place < len(programs) else 73
        tracks.append(Track(f"part {place}", program, False, Notes(start, duration, pitch, [64] * len(pitch))))
    return Score(
        QUARTER,
        tuple(tracks),
        meters=Meters(*zip(*meters, strict=True)),
        keys=Keys(*zip(*keys, strict=True)) if keys else Keys(),
        **more,
    )


def line(*pitches: int, each: int = QUARTER) -> list[tuple[int, int, int]]:
    """Notes of one length, one after the other."""
    return [(place * each, each, pitch) for place, pitch in enumerate(pitches)]


def xml_of(score: Score) -> ElementTree.Element:
    return ElementTree.fromstring(to_musicxml(score))


def written(score: Score, part: int = 0) -> str:
    """The first voices of a part, a bar a group: "F#5:eighth. R:quarter | ..." with ~ for ties and 3 for triplets."""
    bars = []
    for measure in xml_of(score).findall("part")[part].findall("measure"):
        words = []
        for note in measure.findall("note"):
            step, octave = note.findtext("pitch/step"), note.findtext("pitch/octave")
            alter = int(note.findtext("pitch/alter") or 0)
            name = f"{step}{'#' * alter}{'b' * -alter}{octave}" if step else "R"
            value = (note.findtext("type") or "bar") + "." * len(note.findall("dot"))
            tie = "~" if note.find("tie[@type='start']") is not None else ""
            triplet = "3" if note.find("time-modification") is not None else ""
            words.append(f"{'+' if note.find('chord') is not None else ''}{name}:{value}{triplet}{tie}")
        bars.append(" ".join(words))
    return " | ".join(bars)


def accidentals(score: Score, part: int = 0) -> list[str]:
    return [mark.text or "" for mark in xml_of(score).findall("part")[part].iter("accidental")]


def heard(score: Score) -> list[list[tuple[float, float, int]]]:
    quarter = score.ticks_per_quarter
    return [
        sorted((n.start_ticks / quarter, n.duration_ticks / quarter, n.pitch) for n in track.notes)
        for track in score.tracks
    ]


# Reading back ---------------------------------------------------------------------------------------------------------

METERS = ((4, 4), (3, 4), (6, 8), (2, 2), (5, 8), (9, 8), (3, 2))


@st.composite
def parts(draw) -> list[tuple[int, int, int]]:
    """Chords, rests and overlapping notes on a grid of sixteenths or triplet eighths."""
    step = draw(st.sampled_from((6, 8, 12)))
    notes = draw(
        st.lists(
            st.tuples(st.integers(0, 40), st.integers(1, 14), st.integers(40, 84)),
            min_size=1,
            max_size=14,
            unique_by=lambda note: (note[0], note[2]),
        )
    )
    notes.sort()
    kept: dict[int, tuple[int, int, int]] = {}
    result = []
    for start, duration, pitch in notes:  # a pitch that sounds already is struck when it has ended
        before = kept.get(pitch)
        if before is None or before[0] + before[1] <= start:
            kept[pitch] = (start, duration, pitch)
            result.append((start * step, duration * step, pitch))
    return result


@settings(max_examples=12, deadline=None)
@given(st.lists(parts(), min_size=1, max_size=3), st.sampled_from(METERS), st.sampled_from((0, 73, 41, 24)))
def test_notation_reads_back_as_it_was(lists, meter, program):
    score = score_of(*lists, meters=((0, *meter),), programs=[program] * 3)
    again = from_music21(to_music21(score))
    assert heard(again) == heard(score)


def test_velocity_tempo_key_names_and_programs_read_back():
    score = score_of(line(60, 64, 67), line(48, 50, 52), programs=(0, 42), keys=((0, -1, False),), name="Duo")
    again = from_music21(to_music21(score))
    assert [(t.name, t.program) for t in again.tracks] == [("part 0", 0), ("part 1", 42)]
    assert again.keys[0].sharps == -1 and again.name == "Duo"
    assert again.tempos.bpm.tolist() == [120.0]
    assert [track.notes.velocity.tolist() for track in again.tracks] == [[64] * 3] * 2


def test_equal_scores_give_equal_bytes_and_mxl_holds_the_musicxml():
    score = score_of(line(60, 62, 64))
    assert to_mxl(score) == to_mxl(score)
    with zipfile.ZipFile(io.BytesIO(to_mxl(score))) as archive:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
        root = container.find("rootfiles/rootfile")
        assert root is not None
        assert archive.read(root.get("full-path", "")).decode() == to_musicxml(score)


# Rhythm ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notes", "meter", "expected"),
    [
        (line(60, 62, 64, 65), (4, 4), "C4:quarter D4:quarter E4:quarter F4:quarter"),
        ([(0, 168, 60)], (4, 4), "C4:whole~ | C4:half. R:quarter"),
        ([(12, 24, 60)], (4, 4), "R:eighth C4:quarter R:eighth R:half"),
        ([(36, 24, 60)], (4, 4), "R:quarter R:eighth C4:eighth~ C4:eighth R:eighth R:quarter"),
        ([(24, 48, 60)], (4, 4), "R:quarter C4:half R:quarter"),
        ([(0, 48, 60), (48, 24, 62)], (6, 8), "C4:quarter.~ C4:eighth D4:quarter"),
        ([(0, 72, 60)], (6, 8), "C4:half."),
        ([(0, 8, 60), (8, 8, 62), (16, 8, 64)], (2, 4), "C4:eighth3 D4:eighth3 E4:eighth3 R:quarter"),
        ([(0, 16, 60), (16, 16, 62), (32, 16, 64)], (2, 4), "C4:quarter3 D4:quarter3 E4:quarter3"),
        ([(0, 16, 60), (16, 32, 62)], (2, 4), "C4:quarter3 D4:eighth3~ D4:quarter"),
        ([(0, 24, 60), (0, 24, 64)], (1, 4), "C4:quarter +E4:quarter"),
        ([(0, 42, 60)], (7, 8), "C4:quarter.~ C4:16th R:16th R:quarter R:eighth"),
    ],
)
def test_note_values(notes, meter, expected):
    assert written(score_of(notes, meters=((0, *meter),), keys=((0, 0, False),))) == expected


def test_every_bar_is_full():
    rng = np.random.default_rng(0)
    notes = Notes(rng.integers(0, 8000, 300), rng.integers(1, 900, 300), rng.integers(30, 90, 300), np.full(300, 64))
    score = Score(480, (Track("", 0, False, notes),), meters=Meters([0, 1000, 3333], [4, 7, 3], [4, 8, 16]))
    sheet = sheet_of(score)
    measures = xml_of(score).findall("part/measure")
    assert len(measures) == len(sheet.bars)
    for bar, measure in zip(sheet.bars, measures, strict=True):
        length, lengths = 0, []
        for element in measure:
            if element.tag == "backup":
                lengths.append(length)
                assert int(element.findtext("duration", "0")) == length
                length = 0
            elif element.tag == "note" and element.find("chord") is None:
                length += int(element.findtext("duration", "0"))
        assert {*lengths, length} == {bar.length}


def test_a_human_performance_is_made_readable():
    rng = np.random.default_rng(1)
    exact = np.arange(0, 16 * 480, 240)
    start = np.maximum(exact + rng.integers(-18, 19, len(exact)), 0)
    end = exact + np.where(np.arange(len(exact)) % 2, 150, 270)  # some short, some held too long
    track = Track("", 73, False, Notes(start, end - start, 60 + np.arange(len(exact)) % 5, np.full(len(exact), 64)))
    values = written(Score(480, (track,), keys=Keys([0], [0], [False])))
    assert {word.split(":")[1] for word in values.replace(" | ", " ").split()} == {"eighth"}


def test_a_short_first_bar_is_a_pickup():
    score = score_of(line(67, *[60] * 8), meters=((0, 1, 4), (24, 4, 4)))
    measures = xml_of(score).findall("part/measure")
    assert [(m.get("number"), m.get("implicit")) for m in measures[:2]] == [("0", "yes"), ("1", None)]


# Spelling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pitches", "sharps", "is_minor", "names"),
    [
        ((60, 61, 62, 64, 65, 66, 67), 0, False, "C4 C#4 D4 E4 F4 F#4 G4"),
        ((69, 71, 72, 74, 76, 77, 80, 81), 0, True, "A4 B4 C5 D5 E5 F5 G#5 A5"),
        ((65, 67, 68, 70, 72, 71, 72, 76, 77), -4, True, "F4 G4 Ab4 Bb4 C5 B4 C5 E5 F5"),
        ((63, 65, 67, 68, 70, 72, 74, 75), -3, False, "Eb4 F4 G4 Ab4 Bb4 C5 D5 Eb5"),
        ((61, 63, 64, 66, 68, 69, 72, 73), 4, True, "C#4 D#4 E4 F#4 G#4 A4 B#4 C#5"),
    ],
)
def test_names_follow_the_key(pitches, sharps, is_minor, names):
    score = score_of(line(*pitches), meters=((0, len(pitches), 4),), keys=((0, sharps, is_minor),))
    assert [word.split(":")[0] for word in written(score).split()] == names.split()


def test_an_accidental_is_shown_once_a_bar_and_taken_back():
    score = score_of(line(66, 66, 65, 67, 66, 67, 67, 67), keys=((0, 0, False),))
    assert accidentals(score) == ["sharp", "natural", "sharp"]
    in_key = score_of(line(67, 65, 67, 66), keys=((0, 1, False),))
    assert accidentals(in_key) == ["natural", "sharp"]


@pytest.mark.parametrize(
    ("pitches", "sharps", "mode"),
    [
        ((60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60), 0, "major"),
        ((62, 64, 66, 67, 69, 71, 73, 74, 69, 66, 62), 2, "major"),
        ((67, 69, 70, 72, 74, 75, 78, 79, 74, 70, 67), -2, "minor"),
    ],
)
def test_a_key_is_found_where_none_is_given(pitches, sharps, mode):
    key = xml_of(score_of(line(*pitches))).find("part/measure/attributes/key")
    assert key is not None and (key.findtext("fifths"), key.findtext("mode")) == (str(sharps), mode)


# Staves and parts -----------------------------------------------------------------------------------------------------


def clefs(score: Score, part: int = 0) -> list[tuple[str | None, str | None, str | None]]:
    found = xml_of(score).findall("part")[part].iter("clef")
    return [(clef.findtext("sign"), clef.findtext("line"), clef.findtext("clef-octave-change")) for clef in found]


def test_clefs():
    parts = [line(72, 74), line(50, 52), line(60, 62), line(52, 55), line(40, 43)]
    score = score_of(*parts, programs=(73, 42, 41, 24, 33))
    expected = [("G", "2", None), ("F", "4", None), ("C", "3", None), ("G", "2", "-1"), ("F", "4", "-1")]
    assert [clefs(score, part)[0] for part in range(5)] == expected


def test_a_piano_part_has_two_staves_and_hands_keep_their_staff():
    melody = line(72, 74, 76, 77, 79, 77, 76, 74)
    bass = [(start, each, pitch - 27) for start, each, pitch in melody]
    score = score_of(melody + bass, programs=(0,))
    assert clefs(score) == [("G", "2", None), ("F", "4", None)]
    staff_of = {
        int(n.findtext("pitch/octave", "0")): n.findtext("staff") for n in xml_of(score).iter("note") if n.find("pitch")
    }
    assert staff_of == {5: "1", 2: "2", 3: "2"}
    assert len(clefs(score_of(melody, programs=(0,)))) == 1
    assert len(clefs(score_of(melody + bass, programs=(40,)))) == 1


def test_two_hands_in_two_tracks_are_braced():
    score = score_of(line(72, 74, 76), line(48, 50, 52), programs=(0, 0))
    assert [clefs(score, part)[0][0] for part in (0, 1)] == ["G", "F"]
    assert xml_of(score).findtext("part-list/part-group/group-symbol") == "brace"


def test_drums_stand_on_a_percussion_staff_and_sound_right():
    track = Track("", 0, True, Notes([0, 0, 12, 24], [1, 1, 1, 1], [36, 42, 42, 38], [90] * 4))
    root = xml_of(Score(24, (track,)))
    assert root.findtext("part/measure/attributes/clef/sign") == "percussion"
    assert root.find("part/measure/attributes/key") is None
    assert {m.findtext("midi-channel") for m in root.iter("midi-instrument")} == {"10"}
    assert {m.findtext("midi-unpitched") for m in root.iter("midi-instrument")} == {"37", "39", "43"}
    ids = {m.get("id") for m in root.iter("midi-instrument")}
    assert {i.get("id") for i in root.findall("part/measure/note/instrument")} == ids
    again = from_music21(to_music21(Score(24, (track,))))
    assert again.tracks[0].is_drum
    assert {(start, pitch) for start, _, pitch in heard(again)[0]} == {(0, 36), (0, 42), (0.5, 42), (1, 38)}


def test_names_numbers_words_and_what_xml_cannot_hold():
    violins = [Track("", 40, False, Notes([0], [24], [70], [64])) for _ in range(2)]
    lyrics = (Text(0, "Hal-", TextKind.LYRIC), Text(24, "lo\x00", TextKind.LYRIC))
    voice = Track("So\x01lo <&> ", 52, False, Notes([0, 24], [24, 24], [70, 72], [64, 64]), texts=lyrics)
    texts = (Text(24, "Coda"), Text(0, "a program's own long story about how this came to be written"))
    root = xml_of(Score(24, (*violins, voice, Track("empty", 0, False, Notes())), texts=texts, name="A \x02&B"))
    assert [e.text for e in root.iter("part-name")] == ["Violin 1", "Violin 2", "Solo <&>"]
    assert [e.text for e in root.iter("text")] == ["Hal", "lo"]
    assert [e.text for e in root.iter("words")] == ["Coda"]
    assert root.findtext("work/work-title") == "A &B"


def test_only_tempos_that_stay_are_printed_and_all_are_kept():
    tempos = Tempos([0, 24 * 40, 24 * 41, 24 * 42], [500_000, 900_000, 520_000, 1_000_000])
    root = xml_of(score_of(line(*[60] * 80), tempos=tempos))
    assert [e.text for e in root.iter("per-minute")] == ["120", "60"]
    assert len(list(root.iter("sound"))) == 4


@pytest.mark.parametrize(
    "score",
    [
        Score(480),
        Score(480, (Track("", 0, False, Notes()),)),
        Score(1, (Track("", 0, False, Notes([0, 0], [1, 0], [0, 127], [127, 1])),)),
        Score(24, (Track("", 0, False, Notes([50], [9], [60], [64])),), meters=Meters([0, 7], [1, 255], [64, 1])),
        Score(32767, (Track("", 0, True, Notes([0], [0], [127], [1])),), meters=Meters([0, 9], [5, 3], [64, 32])),
    ],
)
def test_odd_scores(score):
    assert xml_of(score).find("part/measure/note") is not None


def test_too_long_for_paper():
    with pytest.raises(InputError, match=f"at most {MAX_BARS:,} bars, the score has {MAX_BARS + 1:,}"):
        to_musicxml(score_of([(0, 96 * MAX_BARS + 1, 60)]))


def test_too_many_notes_for_paper(monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_ENGRAVED_NOTES", "3")
    with pytest.raises(InputError, match=r"at most 3 notes, the score has 4 \(MUSEGEN_MAX_ENGRAVED_NOTES"):
        to_musicxml(score_of(line(60, 62, 64, 65)))


def test_abbreviations_tell_parts_apart():
    names = ("Part 17", "Partition 18", "Partly sung alto voice", "Partly sung tenor voice")
    tracks = tuple(Track(name, 73, False, Notes([0], [24], [70], [64])) for name in names)
    shorts = [e.text for e in xml_of(Score(24, tracks)).iter("part-abbreviation")]
    assert shorts == ["Part 17", "Part. 18", "Part. 1", "Part. 2"]


def test_the_first_tempo_is_printed_even_where_another_follows_soon():
    root = xml_of(score_of(line(*[60] * 40), tempos=Tempos([0, 48], [500_000, 900_000])))
    assert [e.text for e in root.iter("per-minute")] == ["120", "67"]


def test_every_program_reads_back():
    tracks = tuple(Track(f"x{program}", program, False, Notes([0], [24], [60], [64])) for program in range(128))
    again = from_music21(to_music21(Score(24, tracks)))
    assert [(track.program, track.is_drum) for track in again.tracks] == [(p, False) for p in range(128)]


def sung_in(score: Score) -> list[str]:
    return re.findall(r"<syllabic>(?:begin|single)</syllabic><text>([^<]*)", re.sub(r">\s+<", "><", to_musicxml(score)))


@pytest.mark.parametrize("kind", [TextKind.LYRIC, TextKind.TEXT])
@pytest.mark.parametrize("is_of_the_song", [False, True])
def test_words_of_a_karaoke_file_stand_under_the_melody(kind, is_of_the_song):
    melody = Track("Voice", 52, False, Notes([0, 480, 960, 1440], [480] * 4, [60, 62, 64, 65], [80] * 4))
    bass = Track("Bass", 32, False, Notes([0, 960], [960] * 2, [36, 43], [80] * 2))
    head = (Text(0, "@KMIDI KARAOKE FILE", TextKind.TEXT),)
    ticks, syllables = (0, 480, 960, 1440), ("\\Glo", "ri", "a ", "sing")
    words = head + tuple(Text(tick, syllable, kind) for tick, syllable in zip(ticks, syllables, strict=True))
    if is_of_the_song:
        score = Score(480, (bass, melody), texts=words)
    else:
        score = Score(480, (Track("Words", 0, False, Notes(), texts=words), bass, melody))
    assert sung_in(score) == ["Glo", "ri", "a", "sing"]
    assert to_musicxml(score).count("<syllabic>begin</syllabic>") == 2


def test_words_that_no_note_begins_with_are_left_out():
    melody = Track("Voice", 52, False, Notes([0], [480], [60], [80]))
    assert sung_in(Score(480, (melody,), texts=(Text(77, "late", TextKind.LYRIC),))) == []
