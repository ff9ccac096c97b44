"""Files that mean harm, or were harmed: each is a score, or refused with one line that names it and says why."""

import io
import os
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import Counter, defaultdict, deque
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musegen
from musegen.bench.seeds import chunk, midi_file, midi_files, musicxml, mxl, variable_length
from musegen.errors import ScoreFileError
from musegen.midi.score import Notes, Score, Track

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x40"
GOOD = midi_file(1, 480, [NOTE + END])
XML = musicxml().encode()
ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (level, b"&e%d;" % (level - 1) * 10) for level in range(1, 10))


def with_doctype(declared: bytes, used: bytes) -> bytes:
    start, stop = XML.index(b"<!DOCTYPE"), XML.index(b"<score-partwise")
    doctype = b"<!DOCTYPE score-partwise [" + declared + b"]>\n"
    return (XML[:start] + doctype + XML[stop:]).replace(b"<work-title>Seed", b"<work-title>" + used)


def zip_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("score.xml", "w") as member:
        member.write(XML[:200])
        for _ in range(150):
            member.write(bytes(1 << 20))
    return packed.getvalue()


def lasting(n_ticks: int, division: int) -> bytes:
    """Returns a file with one note, whose end comes after so many ticks."""
    waits = b""
    while n_ticks > 0x0FFFFFFF:  # the longest delta time; an empty text takes it up
        waits += variable_length(0x0FFFFFFF) + b"\xff\x01\x00"
        n_ticks -= 0x0FFFFFFF
    return midi_file(1, division, [b"\x00\x90\x3c\x40" + waits + variable_length(n_ticks) + b"\x80\x3c\x40" + END])


def thousand_hours(ticks_per_quarter: int) -> bytes:
    return lasting(1000 * 3600 * 2 * ticks_per_quarter, ticks_per_quarter)  # 120 bpm


def refusal(path: Path) -> str:
    with pytest.raises(ScoreFileError) as caught:
        Score.read(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert caught.value.reason.isprintable() and len(caught.value.reason) < 300
    return caught.value.reason


@pytest.fixture
def file(tmp_path):
    """A path to write hostile bytes to; nothing else may lie beside it afterwards."""
    path = tmp_path / "a.mid"
    yield path
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != path.name] == []


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "keyword"),
    [
        pytest.param(b"", "empty", id="zero bytes"),
        pytest.param(bytes(5000), "not music", id="only zeros"),
        pytest.param(random.Random(1).randbytes(5000), "not music", id="random bytes"),
        pytest.param(b"MThd" + random.Random(2).randbytes(5000), "", id="random bytes after the first four"),
        pytest.param(GOOD[:10], "cut off", id="truncated header"),
        pytest.param(GOOD[:-6], "cut off", id="truncated track"),
        pytest.param(midi_file(1, 480, [NOTE[:3]]), "cut off", id="truncated event"),
        pytest.param(midi_file(1, 480, [b"\x00\x90\xbc\x40" + END]), "data byte", id="pitch over 127"),
        pytest.param(midi_file(1, 480, [b"\x00\x90\x3c\xff" + END]), "data byte", id="velocity over 127"),
        pytest.param(midi_file(1, 480, [b"\x00\x3c\x40" + END]), "status", id="running status without a status"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x01\x00\x00\x3c\x40"]), "status", id="running status of a text"),
        pytest.param(midi_file(1, 480, [b"\x90" * 1000]), "", id="nothing but status bytes"),
        pytest.param(GOOD[:18] + b"\xff" * 4 + GOOD[22:], "cut off", id="track of 4 GiB"),
        pytest.param(GOOD[:4] + b"\xff" * 4 + GOOD[8:], "", id="header of 4 GiB"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x01\xff\xff\xff\x7f" + END]), "cut off", id="text of 256 MiB"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x01" + b"\xff" * 9 + END]), "length", id="length without end"),
        pytest.param(midi_file(1, 480, [b"\x80" * 9 + NOTE + END]), "time", id="time without end"),
        pytest.param(chunk(b"MThd", b"\x00\x01\xff\xff\x01\xe0"), "cut off", id="65,535 tracks that are not there"),
        pytest.param(thousand_hours(480), "longer", id="1,000 hours in more ticks than a score counts"),
        pytest.param(b"RIFF\xff\xff\xff\xffRMIDdata\xff\xff\xff\xff", "", id="RIFF with nothing in it"),
        pytest.param(b"RIFF" * 3000, "", id="RIFF of RIFF"),
        pytest.param(with_doctype(b'<!ENTITY e0 "lol">' + ENTITIES, b"&e9;"), "entity", id="XML bomb"),
        pytest.param(
            with_doctype(b'<!ENTITY e SYSTEM "file:///etc/passwd">', b"&e;"),
            "entity",
            id="XML with a file from outside",
        ),
        pytest.param(
            with_doctype(b'<!ENTITY % e SYSTEM "http://127.0.0.1:9/e.dtd"> %e;', b""),
            "entity",
            id="XML with a web page",
        ),
        pytest.param(b"<a>" * 100_000, "XML", id="XML that opens and never closes"),
        pytest.param(XML[:-300], "cut off", id="truncated MusicXML"),
        pytest.param(mxl(XML)[:-30], "zip", id="truncated .mxl"),
        pytest.param(zip_bomb(), "unpacks to more", id="zip bomb"),
        pytest.param(mxl(mxl(XML)), "", id="zip in a zip"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), "not music", id="a picture"),
        pytest.param(b"<html><body>404 Not Found</body></html>", "not music", id="a web page"),
        pytest.param("Dear Sir or Madam,\n".encode("utf-16"), "not music", id="a letter"),
    ],
)
def test_refused(file, data, keyword):
    file.write_bytes(data)
    assert keyword in refusal(file)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(midi_file(1, 480, [b"\x00\xff\x51\x03\x00\x00\x00" + NOTE + END]), id="tempo 0"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x58\x04\x00\x00\x18\x08" + NOTE + END]), id="meter 0/1"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x58\x04\x00\xff\x18\x08" + NOTE + END]), id="meter 0/0"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x58\x00" + NOTE + END]), id="meter without numbers"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x59\x02\x7f\x7f" + NOTE + END]), id="127 sharps"),
        pytest.param(midi_file(1, 480, [b"\x00\xff\x51\x00\x00\xff\x21\x00" + NOTE + END]), id="events without data"),
        pytest.param(midi_file(1, 480, [NOTE]), id="no end of track"),
        pytest.param(GOOD + bytes(1000), id="rubbish after the last track"),
        pytest.param(
            midi_file(1, 480, [NOTE[:4] + NOTE[4:].replace(b"\x80\x3c\x40", b"\x3c\x00")]), id="running status"
        ),
    ],
)
def test_odd_but_read(file, data):
    file.write_bytes(data)
    score = Score.read(file)
    assert [track.notes for track in score.tracks] == [Notes([0], [480], [60], [64])]
    assert score.tempos.bpm.tolist() == [120]
    assert [(meter.numerator, meter.denominator) for meter in score.meters] == [(4, 4)]


def test_a_thousand_hours(file):
    file.write_bytes(thousand_hours(24))
    score = Score.read(file)
    assert score.duration_seconds == pytest.approx(1000 * 3600)
    score.write(file)
    assert Score.read(file) == score


def test_65535_empty_tracks(file):
    file.write_bytes(midi_file(1, 480, [END] * 65_535))
    score = Score.read(file)
    assert score.n_notes == 0 and len(score.tracks) <= 1


def test_65535_tracks_with_a_note(file):
    """They are more than any score has, but no more work than the same notes in one track."""
    file.write_bytes(midi_file(1, 480, [NOTE + END] * 65_535))
    try:
        assert Score.read(file).n_notes == 65_535
    except ScoreFileError as error:
        assert "tracks" in error.reason


def test_a_million_notes(file):
    file.write_bytes(midi_file(0, 480, [b"\x00\x90" + b"\x3c\x40\x01\x3c\x00\x00" * 1_000_000 + b"\x3c\x00" + END]))
    score = Score.read(file)
    assert score.n_notes == 1_000_000 and score.end_ticks == 1_000_000


def test_notes_over_the_limit(file, monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_NOTES", "2")
    file.write_bytes(midi_file(1, 480, [NOTE * 3 + END]))
    assert "MUSEGEN_MAX_NOTES" in refusal(file)


def test_many_notes_at_once_on_one_key_take_no_quadratic_time(file):
    """Each of 200,000 notes of one pitch sounds until the end: whoever looks through all open ones never ends."""
    ons, offs = b"\x00\x90" + b"\x3c\x40\x00" * 200_000 + b"\x3c\x40", b"\x00\x3c\x00" * 200_000
    file.write_bytes(midi_file(1, 480, [ons + offs + END]))
    assert Score.read(file).n_notes == 200_001


def test_memory_is_of_the_size_of_the_file(file):
    data = midi_file(1, 480, [b"\x00\xff\x01\x00" * 20_000 + END])
    file.write_bytes(data)
    tracemalloc.start()
    try:
        Score.read(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 * len(data)


# Places ---------------------------------------------------------------------------------------------------------------


def test_no_file_there(tmp_path):
    (tmp_path / "loop.mid").symlink_to(tmp_path / "loop.mid")
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "no.mid", tmp_path / "loop.mid", tmp_path / "file" / "a.mid"):
        refusal(path)
    refusal(tmp_path / ("long" * 100 + ".mid"))
    with pytest.raises(ScoreFileError):
        Score.read("a\0.mid")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read and write all")
def test_no_permission(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(GOOD)
    path.chmod(0)
    assert "ermission" in refusal(path)
    tmp_path.chmod(0o500)
    with pytest.raises(ScoreFileError, match="ermission"):
        Score(480).write(tmp_path / "b.mid")
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="the system has no file without end")
def test_a_file_without_end(monkeypatch):
    monkeypatch.setenv("MUSEGEN_MAX_FILE_BYTES", str(1 << 20))
    assert "MUSEGEN_MAX_FILE_BYTES" in refusal(Path("/dev/zero"))


def test_no_space_left(file):
    """The system stops the write after 1,000 bytes: the old file stays, and nothing else does."""
    resource = pytest.importorskip("resource", reason="the system has no limits on the size of files")
    Score(480).write(file)
    before = file.read_bytes()
    long = Score(480, (Track("", 0, False, Notes(range(1000), [5] * 1000, [60] * 1000, [64] * 1000)),))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ScoreFileError, match="cannot be written") as caught:
            long.write(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.path == file and "\n" not in str(caught.value)
    assert file.read_bytes() == before


WRITER = """
import sys
from musegen.midi.files import write_atomically
path, sizes = sys.argv[1], [int(size) for size in sys.argv[2:]]
print("ready", flush=True)
while True:
    for size in sizes:
        write_atomically(path, bytes([size % 251]) * size)
"""


def test_no_file_is_ever_half_written(tmp_path):
    """Whoever looks while a file is written, and when its writer was killed, sees one version or the other."""
    path, sizes = tmp_path / "a.mid", (3_000_000, 1_000_003)
    whole = {bytes([size % 251]) * size for size in sizes}
    environment = {**os.environ, "PYTHONPATH": str(Path(musegen.__file__).parents[1])}
    command = [sys.executable, "-c", WRITER, str(path), *map(str, sizes)]
    for pause_seconds in (0.01, 0.037, 0.061):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            while not path.exists():
                time.sleep(0.001)
            assert path.read_bytes() in whole
            time.sleep(pause_seconds)
            assert path.read_bytes() in whole
            writer.kill()
        assert path.read_bytes() in whole


# Structures that hypothesis makes -------------------------------------------------------------------------------------


def is_read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        score = Score.read(path)
    except ScoreFileError as error:
        assert error.path == path and error.reason and "\n" not in str(error)
    else:
        score.write(path)
        assert Score.read(path) == score


chunks = st.one_of(
    st.tuples(st.sampled_from([b"MTrk", b"MTrk", b"MThd", b"XFIH", b"RIFF"]), st.binary(max_size=30)).map(
        lambda pair: chunk(*pair)
    ),
    st.tuples(st.sampled_from([b"MTrk", b"MThd"]), st.integers(0, 0xFFFFFFFF), st.binary(max_size=30)).map(
        lambda told: told[0] + struct.pack(">I", told[1]) + told[2]  # its length is a lie
    ),
    st.lists(st.sampled_from([NOTE, NOTE[:4], b"\x00\xff\x01\x01a", b"\x00\xc3\x07", b"\x10\x3c\x00"])).map(
        lambda events: chunk(b"MTrk", b"".join(events) + END)
    ),
)
shorts = st.integers(0, 3) | st.integers(0, 0xFFFF)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data):
    is_read_or_refused(tmp_path_factory.getbasetemp() / "any.mid", data)


@settings(max_examples=200, deadline=None)
@given(header=st.tuples(shorts, shorts, shorts | st.just(480)), parts=st.lists(chunks, max_size=4))
def test_any_chunks(tmp_path_factory, header, parts):
    data = chunk(b"MThd", struct.pack(">HHH", *header)) + b"".join(parts)
    is_read_or_refused(tmp_path_factory.getbasetemp() / "chunks.mid", data)


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 2000), stop=st.integers(0, 2000), which=st.integers(0, 5), put=st.binary(max_size=8))
def test_any_range_replaced(tmp_path_factory, start, stop, which, put):
    good = list(midi_files())[which]
    is_read_or_refused(tmp_path_factory.getbasetemp() / "range.mid", good[:start] + put + good[max(start, stop) :])


few_pitches, data_bytes, channels = st.integers(60, 62), st.integers(0, 127), st.integers(0, 15)
messages = st.one_of(
    st.builds(mido.Message, st.just("note_on"), channel=channels, note=few_pitches, velocity=data_bytes),
    st.builds(mido.Message, st.just("note_on"), channel=st.just(2), note=few_pitches, velocity=data_bytes),
    st.builds(mido.Message, st.just("note_off"), channel=st.just(2), note=few_pitches, velocity=data_bytes),
    st.builds(mido.Message, st.just("control_change"), channel=channels, control=data_bytes, value=data_bytes),
    st.builds(mido.Message, st.just("program_change"), channel=channels, program=data_bytes),
    st.builds(mido.Message, st.just("sysex"), data=st.lists(data_bytes, max_size=4)),
    st.builds(mido.MetaMessage, st.just("lyrics"), text=st.text("aäß", max_size=3)),
)
times = st.integers(0, 3) | st.integers(0, 20_000)
tracks = st.lists(st.lists(st.builds(lambda m, time: m.copy(time=time), messages, times), max_size=20), max_size=3)


def notes_of_mido(song: mido.MidiFile) -> Counter[tuple[int, int, int, int, int]]:
    """Returns (channel, pitch, velocity, start, end) of all notes: of one pitch, the oldest ends first."""
    found = Counter[tuple[int, int, int, int, int]]()
    for track in song.tracks:
        ticks, sounding = 0, defaultdict[tuple[int, int], deque[tuple[int, int]]](deque)
        for message in track:
            ticks += message.time
            if message.type not in ("note_on", "note_off"):
                continue
            key = message.channel, message.note
            if message.type == "note_on" and message.velocity:
                sounding[key].append((message.velocity, ticks))
            elif sounding[key]:
                velocity, start_ticks = sounding[key].popleft()
                found[*key, velocity, start_ticks, ticks] += 1
        for key, started in sounding.items():
            found.update((*key, velocity, start_ticks, ticks) for velocity, start_ticks in started)
    return found


def notes_of(score: Score) -> Counter[tuple[int, int, int, int, int]]:
    found = Counter[tuple[int, int, int, int, int]]()
    for track in score.tracks:
        assert track.channel is not None or not len(track.notes)
        found.update((track.channel or 0, n.pitch, n.velocity, n.start_ticks, n.end_ticks) for n in track.notes)
    return found


@settings(max_examples=200, deadline=None)
@given(tracks=tracks, kind=st.integers(1, 2))
def test_the_notes_are_those_that_mido_reads(tmp_path_factory, tracks, kind):
    path = tmp_path_factory.getbasetemp() / "messages.mid"
    mido.MidiFile(type=kind, charset="utf-8", tracks=[mido.MidiTrack(track) for track in tracks]).save(path)
    expected = notes_of_mido(mido.MidiFile(path, charset="utf-8"))
    score = Score.read(path)
    assert notes_of(score) == expected
    score.write(path)
    assert notes_of_mido(mido.MidiFile(path, charset="utf-8")) == expected


@settings(max_examples=150, deadline=None)
@given(
    bodies=st.lists(st.lists(st.integers(0, 127) | st.sampled_from([0x90, 0x80, 0xB0, 0xC0]), max_size=40), max_size=2)
)
def test_running_status_is_read_as_mido_reads_it(tmp_path_factory, bodies):
    path = tmp_path_factory.getbasetemp() / "running.mid"
    path.write_bytes(midi_file(1, 480, [bytes(body) + END for body in bodies]))
    try:
        expected = notes_of_mido(mido.MidiFile(path))
    except Exception:  # mido has many ways to say that a file is damaged
        is_read_or_refused(path, path.read_bytes())
    else:
        try:
            score = Score.read(path)
        except ScoreFileError as error:
            assert "more than four bytes" in error.reason  # mido takes times of any length
        else:
            assert notes_of(score) == expected
