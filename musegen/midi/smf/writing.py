"""A `Score` as the bytes of a Standard MIDI file: all events of a track are sorted and laid out at once."""

import codecs
import contextlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.columns import MAX_TICKS, Programs
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
    chunks = _grouped(_with_programs(_with_channels(score.tracks)), score.name)
    if len(chunks) > 0xFFFF:
        raise InputError(f"a MIDI file has at most 65535 tracks, got {len(chunks)}")
    encoding = _encoding(score)
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
    events = (track.notes, track.controls, track.pitch_bends, track.pressures, track.key_pressures)
    return track.chunk is not None and not track.programs and not any(map(len, events))


def _with_programs(tracks: list[Track]) -> list[Track]:
    """Gives a track a change to its program where nothing on its channel chooses one by its first note.

    Program 0 needs none: it is what a channel starts with.
    """
    chosen_ticks: dict[tuple[int, int | None], int] = {}
    for track in tracks:
        changes = track.program_changes
        if len(changes):
            place = (track.port, track.channel)
            chosen_ticks[place] = min(chosen_ticks.get(place, MAX_TICKS), int(changes.start_ticks[0]))
    for number, track in enumerate(tracks):
        place = (track.port, track.channel)
        if track.program and len(track.notes) and chosen_ticks.get(place, MAX_TICKS + 1) > track.notes.start_ticks[0]:
            first = Programs([0], [track.program])
            tracks[number] = replace(track, programs=first.joined(track.program_changes))
            chosen_ticks[place] = 0
    return tracks


def _grouped(tracks: list[Track], name: str) -> list[list[Track]]:
    """Returns the tracks by the chunk they go to; the first chunk also takes what belongs to the whole song."""
    chunks: list[list[Track]] = [[]]
    for track in tracks:
        if _goes_on(chunks[-1], track, name):
            chunks[-1].append(track)
        else:
            chunks.append([track])
    return chunks


def _goes_on(chunk: list[Track], track: Track, name: str) -> bool:
    """Returns whether a chunk can take one more track: reading has to tell it from the others, in the same order."""
    if track.chunk is None or track.channel is None or track.texts:
        return False
    if not chunk:  # so far it has what belongs to the song
        return track.chunk == 0 and track.name == name
    last = chunk[-1]
    is_of_chunk = (last.chunk, last.port, last.name) == (track.chunk, track.port, track.name)
    return is_of_chunk and last.channel is not None and last.channel < track.channel


def _encoding(score: Score) -> str:
    """Returns the encoding in which all texts of a score can be written and are read again: its own, or else UTF-8."""
    texts = [score.name, *(text.text for text in score.texts)]
    texts += [text for track in score.tracks for text in (track.name, *(each.text for each in track.texts))]
    whole = "\n".join(texts)
    with contextlib.suppress(UnicodeError, LookupError):
        data = whole.encode(score.encoding)
        if codecs.lookup(score.encoding).name != "iso8859-1" or not _is_utf8(data):
            return score.encoding
    try:
        whole.encode("utf-8")
    except UnicodeEncodeError as error:
        wrong = whole[error.start : error.end]
        raise InputError(f"a text or a name cannot be written as UTF-8: it has {wrong!r}") from None
    return "utf-8"


def _is_utf8(data: bytes) -> bool:
    """Returns whether a reader would take Latin-1 texts for UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


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
    table = [np.zeros((0, 5), np.int64), *(rows for track in tracks for rows in _rows(track))]
    texts = [text for track in tracks for text in track.texts]
    is_song = bool(metas)  # which has tempos at least, and its own name
    if not is_song and (tracks[0].name or not (texts or any(map(len, table)))):  # without a word it would not be read
        metas = [(0, _meta(NAME, tracks[0].name.encode(encoding)))]
    if tracks and tracks[0].port:
        metas = [*metas, (0, _meta(PORT, bytes([tracks[0].port])))]
    metas = [*metas, *((text.start_ticks, _meta(text.kind, text.text.encode(encoding))) for text in texts)]
    # A row: tick, rank, status byte and two data bytes, the second -1 where there is none. A meta event's: its place.
    rows = np.concatenate(
        [np.array([(tick, _FIRST, i, 0, 0) for i, (tick, _) in enumerate(metas)]).reshape(-1, 5), *table]
    )
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))].astype(np.int64)
    if len(rows) and rows[-1, 0] > MAX_TICKS:
        raise InputError(f"an event must come by tick {MAX_TICKS} to be written as MIDI, got {rows[-1, 0]}")
    return _laid_out(rows, [data for _, data in metas]) + b"\x00" + _meta(END, b"")


def _rows(track: Track) -> Iterator[NDArray[np.int64]]:
    """Yields a track's events as rows of `_body`; one without a channel has none."""
    if track.channel is None:
        return
    on_channel = track.channel

    def rows(start_ticks: NDArray[Any], rank: Any, kind: int, first: Any, second: Any) -> NDArray[np.int64]:
        status = kind << 4 | on_channel
        return np.stack(np.broadcast_arrays(start_ticks, rank, status, first, second), axis=1).astype(np.int64)

    notes, programs = track.notes, track.program_changes
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
