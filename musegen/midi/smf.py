"""Standard MIDI files: bytes to and from a `Score`, through symusic.

symusic reads in C++ and tells little about what is wrong, so the chunks of a file are walked here first: what is no
MIDI file, or is cut off, is refused with a reason that a user understands.
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from symusic import core
from symusic.core import ScoreTick, TrackTick

from musegen.errors import InputError, ScoreFileError
from musegen.midi.columns import MAX_TICKS, Columns, Controls, Keys, Meters, Notes, PitchBends, Tempos
from musegen.midi.score import Score, Track

ColumnsT = TypeVar("ColumnsT", bound=Columns)
_DENOMINATORS = frozenset((1, 2, 4, 8, 16, 32, 64))


def read(path: Path) -> Score:
    """Reads a .mid file; see `Score.read`."""
    data = _unwrapped(_content(path))
    reason = _refusal(data)
    if reason:
        raise ScoreFileError(path, reason)
    try:
        return _from_symusic(ScoreTick.from_midi(data))
    except InputError as error:
        raise ScoreFileError(path, f"damaged: {error}") from error
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:  # all that symusic was seen to raise, and kin
        raise ScoreFileError(path, f"damaged: {_reason(error)}") from error


def to_bytes(score: Score) -> bytes:
    """Returns a score as the bytes of a type-1 .mid file; see `Score.write`."""
    if score.end_ticks > MAX_TICKS:
        raise InputError(f"a note must end by tick {MAX_TICKS} to be written as MIDI, got {score.end_ticks}")
    for text in (*(track.name for track in score.tracks), *(text for _, text in score.texts)):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"a text or a track name cannot be written as UTF-8: {text!r}")
    return _to_symusic(score).dumps_midi()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ScoreFileError(path, "there is no such file") from error
    except IsADirectoryError as error:
        raise ScoreFileError(path, "is a folder, not a MIDI file") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ScoreFileError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _unwrapped(data: bytes) -> bytes:
    """Takes a MIDI file out of the RIFF container (kind RMID) that some Windows programs put it in."""
    if data[:4] == b"RIFF" and data[8:16] == b"RMIDdata":
        return data[20 : 20 + int.from_bytes(data[16:20], "little")]
    return data


def _refusal(data: bytes) -> str | None:
    """Walks the chunks of a file and says why it is no whole MIDI file, or returns None."""
    if not data:
        return "is empty (0 bytes)"
    if not data.startswith(b"MThd"):
        return "is not a MIDI file (its first bytes are not MThd)"
    if len(data) < 14:
        return f"is cut off in its header (it has {len(data)} bytes)"
    n_tracks, division = struct.unpack(">HH", data[10:14])
    if division >= 0x8000:
        return "counts time in SMPTE frames; only ticks per quarter can be read"
    if not division:
        return "damaged: it has 0 ticks per quarter"
    place, n_found = 14, 0
    while n_found < n_tracks and place < len(data):
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "big")
        place += 8 + length
        if place > len(data):
            return f"is cut off in track {n_found + 1} of {n_tracks} ({len(data)} of at least {place} bytes)"
        n_found += kind == b"MTrk"
    if n_found < n_tracks:
        return f"is cut off after track {n_found} of {n_tracks}"
    return None


def _reason(error: Exception) -> str:
    """Returns what symusic says ("Get velocity=176", "MiniMidi: Unexpected EOF ...: iostream error") in plain words."""
    text = " ".join(str(error).removeprefix("MiniMidi: ").removesuffix(": iostream error").split())[:200]
    value = re.fullmatch(r"Get (\w+)=(\d+)", text)
    return f"a {value[1]} of {value[2]}, allowed are 0..127" if value else text


def _from_symusic(source: ScoreTick) -> Score:
    return Score(
        ticks_per_quarter=source.ticks_per_quarter,
        tracks=tuple(_track(track) for track in source.tracks if len(track.notes)),
        # What no MIDI device would take is left out rather than refused: the notes are still good.
        tempos=_kept(Tempos, source.tempos, lambda event: event.mspq > 0),
        meters=_kept(
            Meters, source.time_signatures, lambda event: event.numerator > 0 and event.denominator in _DENOMINATORS
        ),
        keys=_kept(Keys, source.key_signatures, lambda event: abs(event.key) <= 7 and event.tonality <= 1),
        texts=tuple((marker.time, marker.text) for marker in source.markers),
    )


def _kept(kind: type[ColumnsT], events: Any, is_valid: Callable[[Any], bool]) -> ColumnsT:
    columns = events.numpy().values()
    is_kept = [bool(is_valid(event)) for event in events]
    return kind.from_int32(*columns if all(is_kept) else (column[is_kept] for column in columns))


def _track(source: TrackTick) -> Track:
    more: dict[str, Any] = {}
    if len(source.controls):
        more["controls"] = Controls.from_int32(*source.controls.numpy().values())
    if len(source.pitch_bends):
        more["pitch_bends"] = PitchBends.from_int32(*source.pitch_bends.numpy().values())
    notes = Notes.from_int32(*source.notes.numpy().values())
    if notes.duration_ticks.max() > MAX_TICKS:
        raise InputError(f"a note lasts longer than {MAX_TICKS} ticks")
    return Track(source.name, source.program, source.is_drum, notes, **more)


def _to_symusic(score: Score) -> ScoreTick:
    # A score without tracks still has tempos and texts, and these live in the first track.
    tracks = score.tracks or (Track("", 0, False, Notes()),)
    out = core.ScoreTick(score.ticks_per_quarter)
    for track in tracks:
        part = core.TrackTick(track.name, track.program, track.is_drum)
        part.notes = core.NoteTickList.from_numpy(*_as(track.notes, "i4", "i4", "i1", "i1"))
        part.controls = core.ControlChangeTickList.from_numpy(*_as(track.controls, "i4", "u1", "u1"))
        part.pitch_bends = core.PitchBendTickList.from_numpy(*_as(track.pitch_bends, "i4", "i4"))
        out.tracks.append(part)
    out.tempos = core.TempoTickList.from_numpy(*_as(score.tempos, "i4", "i4"))
    out.time_signatures = core.TimeSignatureTickList.from_numpy(*_as(score.meters, "i4", "u1", "u1"))
    out.key_signatures = core.KeySignatureTickList.from_numpy(*_as(score.keys, "i4", "i1", "u1"))
    for tick, text in score.texts:
        out.markers.append(core.TextMetaTick(tick, text))
    return out


def _as(columns: Columns, *dtypes: str) -> list[Any]:
    return [column.astype(dtype) for column, dtype in zip(columns.columns(), dtypes, strict=True)]
