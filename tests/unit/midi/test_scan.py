"""The reader of MIDI bytes: compiled or not, it says the same."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.smf import scan

SOURCE = scan.__file__.split("scan.")[0] + "scan.py"
EVENT = st.one_of(
    st.tuples(st.integers(0, 127), st.integers(0x80, 0xBF) | st.integers(0xE0, 0xEF), *[st.integers(0, 127)] * 2),
    st.tuples(st.integers(0, 127), st.integers(0xC0, 0xDF), st.integers(0, 127)),
    st.tuples(st.integers(0, 127), *[st.integers(0, 127)] * 2),  # running status
    st.just((0, 0xFF, 0x51, 3, 7, 0xA1, 0x20)),
    st.just((0x81, 0x00, 0xFF, 0x01, 2, 65, 66)),
    st.lists(st.integers(0, 255), max_size=6).map(tuple),
)


@pytest.fixture(scope="module")
def plain():
    """The module as plain Python, whatever is installed."""
    spec = importlib.util.spec_from_file_location("plain_scan", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not module.IS_COMPILED
    return module


def outcome(module, tracks: list[bytes]):
    data = b"".join(tracks)
    reader = module.Scan(len(data), 1000, 1000)
    place = 0
    try:
        for number, track in enumerate(tracks):
            reader.track(data, place, place + len(track), number)
            place += len(track)
    except InputError as error:
        return str(error)
    counts = (reader.n_notes, reader.n_controls, reader.n_others, reader.n_tempos)
    tables = (reader.notes, reader.controls, reader.others, reader.tempos)
    columns = [column[:n].tolist() for n, table in zip(counts, tables, strict=True) for column in table]
    left = (reader.n_unclosed, reader.n_stray, reader.n_release, reader.n_system, reader.n_meta, reader.in_order)
    return columns, reader.metas, left


@pytest.mark.skipif(not scan.IS_COMPILED, reason="the reader is not compiled here: there is nothing to compare")
@settings(max_examples=400, deadline=None)
@given(tracks=st.lists(st.lists(EVENT, max_size=30).map(lambda events: bytes(sum(events, ()))), max_size=3))
def test_compiled_and_plain_read_the_same(plain, tracks):
    assert outcome(scan, tracks) == outcome(plain, tracks)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15), st.integers(0, 127)), max_size=60))
def test_notes_come_in_canonical_order_or_are_said_not_to(rows):
    data = bytes(byte for wait, channel, pitch in rows for byte in (wait, 0x90 | channel, pitch, 64))
    reader = scan.Scan(len(data), 1000, 1000)
    reader.track(data, 0, len(data), 0)
    start, duration, _, pitch, velocity = (column[: reader.n_notes] for column in reader.notes)
    assert len(start) == len(rows)
    if reader.in_order:
        assert (np.lexsort((velocity, duration, pitch, start)) == np.arange(len(start))).all()


def test_limits():
    data = b"\x00\x90\x3c\x40" * 3
    with pytest.raises(InputError, match="more than 2 notes"):
        scan.Scan(len(data), 2, 10).track(data, 0, len(data), 0)
    with pytest.raises(InputError, match="more than 1 texts"):
        scan.Scan(20, 2, 1).track(b"\x00\xff\x01\x00" * 2, 0, 8, 0)
