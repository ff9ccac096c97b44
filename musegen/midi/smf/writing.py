"""A `Score` as the bytes of a Standard MIDI file: all events of a track are sorted and laid out at once."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.columns import MAX_TICKS, Columns, Programs
from musegen.midi.score import DRUM_CHANNEL, Score, Track
from musegen.midi.smf.events import (
    CONTROL,
    END,
    KEY,
    KEY_PRESSURE,
    METER,
    NAME,
    NOTE_OFF,
    NOTE_ON,
    PITCH_BEND,
    PORT,
    PRESSURE,
    PROGRAM,
    TEMPO,
)

_FIRST, _OFFS, _CONTROLS, _PROGRAMS, _REST, _ONS, _EMPTY_OFFS = range(7)
"""The order of events at one tick: texts and meters, ends of notes, the bank before the program, and notes last."""


def to_bytes(score: Score) -> bytes:
    """Returns a score as the bytes of a type-1 .mid file; see `Score.write`.

    Raises:
        InputError: an event comes after MAX_TICKS, or a text cannot be written.
    """
    if score.end_ticks > MAX_TICKS:
        raise InputError(f"a note must end by tick {MAX_TICKS} to be written as MIDI, got {score.end_ticks}")
    chunks = _grouped(_with_channels(score.tracks), score.name)
    if len(chunks) > 0xFFFF:
        raise InputError(f"a MIDI file has at most 65535 tracks, got {len(chunks)}")
    encoding = _writable(score)
    bodies = [
        _body(tracks, _song(score, encoding) if not number else [], encoding) for number, tracks in enumerate(chunks)
    ]
    header = b"MThd" + struct.pack(">IHHH", 6, 1, len(bodies), score.ticks_per_quarter)
    return header + b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies)


def _with_channels(tracks: Iterable[Track]) -> list[Track]:
    """Gives every track without one a channel to itself, on further ports when the 15 of one are taken."""
    tracks = list(tracks)
    taken = {(track.port, track.channel) for track in tracks if track.channel is not None}
    free = (
        (port, channel)
        for port in range(128)
        for channel in range(16)
        if channel != DRUM_CHANNEL and (port, channel) not in taken
    )
    for place, track in enumerate(tracks):
        if track.channel is None and track.is_drum:
            tracks[place] = replace(track, channel=DRUM_CHANNEL)
        elif track.channel is None and not _is_silent(track):
            port, channel = next(free, (0, 0))
            tracks[place] = replace(track, port=port, channel=channel)
    return tracks


def _is_silent(track: Track) -> bool:
    """Returns whether a track says nothing that would need a channel: it has a name or texts at most."""
    return track.chunk is not None and not any(len(events) for events in _channel_events(track))


def _channel_events(track: Track) -> tuple[Columns[Any], ...]:
    programs = track.programs or Programs()
    return track.notes, track.controls, track.pitch_bends, track.pressures, track.key_pressures, programs


def _grouped(tracks: list[Track], name: str) -> list[list[Track]]:
    """Returns the tracks by the chunk they go to; the first chunk also takes what belongs to the whole song."""
    chunks: dict[Any, list[Track]] = {}
    first: list[Track] = []
    for number, track in enumerate(tracks):
        if track.chunk == 0 and track.name == name and (not first or track.port == first[0].port):
            first.append(track)
        else:
            key = (number,) if track.chunk is None else (track.chunk, track.port, track.name)
            chunks.setdefault(key, []).append(track)
    return [first, *chunks.values()]


def _writable(score: Score) -> str:
    """Returns the encoding in which all texts of a score can be written: its own, or else UTF-8."""
    texts = [score.name, *(text.text for text in score.texts)]
    texts += [text for track in score.tracks for text in (track.name, *(each.text for each in track.texts))]
    for encoding in (score.encoding, "utf-8"):
        for text in texts:
            try:
                text.encode(encoding)
            except (UnicodeEncodeError, LookupError):
                wrong = text
                break
        else:
            return encoding
    raise InputError(f"a text or a name cannot be written as UTF-8: {wrong!r}")


def _song(score: Score, encoding: str) -> list[tuple[int, bytes]]:
    """Returns what belongs to the whole song, as (tick, meta event)."""
    metas = [(0, _meta(NAME, score.name.encode(encoding)))] if score.name else []
    metas += [(text.start_ticks, _meta(text.kind, text.text.encode(encoding))) for text in score.texts]
    metas += [(each.start_ticks, _meta(TEMPO, each.us_per_quarter.to_bytes(3, "big"))) for each in score.tempos]
    for each in score.meters:
        metas.append(
            (each.start_ticks, _meta(METER, bytes([each.numerator, each.denominator.bit_length() - 1, 24, 8])))
        )
    metas += [(each.start_ticks, _meta(KEY, bytes([each.sharps % 256, each.is_minor]))) for each in score.keys]
    return metas


def _body(tracks: list[Track], metas: list[tuple[int, bytes]], encoding: str) -> bytes:
    """Returns the events of one chunk, its end included."""
    if tracks and tracks[0].name and not metas:
        metas = [(0, _meta(NAME, tracks[0].name.encode(encoding)))]
    if tracks and tracks[0].port:
        metas = [*metas, (0, _meta(PORT, bytes([tracks[0].port])))]
    metas += [(text.start_ticks, _meta(text.kind, text.text.encode(encoding))) for t in tracks for text in t.texts]
    table = [np.zeros((0, 5), np.int64), *(rows for track in tracks for rows in _rows(track))]
    # A row: tick, rank, status byte and two data bytes, the second -1 where there is none. A meta event's: its place.
    rows = np.concatenate(
        [np.array([(tick, _FIRST, i, 0, 0) for i, (tick, _) in enumerate(metas)]).reshape(-1, 5), *table]
    )
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))].astype(np.int64)
    if len(rows) and rows[-1, 0] > MAX_TICKS:
        raise InputError(f"an event must come by tick {MAX_TICKS} to be written as MIDI, got {rows[-1, 0]}")
    return _laid_out(rows, [data for _, data in metas]) + b"\x00" + _meta(END, b"")


def _rows(track: Track) -> Iterator[NDArray[np.int64]]:
    """Yields a track's events as rows of `_body`."""

    def rows(start_ticks: NDArray[Any], rank: Any, kind: int, first: Any, second: Any) -> NDArray[np.int64]:
        status = kind << 4 | (track.channel or 0)
        return np.stack(np.broadcast_arrays(start_ticks, rank, status, first, second), axis=1).astype(np.int64)

    notes, programs = track.notes, track.programs
    if programs is None and track.channel is not None:
        programs = Programs([0], [track.program])
    if programs is not None:
        yield rows(programs.start_ticks, _PROGRAMS, PROGRAM, programs.program, -1)
    yield rows(track.controls.start_ticks, _CONTROLS, CONTROL, track.controls.number, track.controls.value)
    bend = track.pitch_bends.value.astype(np.int64) + 8192
    yield rows(track.pitch_bends.start_ticks, _REST, PITCH_BEND, bend & 127, bend >> 7)
    yield rows(track.pressures.start_ticks, _REST, PRESSURE, track.pressures.value, -1)
    keys = track.key_pressures
    yield rows(keys.start_ticks, _REST, KEY_PRESSURE, keys.pitch, keys.value)
    yield rows(notes.start_ticks, _ONS, NOTE_ON, notes.pitch, notes.velocity)
    yield rows(notes.end_ticks, np.where(notes.duration_ticks > 0, _OFFS, _EMPTY_OFFS), NOTE_OFF, notes.pitch, 64)


def _laid_out(rows: NDArray[np.int64], metas: list[bytes]) -> bytes:
    """Returns rows of `_body`, in order, as bytes: each its wait, up to four bytes of seven bits, and its message."""
    tick, rank, status, first, second = rows.T
    wait = np.diff(tick, prepend=0)
    n_wait = 1 + (wait >= 1 << 7) + (wait >= 1 << 14) + (wait >= 1 << 21)
    is_meta = rank == _FIRST
    n_message = np.where(second < 0, 2, 3)
    n_message[is_meta] = [len(metas[place]) for place in status[is_meta]]
    stop = np.cumsum(n_wait + n_message)
    out = np.zeros(int(stop[-1]) if len(stop) else 0, np.uint8)
    message = stop - n_message
    for back in range(1, 5):
        has = n_wait >= back
        out[message[has] - back] = (wait[has] >> 7 * (back - 1)) & 127 | (128 if back > 1 else 0)
    for place, column, has in ((0, status, ~is_meta), (1, first, ~is_meta), (2, second, ~is_meta & (second >= 0))):
        out[message[has] + place] = column[has]
    for start, place in zip(message[is_meta].tolist(), status[is_meta].tolist(), strict=True):
        out[start : start + len(metas[place])] = np.frombuffer(metas[place], np.uint8)
    return out.tobytes()


def _meta(kind: int, data: bytes) -> bytes:
    """Returns a meta event: FF, its type, the length of its data in sevens of bits, and its data."""
    length = [len(data) & 127]
    while len(data) >> 7 * len(length):
        length.insert(0, len(data) >> 7 * len(length) & 127 | 128)
    return bytes([0xFF, kind, *length]) + data
