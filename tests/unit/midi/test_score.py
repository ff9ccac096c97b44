"""Scores: values, and the way through a MIDI file and back."""

import dataclasses
import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError, ScoreFileError
from musegen.midi.score import (
    MAX_TICKS,
    Controls,
    KeyPressures,
    Keys,
    Meters,
    Notes,
    PitchBends,
    Pressures,
    Programs,
    Score,
    Tempos,
    Text,
    TextKind,
    Track,
)
from musegen.midi.smf import from_bytes, to_bytes

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def notes(draw) -> Notes:
    """Notes that MIDI can tell apart: of equal pitches, the one that starts first ends first."""
    rows: list[tuple[int, int, int, int]] = []
    for pitch in draw(st.lists(st.integers(0, 127), min_size=1, max_size=4, unique=True)):
        start_ticks = end_ticks = draw(st.integers(0, 1000))
        for step, stay, velocity in draw(
            st.lists(st.tuples(st.integers(1, 50), st.integers(0, 90), st.integers(1, 127)), min_size=1, max_size=6)
        ):
            start_ticks += step
            end_ticks = max(end_ticks + 1, start_ticks) + stay
            rows.append((start_ticks, end_ticks - start_ticks, pitch, velocity))
    return Notes(*zip(*rows, strict=True))


def changes(kind, *values):
    return st.lists(st.tuples(st.integers(0, 2000), *values), max_size=5).map(
        lambda rows: kind(*zip(*rows, strict=True))
    )


# The first name of a track is its name; mido loses the time of what it does not know, a program's name.
KINDS = [kind for kind in TextKind if kind not in (TextKind.NAME, TextKind.PROGRAM)]
song_texts = st.lists(
    st.builds(Text, st.integers(0, 2000), texts, st.sampled_from(KINDS)),
    max_size=4,
).map(tuple)
tracks = st.builds(
    Track,
    name=texts,
    pressures=changes(Pressures, st.integers(0, 127)),
    key_pressures=changes(KeyPressures, st.integers(0, 127), st.integers(0, 127)),
    texts=song_texts,
    program=st.integers(0, 127),
    is_drum=st.booleans(),
    notes=notes(),
    controls=changes(Controls, st.integers(0, 127), st.integers(0, 127)),
    pitch_bends=changes(PitchBends, st.integers(-8192, 8191)),
)
scores = st.builds(
    Score,
    ticks_per_quarter=st.integers(1, 32767),
    tracks=st.lists(tracks, max_size=5).map(tuple),
    tempos=changes(Tempos, st.integers(1, 0xFFFFFF)),
    meters=changes(Meters, st.integers(1, 255), st.sampled_from([1, 2, 4, 8, 16, 32, 64])),
    keys=changes(Keys, st.integers(-7, 7), st.booleans()),
    texts=song_texts,
    name=texts,
)


@settings(max_examples=60, deadline=None)
@given(score=scores)
def test_what_is_written_is_read_again(tmp_path_factory, score):
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    score.write(path)
    written = path.read_bytes()
    again = Score.read(path)
    assert again == score
    assert not again.left_out
    again.write(path)
    assert path.read_bytes() == written
    assert [child.name for child in path.parent.iterdir()] == ["a.mid"]
    places = [(track.port, track.channel) for track in again.tracks if not track.is_drum]
    assert len(set(places)) == len(places)


def part(name: str = "", program: int = 0, **places) -> Track:
    return Track(name, program, False, Notes([0], [10], [60], [80]), **places)


def written_and_read(*tracks: Track, **of_song) -> Score:
    return from_bytes(to_bytes(Score(480, tracks, **of_song)))


LYRIC = (Text(0, "la", TextKind.LYRIC),)


@pytest.mark.parametrize(
    "tracks",
    [
        (part("a", channel=2, chunk=1), part("b", channel=2, chunk=1)),
        (part("a", channel=2, chunk=1), part("a", channel=2, chunk=1)),
        (part(program=1, channel=3, chunk=1), part(program=2, channel=2, chunk=1)),
        (part(program=1, channel=3, chunk=1), part(program=2, chunk=2), part(program=3, channel=4, chunk=1)),
        (part(channel=3, chunk=0, texts=LYRIC),),
        (part(channel=3, chunk=1), part(channel=4, chunk=1, texts=LYRIC)),
        (Track("", 0, False, Notes(), chunk=0),),
        (Track("", 0, False, Notes(), chunk=3), part(program=5)),
    ],
    ids=["channel", "name and channel", "order", "between", "texts of the first", "texts", "empty first", "empty"],
)
def test_tracks_that_were_moved_and_changed_stay_apart_and_in_order(tracks):
    assert written_and_read(*tracks) == Score(480, tracks)


def test_an_empty_name_in_a_file_makes_a_track_that_stays():
    named = bytes.fromhex("4d54726b 00000008 00ff0300 00ff2f00")
    score = from_bytes(bytes.fromhex("4d546864 00000006 0001 0002 01e0 4d54726b 00000004 00ff2f00") + named)
    assert len(score.tracks) == 1 and from_bytes(to_bytes(score)) == score


@pytest.mark.parametrize("programs", [Programs(), Programs([5], [7])])
@pytest.mark.parametrize("channel", [None, 3])
def test_a_program_that_no_change_chooses_is_written(programs, channel):
    (track,) = written_and_read(part(program=5, programs=programs, channel=channel)).tracks
    assert track.program == 5 and track.programs_of(np.array([0, 5])).tolist() == [5, 7 if len(programs) else 5]


def test_a_track_without_changes_takes_the_program_of_its_channel():
    tracks = (part(program=5, channel=3), part(program=5, programs=Programs(), channel=3))
    assert written_and_read(*tracks) == Score(480, tracks)
    (alone,) = written_and_read(tracks[1]).tracks
    assert alone.program == 5


@pytest.mark.parametrize("name", ["Ã©", "é", "é 日本", "plain"])
def test_texts_in_latin_1_are_read_as_they_were(name):
    assert written_and_read(name=name, encoding="latin-1").name == name


def test_wrong_texts():
    with pytest.raises(InputError, match=r"kind 1\.\.9\): 42 is not a valid TextKind"):
        Score(480, texts=((0, "a", 42),))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a text must be a str, got None"):
        Score(480, texts=((0, None),))  # type: ignore[arg-type]


def mido_notes(track: mido.MidiTrack) -> list[tuple[int, int, int, int]]:
    """An independent reading of one track: (start, duration, pitch, velocity), first in first out."""
    now, sounding, rows = 0, {}, []
    for message in track:
        now += message.time
        if message.type == "note_on" and message.velocity:
            sounding.setdefault(message.note, []).append((now, message.velocity))
        elif message.type in ("note_on", "note_off"):
            start, velocity = sounding[message.note].pop(0)
            rows.append((start, now - start, message.note, velocity))
    return sorted(rows)


@settings(max_examples=40, deadline=None)
@given(score=scores.filter(lambda score: score.tracks))
def test_mido_reads_the_same(tmp_path_factory, score):
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    score.write(path)
    file = mido.MidiFile(path, charset="utf-8")
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (1, score.ticks_per_quarter, 1 + len(score.tracks))
    for track, written in zip(score.tracks, file.tracks[1:], strict=True):
        assert mido_notes(written) == sorted(tuple(note) for note in track.notes)
        assert written.name == track.name
        channels = {message.channel for message in written if not message.is_meta}
        assert len(channels) == 1 and (channels == {9}) == track.is_drum
        assert [m.program for m in written if m.type == "program_change"] == [track.program]
        assert [m.pitch for m in written if m.type == "pitchwheel"] == track.pitch_bends.value.tolist()
        assert [m.value for m in written if m.type == "aftertouch"] == track.pressures.value.tolist()
        assert [(m.note, m.value) for m in written if m.type == "polytouch"] == [k[1:] for k in track.key_pressures]
        assert [(m.control, m.value) for m in written if m.type == "control_change"] == [c[1:] for c in track.controls]
    song = file.tracks[0]
    assert [m.tempo for m in song if m.type == "set_tempo"] == score.tempos.us_per_quarter.tolist()
    assert [(m.numerator, m.denominator) for m in song if m.type == "time_signature"] == [m[1:] for m in score.meters]
    assert [m.text for m in song if m.type == "marker"] == [t.text for t in score.texts if t.kind == TextKind.MARKER]
    assert [m.text for m in song if m.type == "lyrics"] == [t.text for t in score.texts if t.kind == TextKind.LYRIC]


def hand_made() -> Score:
    melody = Track("Melody", 40, False, Notes([0, 480], [480, 960], [67, 69], [80, 90]))
    beat = Track("", 0, True, Notes([0], [10], [36], [100]))
    return Score(480, (melody, beat), tempos=Tempos([480], [1_000_000]), texts=((0, "made by a test"),))


def test_defaults_hold_from_tick_0():
    score = hand_made()
    assert [tuple(tempo) for tempo in score.tempos] == [(0, 500_000), (480, 1_000_000)]
    assert [tuple(meter) for meter in score.meters] == [(0, 4, 4)]
    assert Score(96).tempos.bpm.tolist() == [120.0]
    assert Score(96, meters=Meters([0], [3], [4])).meters[0].numerator == 3


def test_lengths():
    score = hand_made()
    assert (score.n_notes, score.end_ticks, score.duration_seconds) == (3, 1440, 2.5)
    assert score.seconds_at(240) == 0.25 and type(score.seconds_at(240)) is float
    assert score.seconds_at(np.array([0, 480, 960])).tolist() == [0.0, 0.5, 1.5]
    assert (Score(96).n_notes, Score(96).end_ticks, Score(96).duration_seconds) == (0, 0, 0.0)


def test_scores_are_values():
    score = hand_made()
    assert score == hand_made() and hash(score) == hash(hand_made())
    longer = dataclasses.replace(score.tracks[0], notes=score.tracks[0].notes.joined(Notes([1440], [480], [71], [80])))
    continued = dataclasses.replace(score, tracks=(longer, *score.tracks[1:]))
    assert continued != score and continued.end_ticks == 1920 and score.end_ticks == 1440
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.ticks_per_quarter = 1


def test_equal_scores_give_equal_bytes(tmp_path):
    hand_made().write(tmp_path / "a.mid")
    hand_made().write(tmp_path / "b.mid")
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


def test_texts_are_kept_in_order_of_time():
    score = Score(96, texts=((7, "c"), (0, "a"), (7, "b")))
    assert [tuple(text[:2]) for text in score.texts] == [(0, "a"), (7, "c"), (7, "b")]
    assert {text.kind for text in score.texts} == {TextKind.MARKER}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Score(0), "ticks_per_quarter must be 1..32767, got 0"),
        (lambda: Score(32768), "got 32768"),
        (lambda: Score(96, texts=((-1, "a"),)), "tick of a text must be 0..268435455, got -1"),
        (lambda: Track("", 0, False, Notes(), channel=16), "channel must be 0..15, got 16"),
        (lambda: Track("", 0, True, Notes(), channel=3), "drums play on channel 9 and nothing else does, got 3"),
        (lambda: Track("", 0, False, Notes(), port=128), "port must be 0..127, got 128"),
        (lambda: Track("", 0, False, Notes(), chunk=-1), "chunk must be 0 or more, got -1"),
        (lambda: Track("", 128, False, Notes()), "program must be 0..127, got 128"),
    ],
)
def test_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_what_no_file_can_hold_is_refused_and_nothing_is_left(tmp_path):
    too_long = Score(96, (Track("", 0, False, Notes([MAX_TICKS], [1], [60], [64])),))
    with pytest.raises(InputError, match=r"must end by tick 268435455 .* got 268435456"):
        too_long.write(tmp_path / "a.mid")
    with pytest.raises(InputError, match="UTF-8"):
        Score(96, texts=((0, "\ud800"),)).write(tmp_path / "a.mid")
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(ScoreFileError, match=r"the folder .*nowhere does not exist"):
        hand_made().write(tmp_path / "nowhere" / "a.mid")
    with pytest.raises(ScoreFileError, match="it is a folder"):
        (tmp_path / "folder.mid").mkdir()
        hand_made().write(tmp_path / "folder.mid")
    (tmp_path / "folder.mid").rmdir()
    with pytest.raises(ScoreFileError, match="cannot be written: File name too long"):
        hand_made().write(tmp_path / ("a" * 300 + ".mid"))
    with pytest.raises(ScoreFileError, match="cannot be written: embedded null"):
        hand_made().write(tmp_path / "a\0.mid")
    assert not list(tmp_path.iterdir())


def test_an_old_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.mid"
    hand_made().write(path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(ScoreFileError, match="No space left on device"):
        Score(96).write(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def midi_bytes(*messages: mido.Message) -> bytes:
    file = mido.MidiFile()
    file.tracks.append(mido.MidiTrack(messages))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def test_a_track_on_two_channels_becomes_two(tmp_path):
    messages = [mido.Message("note_on", note=60, channel=channel) for channel in (0, 9)]
    messages += [mido.Message("note_off", note=60, channel=channel, time=5) for channel in (0, 9)]
    (tmp_path / "a.mid").write_bytes(midi_bytes(*messages))
    first, second = Score.read(tmp_path / "a.mid").tracks
    assert (first.is_drum, first.notes[0][:3]) == (False, (0, 5, 60))
    assert (second.is_drum, second.notes[0][:3]) == (True, (0, 10, 60))
    Score.read(tmp_path / "a.mid").write(tmp_path / "b.mid")
    assert len(mido.MidiFile(tmp_path / "b.mid").tracks) == 1


def test_a_channel_shares_the_programs_of_its_other_track(tmp_path):
    file = mido.MidiFile()
    right, left = mido.MidiTrack(), mido.MidiTrack()
    right += [mido.Message("program_change", program=6, channel=2), mido.Message("note_on", note=70, channel=2)]
    right += [mido.Message("note_off", note=70, channel=2, time=9)]
    left += [mido.Message("note_on", note=50, channel=2), mido.Message("note_off", note=50, channel=2, time=9)]
    file.tracks += [mido.MidiTrack(), right, left]
    file.save(tmp_path / "a.mid")
    score = Score.read(tmp_path / "a.mid")
    assert [(track.program, track.channel, track.chunk) for track in score.tracks] == [(6, 2, 1), (6, 2, 2)]
    score.write(tmp_path / "b.mid")
    changes = [[m for m in track if m.type == "program_change"] for track in mido.MidiFile(tmp_path / "b.mid").tracks]
    assert [len(each) for each in changes] == [0, 1, 0]


def test_programs_change_inside_a_track(tmp_path):
    track = Track("", 5, False, Notes([0, 10, 20], [5] * 3, [60] * 3, [64] * 3), programs=Programs([0, 10], [5, 9]))
    assert track.programs_of(track.notes.start_ticks).tolist() == [5, 9, 9]
    Score(96, (track,)).write(tmp_path / "a.mid")
    [again] = Score.read(tmp_path / "a.mid").tracks
    assert again == track


@pytest.mark.parametrize(("encoding", "raw"), [("utf-8", "Präludium 前奏".encode()), ("latin-1", b"Pr\xe4ludium")])
def test_names_keep_their_bytes(tmp_path, encoding, raw):
    data = midi_bytes(
        mido.MetaMessage("track_name", name=raw.decode("latin-1")), mido.Message("note_on", note=60, time=9)
    )
    (tmp_path / "a.mid").write_bytes(data)
    score = Score.read(tmp_path / "a.mid")
    assert (score.encoding, score.name) == (encoding, raw.decode(encoding))
    score.write(tmp_path / "b.mid")
    assert raw in (tmp_path / "b.mid").read_bytes()


def test_shift_jis_when_asked(tmp_path):
    name = "前奏".encode("shift_jis").decode("latin-1")
    (tmp_path / "a.mid").write_bytes(midi_bytes(mido.MetaMessage("track_name", name=name)))
    assert Score.read(tmp_path / "a.mid", encoding="shift_jis").name == "前奏"
    with pytest.raises(InputError, match="encoding must be one that Python knows for text, got 'klingon'"):
        Score.read(tmp_path / "a.mid", encoding="klingon")


def test_every_kind_of_text_is_kept(tmp_path):
    texts = tuple(Text(10 * kind, kind.name, kind) for kind in TextKind)
    track = Track("words", 0, False, Notes(), texts=texts, chunk=1)
    Score(96, (track,), texts=texts, name="Song").write(tmp_path / "a.mid")
    assert Score.read(tmp_path / "a.mid") == Score(96, (track,), texts=texts, name="Song")
