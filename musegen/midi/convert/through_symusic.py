"""Scores from and to symusic's scores."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.columns import DENOMINATORS, Columns, Controls, Keys, Meters, Notes, PitchBends, Tempos
from musegen.midi.convert.kinds import check_kind
from musegen.midi.convert.programs import by_program
from musegen.midi.score import Score, Text, TextKind, Track

if TYPE_CHECKING:
    import symusic.core


def from_symusic(score: "symusic.core.ScoreTick | symusic.core.ScoreQuarter | symusic.core.ScoreSecond") -> Score:
    """Reads a score of symusic; one in quarters or seconds is first converted by its own `to("tick")`.

    symusic derives its pedals from controller 64: where a track has pedals alone they become controls.

    Raises:
        InputError: a value is out of range.
    """
    check_kind(score, "symusic", "ScoreTick", "ScoreQuarter", "ScoreSecond")
    source: Any = score if type(score).__name__ == "ScoreTick" else score.to("tick")
    meters, keys = source.time_signatures, source.key_signatures
    good_meters = [1 <= m.numerator <= 255 and m.denominator in DENOMINATORS for m in meters]
    good_keys = [abs(key.key) <= 7 and key.tonality <= 1 for key in keys]
    left_out = {"meters": good_meters.count(False), "keys": good_keys.count(False)}
    return Score(
        ticks_per_quarter=source.ticks_per_quarter,
        tracks=tuple(_track(track) for track in source.tracks),
        tempos=Tempos(*source.tempos.numpy().values()),
        meters=Meters(*(column[np.array(good_meters, bool)] for column in meters.numpy().values())),
        keys=Keys(*(column[np.array(good_keys, bool)] for column in keys.numpy().values())),
        texts=tuple(Text(marker.time, marker.text) for marker in source.markers),
        left_out={kind: n for kind, n in left_out.items() if n},
    )


def _track(source: Any) -> Track:
    controls = Controls(*source.controls.numpy().values())
    if len(source.pedals) and not (controls.number == 64).any():
        down, lasting = source.pedals.numpy().values()
        ones = np.ones(len(down), np.uint8)
        pedals = Controls(np.append(down, down + lasting), np.tile(64 * ones, 2), np.append(127 * ones, 0 * ones))
        controls = controls.joined(pedals)
    return Track(
        source.name,
        source.program,
        source.is_drum,
        Notes(*source.notes.numpy().values()),
        controls,
        PitchBends(*source.pitch_bends.numpy().values()),
        texts=tuple(Text(lyric.time, lyric.text, TextKind.LYRIC) for lyric in source.lyrics),
    )


def to_symusic(score: Score) -> "symusic.core.ScoreTick":
    """Returns a score as symusic's score in ticks.

    It cannot hold: the title, texts other than the markers of the song and the lyrics of its tracks, channels and
    ports, aftertouch. A track that changes its program becomes one track a program, as symusic reads it.

    Raises:
        InputError: symusic is not installed.
    """
    try:
        from symusic import core
    except ImportError as error:
        raise InputError("symusic is not installed: pip install symusic") from error

    out = core.ScoreTick(score.ticks_per_quarter)
    for track in score.tracks:
        for part in by_program(track):
            out.tracks.append(_to_track(core, part))
    out.tempos = core.TempoTickList.from_numpy(*_typed(score.tempos, "i4", "i4"))
    out.time_signatures = core.TimeSignatureTickList.from_numpy(*_typed(score.meters, "i4", "u1", "u1"))
    out.key_signatures = core.KeySignatureTickList.from_numpy(*_typed(score.keys, "i4", "i1", "u1"))
    for text in score.texts:
        if text.kind is TextKind.MARKER:
            out.markers.append(core.TextMetaTick(text.start_ticks, text.text))
    return out


def _to_track(core: Any, track: Track) -> "symusic.core.TrackTick":
    out = core.TrackTick(track.name, track.program, track.is_drum)
    out.notes = core.NoteTickList.from_numpy(*_typed(track.notes, "i4", "i4", "i1", "i1"))
    out.controls = core.ControlChangeTickList.from_numpy(*_typed(track.controls, "i4", "u1", "u1"))
    out.pitch_bends = core.PitchBendTickList.from_numpy(*_typed(track.pitch_bends, "i4", "i4"))
    for text in track.texts:
        if text.kind is TextKind.LYRIC:
            out.lyrics.append(core.TextMetaTick(text.start_ticks, text.text))
    return out


def _typed(columns: Columns, *dtypes: str) -> list[NDArray[Any]]:
    return [column.astype(dtype) for column, dtype in zip(columns.columns(), dtypes, strict=True)]
