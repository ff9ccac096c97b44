"""Hostile files: every one is a ScoreFileError with a reason on one line, or a valid Score."""

import dataclasses
import os
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.cli.compose import output_paths
from musegen.errors import ScoreFileError
from musegen.midi import formats
from musegen.midi.picture import sheet
from musegen.midi.score import Notes, Programs, Score, Track

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"
GOOD = NOTE + END
GOOD_NOTES = Notes([0], [480], [60], [64])
LONG_WAIT = b"\xff\xff\xff\x7f\xff\x01\x00"  # 2**28 - 1 ticks


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body)) + body


def midi(*tracks: bytes, n_tracks: int | None = None, division: int = 480) -> bytes:
    header = struct.pack(">HHH", 1, len(tracks) if n_tracks is None else n_tracks, division)
    return chunk(b"MThd", header) + b"".join(chunk(b"MTrk", track) for track in tracks)


def refusal(path) -> str:
    with pytest.raises(ScoreFileError) as caught:
        Score.read(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.reason}" and "\n" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello", "is not music that musegen reads"),
        (b"RIFF" + bytes(40), "is not a MIDI file (its first bytes are not MThd)"),
        (b"MThd", "is cut off in its header (it has 4 bytes)"),
        (midi(GOOD)[:14], "is cut off after track 0 of 1"),
        (midi(GOOD)[:20], "is cut off in track 1 of 1 (20 of 22 bytes)"),
        (midi(GOOD)[:-1], "is cut off in track 1 of 1 (34 of 35 bytes)"),
        (midi(GOOD, GOOD)[:-21], "is cut off after track 1 of 2"),
        (midi(GOOD, n_tracks=3), "is cut off after track 1 of 3"),
        (midi(GOOD, division=0), "damaged: it has 0 ticks per quarter"),
        (midi(GOOD, division=0xE600), "damaged: its time counts 0 ticks a frame at 26 frames a second"),
        (b"MThd" + struct.pack(">IHHH", 6, 3, 1, 96) + chunk(b"MTrk", GOOD), "is a MIDI file of type 3"),
        (b"MThd" + struct.pack(">IHHH", 5, 1, 1, 96) + chunk(b"MTrk", GOOD), "damaged: its header has 5 bytes"),
        (midi(b"\x00\x90\xbc\x40" + END), "damaged: a data byte of 188 at byte 24 (track 1)"),
        (midi(b"\x00\x90\x3c\xc0" + GOOD), "damaged: a data byte of 192 at byte 24 (track 1)"),
        (midi(b"\x00\x3c\x40" + END), "damaged: a data byte 60 without a status at byte 23 (track 1)"),
        (midi(b"\x00\xff\x01\xff\xff\xff\x7f" + GOOD), "is cut off within an event of track 1"),
        (midi(LONG_WAIT * 2 + GOOD), "track 1 is longer than 268,435,455 ticks"),
        (midi(b"\x81\x81\x81\x81\x01" + GOOD), "damaged: a time of more than four bytes at byte 26 (track 1)"),
    ],
)  # fmt: skip
def test_bad_bytes(tmp_path, data, reason):
    path = tmp_path / "a.mid"
    path.write_bytes(data)
    assert refusal(path).startswith(reason)


def test_no_file_and_no_place_for_one(tmp_path):
    assert refusal(tmp_path / "a.mid") == "there is no such file"
    assert refusal(tmp_path) == "is a folder, not a score file"
    (tmp_path / "a.mid").write_bytes(b"")
    assert refusal(tmp_path / "a.mid" / "b.mid").startswith("cannot be read")
    with pytest.raises(ScoreFileError, match="cannot be read: embedded null byte"):
        Score.read("a\0.mid")


@pytest.mark.parametrize("check", [formats.check_writable, sheet.check_writable, lambda path: output_paths(path, 2)])
def test_no_work_is_done_for_a_place_that_takes_no_files(tmp_path, monkeypatch, check):
    path = tmp_path / ("a.png" if check is sheet.check_writable else "a.mid")
    check(path)
    monkeypatch.setattr(os, "access", lambda folder, mode: (folder, mode) != (tmp_path, os.W_OK))
    with pytest.raises(ScoreFileError, match=f"the folder {re.escape(str(tmp_path))} is read-only"):
        check(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_permission(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi(GOOD))
    (tmp_path / "a.mid").chmod(0)
    assert refusal(tmp_path / "a.mid") == "cannot be read: Permission denied"


@pytest.mark.parametrize(
    "data",
    [
        midi(GOOD),
        midi(GOOD) + b"what a careless program left behind",
        midi(GOOD)[:14] + chunk(b"XFIH", b"a chunk of another kind") + midi(GOOD)[14:],
        b"RIFF\x30\x00\x00\x00RMIDdata\x23\x00\x00\x00" + midi(GOOD) + b"\x00",
        midi(NOTE),  # no end of track
        midi(b"\x00\xff\x51\x03\x00\x00\x00" + GOOD),  # a tempo of 0
        midi(b"\x00\xff\x58\x04\x00\x02\x18\x08" + GOOD),  # 0/4
        midi(b"\x00\xff\x58\x04\x04\x07\x18\x08" + GOOD),  # 4/128
        midi(b"\x00\xff\x58\x04\x04\xff\x18\x08" + GOOD),  # 4 / 2**255
        midi(b"\x00\xff\x59\x02\x63\x05" + GOOD),  # 99 sharps
    ],
)
def test_what_is_only_odd_is_read(tmp_path, data):
    path = tmp_path / "a.mid"
    path.write_bytes(data)
    [track] = Score.read(path).tracks
    assert track == Track("", 0, False, GOOD_NOTES, programs=Programs(), channel=0, chunk=0)
    assert dataclasses.replace(Score.read(path), tracks=()) == Score(480)


def test_notes_without_an_end_last_as_long_as_their_track(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(b"\x00\x90\x40\x40" + GOOD))
    score = Score.read(path)
    assert score.tracks[0].notes == Notes([0, 0], [480, 480], [60, 64], [64, 64])
    assert score.left_out == {"unclosed_notes": 1}


def test_what_is_left_out_is_counted(tmp_path):
    sysex, clock = b"\x00\xf0\x03\x7e\x7f\xf7", b"\x00\xf8"
    body = sysex + clock + b"\x00\xff\x54\x05\x00\x00\x00\x00\x00" + b"\x00\x80\x30\x11" + GOOD
    (tmp_path / "a.mid").write_bytes(midi(body, END))
    counts = {"system_messages": 2, "other_meta_events": 1, "release_velocities": 1, "stray_note_offs": 1}
    assert Score.read(tmp_path / "a.mid").left_out == counts | {"empty_tracks": 1}


@pytest.mark.parametrize(("division", "seconds"), [(0xE728, 0.48), (0xE850, 0.25), (0xE308, 2.002), (0xE264, 0.16)])
def test_film_frames(tmp_path, division, seconds):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(b"\x00\xff\x51\x03\x07\xa1\x20" + GOOD, division=division))
    score = Score.read(path)
    assert score.duration_seconds == pytest.approx(seconds)
    assert score.tracks[0].notes == GOOD_NOTES and score.left_out == {"tempos": 1}


def test_type_2_has_its_patterns_as_tracks(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(chunk(b"MThd", struct.pack(">HHH", 2, 2, 480)) + chunk(b"MTrk", GOOD) + chunk(b"MTrk", GOOD))
    assert [track.notes for track in Score.read(path).tracks] == [GOOD_NOTES, GOOD_NOTES]


def test_a_file_without_notes_is_a_score(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(END))
    assert Score.read(path) == Score(480)


def test_every_cut_of_a_file_is_refused(tmp_path):
    path = tmp_path / "a.mid"
    data = midi(b"\x00\xff\x51\x03\x07\xa1\x20" + GOOD, GOOD)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refusal(path)


def is_read_or_refused(path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        score = Score.read(path)
    except ScoreFileError as error:
        assert error.reason and "\n" not in str(error)
        return
    for track in score.tracks:
        # The constructor checks every value: what it accepts unchanged was valid.
        for events in (track.notes, track.controls, track.pitch_bends, track.pressures, track.key_pressures):
            assert type(events)(*events.columns()) == events
    for events in (score.tempos, score.meters, score.keys):
        assert type(events)(*events.columns()) == events
    score.write(path)
    assert Score.read(path) == score


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=60))
def test_random_bytes(tmp_path_factory, body):
    path = tmp_path_factory.getbasetemp() / "random.mid"
    for data in (body, b"MThd" + body, midi(body), midi(body + END)):
        is_read_or_refused(path, data)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_files(tmp_path_factory, damage):
    song = b"\x00\xff\x03\x03abc\x00\xff\x06\x01x\x00\xff\x58\x04\x04\x02\x18\x08"
    song += b"\x00\xff\x59\x02\xfd\x01\x00\xff\x51\x03\x07\xa1\x20"
    data = bytearray(midi(song + b"\x00\xc0\x05\x00\xb0\x40\x7f\x00\xe0\x00\x40" + GOOD, GOOD))
    for place, value in damage:
        data[place % len(data)] = value
    is_read_or_refused(tmp_path_factory.getbasetemp() / "damaged.mid", bytes(data))


def key(sharps: int) -> bytes:
    return b"\x00\xff\x59\x02" + bytes([sharps % 256, 0])


def test_where_tracks_disagree_on_the_key_the_first_that_plays_is_believed(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(key(0) + END, key(-5) + GOOD, key(2) + GOOD, key(0) + END))
    score = Score.read(path)
    assert [tuple(each) for each in score.keys] == [(0, -5, False)]
    assert score.left_out["changes_at_one_tick"] == 2


def test_what_tracks_agree_on_is_not_left_out(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(*[key(-3) + GOOD] * 3))
    assert not Score.read(path).left_out


def test_a_tempo_that_is_none_is_left_out_as_one(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(b"\x00\xff\x51\x03\x00\x00\x00" + GOOD))
    assert Score.read(path).left_out == {"tempos": 1}
