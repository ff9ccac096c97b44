"""The bytes of a Standard MIDI file as a `Score`.

`scan` turns the bytes into columns for the whole file; here these are sorted once and cut into tracks by views.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi import limits
from musegen.midi.columns import (
    MAX_TICKS,
    Columns,
    Controls,
    KeyPressures,
    Keys,
    Meters,
    Notes,
    PitchBends,
    Pressures,
    Programs,
    Tempos,
)
from musegen.midi.score import DRUM_CHANNEL, Score, Text, TextKind, Track
from musegen.midi.smf.events import KEY, LAST_TEXT, METER, NAME, PITCH_BEND, PORT, PRESSURE, PROGRAM, TEMPO
from musegen.midi.smf.scan import Scan

_NO_NOTES, _NO_PROGRAMS, _NO_TEMPOS, _NO_METERS, _NO_KEYS = Notes(), Programs(), Tempos(), Meters(), Keys()
ColumnsT = TypeVar("ColumnsT", bound=Columns)


def from_bytes(data: bytes, encoding: str | None = None) -> Score:
    """Returns what the bytes of a .mid file say; see `Score.read`.

    Raises:
        InputError: they are no MIDI file, are damaged or cut off, or pass a limit.
    """
    data = _unwrapped(data)
    ticks_per_quarter, frames_us, chunks = _chunks(data)
    most = limits.current()
    scan = Scan(sum(stop - start for start, stop in chunks), most.notes, most.meta_events)
    try:
        for number, (start, stop) in enumerate(chunks):
            scan.track(data, start, stop, number)
    except InputError as error:
        hint = "notes" if "notes" in str(error) else "meta_events" if "meters" in str(error) else None
        raise InputError(f"{error} ({limits.how_to_raise(hint)})" if hint else str(error)) from None
    return _Reader(scan, encoding).score(ticks_per_quarter, frames_us, len(chunks))


def _unwrapped(data: bytes) -> bytes:
    """Takes a MIDI file out of the RIFF container (kind RMID) that some Windows programs put it in."""
    if data[:4] == b"RIFF" and data[8:16] == b"RMIDdata":
        return data[20 : 20 + int.from_bytes(data[16:20], "little")]
    return data


def _chunks(data: bytes) -> tuple[int, int | None, list[tuple[int, int]]]:
    """Returns the ticks per quarter, the length of one where time counts film frames, and where the tracks lie."""
    if not data.startswith(b"MThd"):
        raise InputError("is not a MIDI file (its first bytes are not MThd)")
    if len(data) < 14:
        raise InputError(f"is cut off in its header (it has {len(data)} bytes)")
    length, kind, n_tracks, division = struct.unpack(">IHHH", data[4:14])
    if length < 6:
        raise InputError(f"damaged: its header has {length} bytes, 6 is the least")
    if kind > 2:
        raise InputError(f"is a MIDI file of type {kind}; there are 0, 1 and 2")
    ticks_per_quarter, frames_us = _time(division)
    place, chunks = 8 + length, []
    while len(chunks) < n_tracks and place < len(data):
        name, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "big")
        start, place = place + 8, place + 8 + length
        if place > len(data):
            raise InputError(f"is cut off in track {len(chunks) + 1} of {n_tracks} ({len(data)} of {place} bytes)")
        if name == b"MTrk":
            chunks.append((start, place))
    if len(chunks) < n_tracks:
        raise InputError(f"is cut off after track {len(chunks)} of {n_tracks}")
    return ticks_per_quarter, frames_us, chunks


def _time(division: int) -> tuple[int, int | None]:
    """Returns the ticks per quarter, and for SMPTE time the microseconds that one lasts: about a second."""
    if division < 0x8000:
        if not division:
            raise InputError("damaged: it has 0 ticks per quarter")
        return division, None
    frames, ticks = 256 - (division >> 8), division & 255
    if frames not in (24, 25, 29, 30) or not ticks:
        raise InputError(f"damaged: its time counts {ticks} ticks a frame at {frames} frames a second")
    # 29 stands for 30000/1001 frames a second.
    return (30 * ticks, 1_001_000) if frames == 29 else (frames * ticks, 1_000_000)


class _Reader:
    """Cuts the columns of a whole file into tracks."""

    def __init__(self, scan: Scan, encoding: str | None):
        self.scan = scan
        self.left_out = Counter[str]()
        if encoding:
            try:
                b"a\xff".decode(encoding, "replace")
            except (LookupError, UnicodeError):
                raise InputError(f"encoding must be one that Python knows for text, got {encoding!r}") from None
        self.encoding = encoding or _encoding(data for _, _, kind, data in scan.metas if kind <= LAST_TEXT)
        self.playing: dict[int, list[int]] = {}  # the channels of each track that has any
        self.names: dict[int, str] = {}
        self.ports: dict[int, int] = {}
        self.texts: dict[int, list[Text]] = {}
        self.meters: list[tuple[int, int, int]] = []
        self.keys: list[tuple[int, int, int, int]] = []  # the track's number comes second
        for number, start_ticks, kind, data in scan.metas:
            self._meta(number, start_ticks, kind, data)

    def _meta(self, number: int, start_ticks: int, kind: int, data: bytes) -> None:
        if kind == NAME and not self.names.get(number):
            self.names[number] = self._text(data)
        elif kind <= LAST_TEXT:
            self.texts.setdefault(number, []).append(Text(start_ticks, self._text(data), TextKind(kind)))
        elif kind == METER and len(data) >= 2 and data[0] and data[1] <= 6:
            self.meters.append((start_ticks, data[0], 1 << data[1]))
        elif kind == KEY and len(data) == 2 and (data[0] + 7) % 256 <= 14 and data[1] <= 1:
            self.keys.append((start_ticks, number, (data[0] + 128) % 256 - 128, data[1]))
        elif kind == PORT and len(data) == 1 and data[0] <= 127 and number not in self.ports:
            self.ports[number] = data[0]
        else:
            self.left_out[{METER: "meters", KEY: "keys", TEMPO: "tempos"}.get(kind, "other_meta_events")] += 1

    def _text(self, data: bytes) -> str:
        return data.decode(self.encoding, "replace")

    def score(self, ticks_per_quarter: int, frames_us: int | None, n_chunks: int) -> Score:
        scan = self.scan
        tracks = self._tracks(n_chunks)
        start_ticks, us_per_quarter = _columns(scan.tempos, scan.n_tempos)
        if frames_us is not None:  # time in film frames knows no tempo
            self.left_out["tempos"] += scan.n_tempos
            start_ticks, us_per_quarter = np.array([0]), np.array([frames_us])
        tempos = _changes(_NO_TEMPOS, start_ticks, us_per_quarter)
        meters = _changes(_NO_METERS, *zip(*self.meters, strict=True))
        keys = _changes(_NO_KEYS, *zip(*self._keys(), strict=True))
        if len(start_ticks) + len(self.meters) + len(self.keys) > len(tempos) + len(meters) + len(keys):
            told = {*zip(start_ticks.tolist(), us_per_quarter.tolist(), strict=True)}
            n_told = len(told) + len({*self.meters}) + len({(tick, *key) for tick, _, *key in self.keys})
            self.left_out["changes_at_one_tick"] += n_told - len(tempos) - len(meters) - len(keys)
        self.left_out["release_velocities"] += scan.n_release
        self.left_out["system_messages"] += scan.n_system
        self.left_out["other_meta_events"] += scan.n_meta
        self.left_out["unclosed_notes"] += scan.n_unclosed
        self.left_out["stray_note_offs"] += scan.n_stray
        return Score(
            ticks_per_quarter=ticks_per_quarter,
            tracks=tracks,
            tempos=tempos,
            meters=meters,
            keys=keys,
            texts=tuple(self.texts.get(0, ())),
            name=self.names.get(0, ""),
            encoding=self.encoding,
            left_out={kind: count for kind, count in self.left_out.items() if count},
        )

    def _keys(self) -> list[tuple[int, int, int]]:
        """Returns the key signatures such that, where tracks disagree, the first track that plays has the last word."""
        ranked = sorted(self.keys, key=lambda key: (key[0], key[1] in self.playing, -key[1]))
        return [(start_ticks, sharps, minor) for start_ticks, _, sharps, minor in ranked]

    def _tracks(self, n_chunks: int) -> tuple[Track, ...]:
        notes, others = _notes(self.scan), _others(self.scan)
        programs = _channel_programs(others, self.ports)
        playing = self.playing
        for part in sorted(notes.keys() | others.keys()):
            playing.setdefault(part >> 4, []).append(part & 15)
        numbers = sorted({0, *playing, *self.names, *self.texts})
        self.left_out["empty_tracks"] += n_chunks - len(numbers) if n_chunks else 0
        tracks: list[Track] = []
        for place, number in enumerate(numbers):  # empty ones do not count
            name, port = self.names.get(number, ""), self.ports.get(number, 0)
            texts = tuple(self.texts.get(number, ())) if number else ()
            if number and number not in playing:
                tracks.append(Track(name, 0, False, _NO_NOTES, texts=texts, port=port, chunk=place))
            for channel in playing.get(number, ()):
                part = number << 4 | channel
                events, its_notes = others.get(part, {}), notes.get(part, _NO_NOTES)
                program, changes = _programs(its_notes, events.pop("programs", None), programs.get((port, channel), []))
                tracks.append(
                    Track(
                        name, program, channel == DRUM_CHANNEL, its_notes,
                        programs=changes, texts=texts, channel=channel, port=port, chunk=place, **events,
                    )
                )  # fmt: skip
                texts = ()
        return tuple(tracks)


def _encoding(texts: Iterable[bytes]) -> str:
    """Returns "utf-8" if all texts are, else "latin-1", which any bytes are."""
    try:
        b"\n".join(texts).decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _columns(columns: tuple[NDArray[Any], ...], n: int) -> list[NDArray[Any]]:
    """Returns the first `n` rows, read-only, as are all that are cut from them."""
    kept = [column[:n].copy() for column in columns]  # not views: the columns have room for far more
    for column in kept:
        column.setflags(write=False)
    return kept


def _notes(scan: Scan) -> dict[int, Notes]:
    """Returns the notes of each part, in canonical order."""
    columns = _columns(scan.notes, scan.n_notes)
    if not scan.in_order:
        start, duration, _, pitch, velocity = columns
        columns = _sorted(columns, np.lexsort((velocity, duration, pitch, start)))
    start, duration, part, pitch, velocity = _by(2, columns)
    return {
        int(part[low]): Notes.from_checked(start[low:high], duration[low:high], pitch[low:high], velocity[low:high])
        for low, high in _runs(part)
    }


def _others(scan: Scan) -> dict[int, dict[str, Any]]:
    """Returns the events of each part that are no notes, as arguments for `Track`."""
    found: dict[int, dict[str, Any]] = {}
    if scan.n_controls:
        start, part, first, second = _by(1, _columns(scan.controls, scan.n_controls))
        for low, high in _runs(part):
            rows = slice(low, high)
            found[int(part[low])] = {"controls": Controls.from_checked(start[rows], first[rows], second[rows])}
    if not scan.n_others:
        return found
    start, part, kind, first, second = _columns(scan.others, scan.n_others)
    start, key, first, second = _by(1, [start, (part << 4) | kind, first, second])
    for low, high in _runs(key):
        rows = slice(low, high)
        number, which = divmod(int(key[low]), 16)
        events = found.setdefault(number, {})
        if which == PROGRAM:
            events["programs"] = Programs.from_checked(start[rows], first[rows])
        elif which == PITCH_BEND:
            value = (second[rows].astype(np.int16) << 7) + first[rows] - np.int16(8192)
            value.setflags(write=False)
            events["pitch_bends"] = PitchBends.from_checked(start[rows], value)
        elif which == PRESSURE:
            events["pressures"] = Pressures.from_checked(start[rows], first[rows])
        else:
            events["key_pressures"] = KeyPressures.from_checked(start[rows], first[rows], second[rows])
    return found


def _changes(none: ColumnsT, *values: Any) -> ColumnsT:
    """Returns changes of the kind of `none`: sorted, and only the last of a tick, where they are not in order.

    Args:
        none: no changes of the kind, and the answer where there are none.
        values: the columns, whose values are in range.
    """
    kind = type(none)
    columns: list[NDArray[Any]] = [
        np.array(each, column.dtype) for column, each in zip(kind.table, values, strict=False)
    ]
    if not columns:
        return none
    start = columns[0]
    if not (start[1:] > start[:-1]).all():
        return kind(*columns)
    for column in columns:
        column.setflags(write=False)
    return kind.from_checked(*columns)


def _by(place: int, columns: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Returns the rows sorted by one column, those of equal value in the order they were."""
    key = columns[place]
    if (key[1:] >= key[:-1]).all():
        return columns
    if key.max() < 1 << 16:
        key = key.astype(np.uint16)  # which NumPy sorts by digits, several times faster
    return _sorted(columns, np.argsort(key, kind="stable"))


def _sorted(columns: list[NDArray[Any]], order: NDArray[np.intp]) -> list[NDArray[Any]]:
    columns = [column[order] for column in columns]
    for column in columns:
        column.setflags(write=False)
    return columns


def _runs(values: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Returns where each run of equal values, which are in order, begins and ends."""
    if not len(values):
        return iter(())
    if values[0] == values[-1]:
        return iter(((0, len(values)),))
    cuts = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    return zip([0, *cuts], [*cuts, len(values)], strict=True)


def _channel_programs(
    others: dict[int, dict[str, Any]], ports: dict[int, int]
) -> dict[tuple[int, int], list[Programs]]:
    """Returns the program changes of all tracks by (port, channel): a track without any of its own shares them."""
    found: dict[tuple[int, int], list[Programs]] = {}
    for part, events in others.items():
        if "programs" in events:
            found.setdefault((ports.get(part >> 4, 0), part & 15), []).append(events["programs"])
    return found


def _programs(notes: Notes, own: Programs | None, on_channel: list[Programs]) -> tuple[int, Programs | None]:
    """Returns what `Track` says of programs: that of the first note, and the changes unless they are the usual one."""
    if own is not None and len(own.program) == 1 and own.start_ticks[0] == 0:
        return int(own.program[0]), None
    first = int(notes.start_ticks[0]) if len(notes) else MAX_TICKS
    if own is None:
        return _program_at(first, on_channel), _NO_PROGRAMS
    return _program_at(first, [own]), own


def _program_at(tick: int, changes: list[Programs]) -> int:
    """Returns the newest program that some changes have set by a tick; 0 if none."""
    newest, program = -1, 0
    for events in changes:
        place = int(np.searchsorted(events.start_ticks, tick, side="right")) - 1
        if place >= 0 and events.start_ticks[place] >= newest:
            newest, program = int(events.start_ticks[place]), int(events.program[place])
    return program
