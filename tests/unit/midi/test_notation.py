"""Notation files and music21 streams as they sound, and what is refused."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from musegen.errors import InputError, ScoreFileError
from musegen.midi.notation import reading as notation
from musegen.midi.notation.reading import from_music21, read
from musegen.midi.notation.transfer import from_npz, to_npz
from musegen.midi.score import Score, TextKind
from musegen.midi.smf import from_bytes, to_bytes

music21 = pytest.importorskip("music21")
from music21 import (  # noqa: E402
    articulations,
    bar,
    chord,
    duration,
    dynamics,
    expressions,
    harmony,
    instrument,
    key,
    layout,
    meter,
    note,
    percussion,
    repeat,
    spanner,
    stream,
    tempo,
    tie,
)  # fmt: skip

PATH = Path("piece.musicxml")


def part_of(*measures: list, signature: str = "4/4") -> stream.Part:
    """A part of measures, each given by its elements."""
    part = stream.Part()
    for number, content in enumerate(measures, start=1):
        measure = stream.Measure(number=number)
        if number == 1:
            measure.append(meter.TimeSignature(signature))
        for element in content:
            measure.append(element)
        part.append(measure)
    return part


def n(pitch: str, quarters: float = 1.0, tied: str | None = None) -> note.Note:
    made = note.Note(pitch, quarterLength=quarters)
    if tied:
        made.tie = tie.Tie(tied)
    return made


def heard(score: Score, track: int = 0) -> list[tuple[float, float, int]]:
    """Start and duration in quarters, and pitch, of each note."""
    per = score.ticks_per_quarter
    return [(each.start_ticks / per, each.duration_ticks / per, each.pitch) for each in score.tracks[track].notes]


def pitches(score: Score, track: int = 0) -> list[int]:
    return [each.pitch for each in score.tracks[track].notes]


def meters(score: Score) -> list[tuple[float, int, int]]:
    per = score.ticks_per_quarter
    return [(each.start_ticks / per, each.numerator, each.denominator) for each in score.meters]


class TestTime:
    def test_pick_up_is_a_bar_of_its_own_length(self):
        score = from_music21(part_of([n("G4")], [n("C5", 3.0)], [n("D5", 3.0)], signature="3/4"))
        assert meters(score) == [(0, 1, 4), (1, 3, 4)]
        assert heard(score) == [(0, 1, 67), (1, 3, 72), (4, 3, 74)]

    def test_short_last_bar_needs_no_meter(self):
        assert meters(from_music21(part_of([n("C5", 3.0)], [n("D5", 2.0)], signature="3/4"))) == [(0, 3, 4)]

    def test_parts_of_one_bar_are_one_bar(self):
        part = part_of([n("G4")], [n("C5", 3.0)], [n("D5", 2.0)], [n("E5", 1.0)], [n("F5", 3.0)], signature="3/4")
        assert meters(from_music21(part)) == [(0, 1, 4), (1, 3, 4)]

    def test_meter_changes_and_odd_bars(self):
        part = part_of([n("C5", 4.0)], [meter.TimeSignature("6/8"), n("D5", 3.0)], [n("E5", 3.5)], [n("F5", 3.0)])
        assert meters(from_music21(part)) == [(0, 4, 4), (4, 6, 8), (7, 7, 8), (10.5, 6, 8)]

    def test_tuplets_are_exact(self):
        third, seventh = duration.Duration("eighth"), duration.Duration("16th")
        third.appendTuplet(duration.Tuplet(3, 2))
        seventh.appendTuplet(duration.Tuplet(7, 4))
        notes = [note.Note("C4", duration=third) for _ in range(3)]
        notes += [note.Note("D4", duration=seventh) for _ in range(7)]
        score = from_music21(part_of(notes, signature="2/4"))
        assert score.ticks_per_quarter == 480 * 7
        assert score.tracks[0].notes.start_ticks.tolist() == [
            *(1120 * i for i in range(3)), *(3360 + 480 * i for i in range(7))
        ]  # fmt: skip

    def test_times_that_no_ticks_hold_are_rounded(self):
        part = stream.Part()
        for denominator in (7, 11, 13, 17, 19):
            part.append(note.Note("C4", quarterLength=1 / denominator))
        score = from_music21(part)
        assert score.ticks_per_quarter == 10080
        assert score.tracks[0].notes.start_ticks[1] == 1440

    def test_parts_stay_together_where_one_has_a_measure_too_long(self):
        long, good = part_of([n("C4", 4.25)], [n("D4", 4.0)]), part_of([n("C3", 4.0)], [n("D3", 4.0)])
        score = from_music21(stream.Score([long, good]))
        assert heard(score)[1] == (4, 4, 62)
        assert heard(score, 1)[1] == (4, 4, 50)
        assert meters(score) == [(0, 4, 4)]

    def test_tempos_by_number_and_by_word(self):
        part = part_of(
            [tempo.MetronomeMark(number=60, referent=note.Note(type="half")), n("C4", 4.0)],
            [tempo.MetronomeMark("Allegro"), n("C4", 4.0)],
        )
        assert from_music21(part).tempos.bpm.tolist() == [120, pytest.approx(132, abs=0.01)]

    def test_of_two_tempos_at_one_place_the_written_number_counts(self):
        marks = [
            tempo.MetronomeMark("Allegro"),
            tempo.MetronomeMark(numberSounding=100),
            tempo.MetronomeMark(number=80),
        ]
        assert from_music21(part_of([*marks, n("C4", 4.0)])).tempos.bpm.tolist() == [80]
        assert from_music21(part_of([*marks[:2], n("C4", 4.0)])).tempos.bpm.tolist() == [100]

    def test_tempo_over_the_score_counts(self):
        score = stream.Score([part_of([n("C4", 4.0)])])
        score.insert(0, tempo.MetronomeMark(number=90))
        assert from_music21(score).tempos.us_per_quarter.tolist() == [666667]


class TestOrder:
    def test_repeat(self):
        part = part_of([n("C4", 4.0)], [n("D4", 4.0)], [n("E4", 4.0)])
        part[stream.Measure][1].leftBarline = bar.Repeat("start")
        part[stream.Measure][1].rightBarline = bar.Repeat("end", times=3)
        assert heard(from_music21(part)) == [(0, 4, 60), (4, 4, 62), (8, 4, 62), (12, 4, 62), (16, 4, 64)]

    def test_first_and_second_ending(self):
        part = part_of([n("C4", 4.0)], [n("D4", 4.0)], [n("E4", 4.0)], [n("F4", 4.0)])
        measures = list(part[stream.Measure])
        measures[1].rightBarline = bar.Repeat("end")
        part.insert(0, spanner.RepeatBracket(measures[1], number=1))
        part.insert(0, spanner.RepeatBracket(measures[2], number=2))
        assert pitches(from_music21(part)) == [60, 62, 60, 64, 65]

    def test_endings_without_a_repeat_are_played_through(self):
        part = part_of([n("C4", 4.0)], [n("D4", 4.0)], [n("E4", 4.0)])
        measures = list(part[stream.Measure])
        part.insert(0, spanner.RepeatBracket(measures[1], number=1))
        part.insert(0, spanner.RepeatBracket(measures[2], number=2))
        assert pitches(from_music21(part)) == [60, 62, 64]

    def test_da_capo_al_fine(self):
        part = part_of([n("C4", 4.0)], [n("D4", 4.0)], [n("E4", 4.0)])
        part[stream.Measure][0].rightBarline = bar.Repeat("end")
        part[stream.Measure][1].append(repeat.Fine())
        part[stream.Measure][2].append(repeat.DaCapoAlFine())
        assert pitches(from_music21(part)) == [60, 60, 62, 64, 60, 62]

    def test_dal_segno_al_coda(self):
        part = part_of(*([n(each, 4.0)] for each in ("C4", "D4", "E4", "F4", "G4")))
        measures = list(part[stream.Measure])
        measures[1].insert(0, repeat.Segno())
        measures[2].append(repeat.Coda("to Coda"))
        measures[3].append(repeat.DalSegnoAlCoda())
        measures[4].insert(0, repeat.Coda())
        assert pitches(from_music21(part)) == [60, 62, 64, 65, 62, 64, 67]

    def test_jump_to_nowhere_is_passed_over_and_counted(self):
        part = part_of([n("C4", 4.0)], [n("D4", 4.0)])
        part[stream.Measure][1].append(repeat.DalSegnoAlCoda())
        score = from_music21(part)
        assert pitches(score) == [60, 62]
        assert score.left_out == {"repeats": 1}

    def test_signs_hold_again_where_the_music_goes_back(self):
        part = part_of(
            [key.Key("C"), tempo.MetronomeMark(number=60), n("C4", 4.0)],
            [key.Key("D"), tempo.MetronomeMark(number=120), meter.TimeSignature("2/4"), n("D4", 2.0)],
        )
        part[stream.Measure][1].rightBarline = bar.Repeat("end")
        score = from_music21(part)
        assert meters(score) == [(0, 4, 4), (4, 2, 4), (6, 4, 4), (10, 2, 4)]
        assert score.tempos.bpm.tolist() == [60, 120, 60, 120]
        assert score.keys.sharps.tolist() == [0, 2, 0, 2]

    def test_repeats_without_end(self):
        part = part_of([n("C4", 4.0)])
        part[stream.Measure][0].rightBarline = bar.Repeat("end", times=1_000_000_000)
        with pytest.raises(InputError, match="repeats play more than 100,000 bars"):
            from_music21(part)


class TestNotes:
    def test_ties_are_one_note_across_bars_and_voices(self):
        part = part_of([n("C4", 4.0, "start")], [n("C4", 4.0, "continue")])
        last = stream.Measure(number=3)
        last.insert(0, stream.Voice([n("C4", 2.0, "stop"), n("C4", 2.0)]))
        last.insert(0, stream.Voice([n("E3", 4.0)]))
        part.append(last)
        assert heard(from_music21(part)) == [(0, 10, 60), (8, 4, 52), (10, 2, 60)]

    def test_tie_of_one_note_of_a_chord(self):
        first, second = chord.Chord("C4 E4", quarterLength=4.0), chord.Chord("C4 F4", quarterLength=4.0)
        first.notes[0].tie, second.notes[0].tie = tie.Tie("start"), tie.Tie("stop")
        assert heard(from_music21(part_of([first], [second]))) == [(0, 8, 60), (0, 4, 64), (4, 4, 65)]

    def test_two_notes_of_a_pitch_are_tied_each_to_its_own(self):
        part = part_of([n("C4", 4.0, "start")], [n("C4", 4.0, "stop")])
        for measure, tied in zip(part[stream.Measure], ("start", "stop"), strict=True):
            measure.insert(0, n("C4", 4.0, tied))
        assert heard(from_music21(part)) == [(0, 8, 60), (0, 8, 60)]

    def test_grace_notes_take_their_time_from_the_main_note(self):
        graces = [n("D5", 0.5).getGrace(), n("E5", 0.5).getGrace()]
        assert heard(from_music21(part_of([n("C4", 2.0), *graces, n("F5", 2.0)]))) == [
            (0, 2, 60), (2, 0.125, 74), (2.125, 0.125, 76), (2.25, 1.75, 77)
        ]  # fmt: skip

    def test_grace_notes_at_the_end_take_it_from_the_note_before(self):
        assert heard(from_music21(part_of([n("C4", 4.0), n("D5", 0.5).getGrace()], [n("E4", 4.0)]))) == [
            (0, 3.875, 60), (3.875, 0.125, 74), (4, 4, 64)
        ]  # fmt: skip

    def test_chords_rests_and_voices(self):
        measure = stream.Measure([meter.TimeSignature("4/4")])
        measure.insert(0, stream.Voice([note.Rest(quarterLength=1), chord.Chord("C5 E5", quarterLength=3.0)]))
        measure.insert(0, stream.Voice([n("C3", 2.0), n("D3", 2.0)]))
        assert heard(from_music21(measure)) == [(0, 2, 48), (1, 3, 72), (1, 3, 76), (2, 2, 50)]

    def test_chord_symbols_are_silent(self):
        score = from_music21(part_of([harmony.ChordSymbol("Cm7"), n("C4", 4.0)]))
        assert pitches(score) == [60]
        assert score.left_out == {"chord symbols": 1}

    def test_fermatas_have_no_length(self):
        held = n("C4", 2.0)
        held.expressions.append(expressions.Fermata())
        assert heard(from_music21(part_of([held, n("D4", 2.0)]))) == [(0, 2, 60), (2, 2, 62)]

    @pytest.mark.parametrize(
        ("player", "sounding", "sharps"),
        [(instrument.Clarinet(), 58, 0), (instrument.Horn(), 53, 1), (instrument.Contrabass(), 48, 2)],
    )
    def test_transposing_instruments_sound(self, player, sounding, sharps):
        part = part_of([key.Key("D"), n("C4", 4.0)])
        part.insert(0, player)
        part.atSoundingPitch = False
        score = from_music21(part)
        assert pitches(score) == [sounding]
        assert score.keys.sharps.tolist() == [sharps]
        assert score.tracks[0].program == player.midiProgram
        part.atSoundingPitch = True
        assert pitches(from_music21(part)) == [60]

    def test_pitches_out_of_range_are_counted(self):
        low = note.Note()
        low.pitch.ps = -5
        score = from_music21(part_of([n("C4", 2.0), low]))
        assert pitches(score) == [60]
        assert score.left_out == {"notes": 1}

    def test_dynamics_and_accents_become_velocities(self):
        accented = n("C4")
        accented.articulations.append(articulations.Accent())
        part = part_of([n("C4"), dynamics.Dynamic("pp"), n("C4"), dynamics.Dynamic("f"), n("C4"), accented])
        velocities = from_music21(part).tracks[0].notes.velocity.tolist()
        assert velocities[0] == 90
        assert velocities[1] < velocities[0] < velocities[2] < velocities[3] <= 127
        assert velocities == [round(each.volume.getRealized() * 127) for each in part.recurse().notes]

    def test_velocity_of_a_note_from_midi_is_kept(self):
        loud = n("C4", 4.0)
        loud.volume.velocity, loud.volume.velocityIsRelative = 33, False
        assert from_music21(part_of([dynamics.Dynamic("ff"), loud])).tracks[0].notes.velocity.tolist() == [33]


class TestTracks:
    def test_two_staves_of_a_piano_are_one_track(self):
        right, left = stream.PartStaff([n("C5", 4.0)]), stream.PartStaff([n("C3", 4.0)])
        violin = stream.Part([instrument.Violin(), n("E5", 4.0)])
        score = from_music21(stream.Score([violin, right, left, layout.StaffGroup([right, left], symbol="brace")]))
        assert [len(track.notes) for track in score.tracks] == [1, 2]
        assert (score.tracks[0].name, score.tracks[0].program) == ("Violin", 40)

    def test_a_midi_file_has_the_instrument(self):
        score = from_music21(part_of([instrument.Violin(), n("C5", 4.0)]))
        assert from_bytes(to_bytes(score)) == score
        assert [(track.program, track.programs) for track in score.tracks] == [(40, None)]

    def test_instrument_changes(self):
        part = part_of([instrument.Flute(), n("C5", 4.0)], [instrument.Piccolo(), n("C5", 4.0)])
        track = from_music21(part).tracks[0]
        assert track.program == 73
        assert [tuple(each) for each in track.programs] == [(0, 73), (1920, 72)]

    def test_unpitched_notes_are_drums(self):
        kick, snare = note.Unpitched(quarterLength=2), note.Unpitched(quarterLength=2)
        kick.storedInstrument, snare.storedInstrument = instrument.BassDrum(), instrument.SnareDrum()
        both = percussion.PercussionChord([kick, snare], quarterLength=2)
        score = from_music21(part_of([both, n("C4", 2.0)]))
        pitched, drums = score.tracks
        assert (pitched.is_drum, drums.is_drum, drums.channel) == (False, True, 9)
        assert sorted(drums.notes.pitch.tolist()) == sorted(
            each.storedInstrument.percMapPitch for each in (kick, snare)
        )

    def test_lyrics_and_verses(self):
        word, end = n("C4", 2.0), n("D4", 2.0)
        word.lyrics = [note.Lyric("first", 1, syllabic="begin"), note.Lyric("second", 2)]
        end.lyrics = [note.Lyric("end", 1)]
        part = part_of([word, end])
        part[stream.Measure][0].rightBarline = bar.Repeat("end")
        texts = from_music21(part).tracks[0].texts
        assert [(each.start_ticks, each.text) for each in texts] == [
            (0, "first-"), (960, "end"), (1920, "second"), (2880, "end")
        ]  # fmt: skip
        assert {each.kind for each in texts} == {TextKind.LYRIC}

    def test_verses_that_are_never_sung_are_counted(self):
        word = n("C4", 4.0)
        word.lyrics = [note.Lyric(text, number) for number, text in enumerate(("one", "two", "three"), start=1)]
        score = from_music21(part_of([word]))
        assert [each.text for each in score.tracks[0].texts] == ["one"]
        assert score.left_out == {"lyrics": 2}

    def test_keys_names_marks(self):
        part = part_of([key.Key("a"), n("C4", 4.0)], [key.KeySignature(-3), expressions.RehearsalMark("B"), n("C4", 4)])
        part.partName = "Solo"
        score = stream.Score([part])
        score.metadata = music21.metadata.Metadata(title="Elegy")
        made = from_music21(score)
        assert [tuple(each) for each in made.keys] == [(0, 0, True), (1920, -3, False)]
        assert (made.name, made.tracks[0].name, made.texts[0].text) == ("Elegy", "Solo", "B")

    def test_opus_is_its_first_piece(self):
        opus = stream.Opus([stream.Score([part_of([n(each, 4.0)])]) for each in ("C4", "D4")])
        score = from_music21(opus)
        assert pitches(score) == [60]
        assert score.left_out == {"tunes": 1}

    @pytest.mark.parametrize("empty", [stream.Stream(), stream.Score(), stream.Part(), stream.Measure(), stream.Opus()])
    def test_nothing_is_a_score_too(self, empty):
        assert from_music21(empty).n_notes == 0

    def test_no_stream(self):
        with pytest.raises(InputError, match="must be a music21 stream, got str"):
            from_music21("C4")

    def test_the_stream_is_left_as_it_is(self):
        part = part_of([instrument.Clarinet(), n("C4", 4.0)])
        part.atSoundingPitch = False
        from_music21(part)
        assert part.recurse().notes[0].pitch.nameWithOctave == "C4"


def xml_note(step: str = "C", quarters: str = "4", more: str = "") -> str:
    return f"<note><pitch><step>{step}</step><octave>4</octave></pitch><duration>{quarters}</duration>{more}</note>"


def xml(notes: str, attributes: str = "<divisions>1</divisions>", doctype: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<score-partwise version="3.1">'
        "<work><work-title>Title</work-title></work>"
        '<part-list><score-part id="P1"><part-name>Oboe</part-name></score-part></part-list>'
        f'<part id="P1"><measure number="1"><attributes>{attributes}</attributes>{notes}</measure></part>'
        "</score-partwise>"
    ).encode()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return buffer.getvalue()


def container(path: str) -> bytes:
    return f'<container><rootfiles><rootfile full-path="{path}"/></rootfiles></container>'.encode()


TIMEWISE = (
    b'<!DOCTYPE score-timewise PUBLIC "-//Recordare//DTD MusicXML 3.1 Timewise//EN" "http://127.0.0.1:9/a.dtd"><score-timewise>'
    b'<part-list><score-part id="A"><part-name/></score-part><score-part id="B"><part-name/></score-part>'
    b'</part-list><measure number="1"><part id="A">%s</part><part id="B">%s</part></measure><measure number="2">'
    b'<part id="A">%s</part><part id="B">%s</part></measure></score-timewise>'
) % tuple(xml_note(step).encode() for step in "CDEF")  # fmt: skip
ABC = b"%abc\n\nX:1\nT:Tune\nM:3/4\nL:1/4\nK:G\nD|G2 F|:{A}G2 B|c3:|\n\nX:2\nT:Other\nK:C\nC\n"
HUMDRUM = b"!!!OTL: Piece\n**kern\t**kern\n*M4/4\t*M4/4\n=1\t=1\n2C\t4c\n.\t4d\n2D\t2e\n*-\t*-\n"
UTF_16 = xml(xml_note()).decode().replace("UTF-8", "UTF-16").encode("utf-16")


class TestFiles:
    """Each of these starts a process, so one file tests much."""

    def test_musicxml(self):
        notes = xml_note() + (
            '<barline location="right"><repeat direction="backward"/></barline></measure><measure number="2">'
        ) + xml_note("D", more="<lyric><text>la</text></lyric>")  # fmt: skip
        transpose = "<divisions>1</divisions><transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
        score = read(PATH, xml(notes, transpose))
        assert heard(score) == [(0, 4, 58), (4, 4, 58), (8, 4, 60)]
        assert (score.name, score.tracks[0].name, score.tracks[0].program) == ("Title", "Oboe", 68)
        assert [(each.start_ticks, each.text) for each in score.tracks[0].texts] == [(3840, "la")]

    def test_timewise(self):
        score = read(PATH, TIMEWISE)
        assert [pitches(score, track) for track in (0, 1)] == [[60, 64], [62, 65]]

    def test_utf_16(self):
        assert pitches(read(PATH, UTF_16)) == [60]

    def test_compressed(self):
        files = {"META-INF__container_xml": container("in/a.xml"), "in__a_xml": xml(xml_note("E"))}
        assert pitches(read(PATH, zipped(other_xml=b"", **files))) == [64]

    def test_compressed_without_container(self):
        assert pitches(read(PATH, zipped(in__a_xml=xml(xml_note("E"))))) == [64]

    def test_abc(self):
        score = read(PATH, ABC)
        assert pitches(score) == [62, 67, 66, *(69, 67, 71, 72) * 2]
        assert meters(score) == [(0, 1, 4), (1, 3, 4)]
        assert (score.name, score.left_out) == ("Tune", {"tunes": 1})

    def test_abc_without_a_length_counts_eighths(self):
        assert heard(read(PATH, b"X:1\nK:C\nCD\n")) == [(0, 0.5, 60), (0.5, 0.5, 62)]

    def test_humdrum(self):
        score = read(PATH, HUMDRUM)
        assert sorted(heard(score) + heard(score, 1)) == [(0, 1, 60), (0, 2, 48), (1, 1, 62), (2, 2, 50), (2, 2, 64)]

    def test_no_connection_and_no_file_is_opened(self):
        doctype = '<!DOCTYPE score-partwise SYSTEM "http://127.0.0.1:{}/a.dtd">'
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            read(PATH, xml(xml_note(), doctype=doctype.format(server.getsockname()[1])))
            with pytest.raises(BlockingIOError):
                server.accept()


def entity(declaration: str) -> bytes:
    return xml(xml_note("&a;"), doctype=f"<!DOCTYPE score-partwise [{declaration}]>")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello world\n", "is not music that musegen reads"),
        (bytes(range(256)) * 9, "is not music that musegen reads"),
        (b"\xff\xfe\x00", "is not music that musegen reads"),
        (b"X:1\n", "is not music that musegen reads"),
        (b"<?xml", "is XML but not MusicXML"),
        (b"<!DOCTYPE html><html/>", "is XML but not MusicXML: it begins with <html>"),
        (xml(xml_note())[:-40], "is damaged or cut off"),
        (xml("<a>" * 200), "nested more than 100 deep"),
        (xml(xml_note()).replace(b"UTF-8", b"utf-7"), "in an encoding that cannot be read"),
        (entity('<!ENTITY b "bbbbbbbb"><!ENTITY a "&b;&b;&b;">'), "declares the XML entity 'b'"),
        (entity('<!ENTITY a SYSTEM "file:///etc/passwd">'), "declares the XML entity 'a'"),
        (entity('<!ENTITY % a SYSTEM "http://127.0.0.1:9/"> %a;'), "declares the XML entity 'a'"),
        (b"PK\x03\x04", "is a damaged zip archive"),
        (zipped(a_xml=xml(xml_note()))[:-30], "is a damaged zip archive"),
        (zipped(a_txt=b"text"), "is a zip archive without MusicXML"),
        (zipped(a_xml=b"text"), "is a zip archive without MusicXML"),
        (zipped(**{"META-INF__container_xml": container("../../etc/passwd")}), "which is not in it"),
        (zipped(**{"META-INF__container_xml": b"<a"}), "container.xml cannot be read"),
        (zipped(**{"META-INF__container_xml": b"<a/>"}), "names no score"),
        (zipped(**{f"a{number}": b"" for number in range(10_001)}), "is a zip archive of 10,001 files"),
        (b"**kern\n" + b"\t".join([b"*^"] * 501), "has more than 500 spines"),
    ],
)  # fmt: skip
def test_refused_at_a_glance(data, reason, monkeypatch):
    monkeypatch.setattr(notation, "_read_apart", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(ScoreFileError, match=reason) as caught:
        read(PATH, data)
    assert str(caught.value).startswith("piece.musicxml: ")
    assert "\n" not in str(caught.value)


def test_zip_bomb(monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_UNPACKED_BYTES", "1000000")
    with pytest.raises(ScoreFileError, match="unpacks to more than 1,000,000 bytes"):
        read(PATH, zipped(a_xml=xml(" " * 2_000_000)))


def refusal(data: bytes) -> str:
    with pytest.raises(ScoreFileError) as caught:
        read(PATH, data)
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (xml(xml_note(quarters="1000000000")), "has a time or a duration of 1000000000.0 quarters"),
        (xml(xml_note(quarters="nan")), "is damaged: it cannot be read as MusicXML"),
        (xml(xml_note(quarters="-4")), "is damaged: it cannot be read as MusicXML"),
        (xml(xml_note(), "<divisions>0</divisions>"), "is damaged: it cannot be read as MusicXML"),
        (xml(xml_note(), "<time><beats>999999999</beats><beat-type>4</beat-type></time>"), "of memory"),
        (b"X:1\nL:1/0\nK:C\nC\n", "is damaged: it cannot be read as ABC"),
        (b"**kern\t**kern\n4c\n\x01\t\x02\t\x03\n", "is damaged: it cannot be read as Humdrum"),
    ],
)
def test_refused_by_the_process(data, reason, monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_READ_BYTES", str(1 << 30))
    if "memory" in reason:
        pytest.importorskip("resource", reason="no limit on memory here")
    assert reason in refusal(data)


LONG = xml(xml_note(quarters="1") * 40_000)


def test_too_long(monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_READ_SECONDS", "1")
    assert "takes longer than 1 seconds to read (MUSEGEN_MAX_READ_SECONDS raises" in refusal(LONG)


def test_too_many_notes(monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_NOTES", "2")
    with pytest.raises(InputError, match="plays more than 2 notes"):
        from_music21(part_of([n("C4"), n("D4"), n("E4")]))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_the_process(monkeypatch):
    started: list[subprocess.Popen] = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with pytest.raises(KeyboardInterrupt):
        read(PATH, LONG)
    assert started[0].poll() is not None


def test_a_reader_that_dies(monkeypatch):
    monkeypatch.setattr(notation, "_WORKER", ("-c", "import os; os.abort()"))
    assert "its reader died" in refusal(b"X:1\nK:C\nC\n")


def test_what_comes_back_is_what_was_read():
    part = part_of([instrument.Flute(), n("C4", 4.0)], [instrument.Piccolo(), key.Key("d"), n("C4", 4.0)])
    part[stream.Measure][0].notes[0].lyric = "łódź"
    part[stream.Measure][0].insert(0, harmony.ChordSymbol("C"))
    score = from_music21(stream.Score([part]))
    back = from_npz(to_npz(score))
    assert back == score
    assert back.left_out == score.left_out


def test_drums_and_programs_of_a_file_are_kept():
    from musegen.midi.engraving import to_musicxml
    from musegen.midi.score import Notes, Track

    drums = Track("", 0, True, Notes([0, 0, 24, 48], [24] * 4, [36, 42, 38, 46], [90] * 4))
    tracks = [Track(f"x{p}", p, False, Notes([0], [24], [60], [64])) for p in range(128)]
    score = read(PATH, to_musicxml(Score(24, (drums, *tracks))).encode())
    assert sorted(pitches(score)) == [36, 38, 42, 46]
    assert [(track.program, track.is_drum) for track in score.tracks[1:]] == [(p, False) for p in range(128)]
