"""Scores from and to the objects of other libraries, and from anything that holds one.

What an object is, is told without importing its library. The functions for pretty_midi, symusic and NumPy arrays have
modules of their own; mido and music21 speak bytes and notation, which are read and written elsewhere.
"""

import io
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from musegen.errors import InputError
from musegen.midi.convert.arrays import PianoRoll, from_notes, from_piano_roll
from musegen.midi.convert.kinds import check_kind, kinds
from musegen.midi.convert.through_pretty_midi import from_pretty_midi
from musegen.midi.convert.through_symusic import from_symusic
from musegen.midi.score import Score, Text, TextKind

if TYPE_CHECKING:
    import mido
    import music21
    import pretty_midi
    import symusic.core

    ScoreLike: TypeAlias = (
        Score
        | str
        | os.PathLike[str]
        | pretty_midi.PrettyMIDI
        | mido.MidiFile
        | music21.stream.Stream
        | symusic.core.ScoreTick
        | symusic.core.ScoreQuarter
        | symusic.core.ScoreSecond
        | np.ndarray
        | Sequence[tuple[int | None, float]]
        | PianoRoll
    )
else:
    ScoreLike = object  # its parts are other libraries', which are not imported for a name

_PROGRAM_NAME = "\x00musegen: the name of a program\x00"


# mido -----------------------------------------------------------------------------------------------------------------


def from_mido(mid: "mido.MidiFile") -> Score:
    """Reads a `mido.MidiFile`, loaded from a file or built message by message; nothing in it is changed.

    It says what its bytes say, so whatever `Score.read` keeps of a file is kept. Texts are taken in its `charset`; with
    mido's default, Latin-1, as `Score.read` takes them.

    Raises:
        InputError: mido cannot write it (times that are not whole ticks, a file of type 0 with several tracks), or it
            holds what no score can.
    """
    from musegen.midi.smf import from_bytes

    check_kind(mid, "mido", "MidiFile")
    is_latin = mid.charset.lower().replace("-", "").replace("_", "") in ("latin1", "iso88591")
    try:
        data, encoding = _mido_bytes(mid, mid.charset), None if is_latin else mid.charset
    except UnicodeEncodeError:  # built by hand, with texts that its charset does not have
        data, encoding = _mido_bytes(mid, "utf-8"), "utf-8"
    return from_bytes(data, encoding)


def _mido_bytes(mid: "mido.MidiFile", charset: str) -> bytes:
    import mido

    out = io.BytesIO()
    try:
        mido.MidiFile(type=mid.type, ticks_per_beat=mid.ticks_per_beat, charset=charset, tracks=mid.tracks).save(
            file=out
        )
    except UnicodeEncodeError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, struct.error) as error:
        raise InputError(f"mido cannot write this MidiFile: {error}") from error
    return out.getvalue()


def to_mido(score: Score) -> "mido.MidiFile":
    """Returns a score as a `mido.MidiFile` of type 1 in UTF-8, which holds all of it.

    Raises:
        InputError: as for `Score.write`.
    """
    import mido

    from musegen.midi.smf import to_bytes

    # In UTF-8, which has every text: in a score's own encoding there may be some that it was not read in.
    tracks = tuple(replace(track, texts=_program_names_as_texts(track.texts)) for track in score.tracks)
    score = replace(score, tracks=tracks, texts=_program_names_as_texts(score.texts), encoding="utf-8")
    mid = mido.MidiFile(file=io.BytesIO(to_bytes(score)), charset="utf-8")
    for track in mid.tracks:
        for place, message in enumerate(track):
            if message.type == "text" and message.text.startswith(_PROGRAM_NAME):
                data = message.text.removeprefix(_PROGRAM_NAME).encode()
                track[place] = mido.UnknownMetaMessage(TextKind.PROGRAM, data, time=message.time)
    return mid


def _program_names_as_texts(texts: tuple[Text, ...]) -> tuple[Text, ...]:
    """Returns texts of which mido knows every kind: of others it forgets the ticks before them when it reads a file."""
    if all(text.kind is not TextKind.PROGRAM for text in texts):
        return texts
    return tuple(
        Text(text.start_ticks, _PROGRAM_NAME + text.text, TextKind.TEXT) if text.kind is TextKind.PROGRAM else text
        for text in texts
    )


# music21 --------------------------------------------------------------------------------------------------------------


def from_music21(stream: "music21.stream.Stream") -> Score:
    """Reads any stream of music21 as it sounds; see `midi.notation.from_music21`."""
    from musegen.midi.notation.reading import from_music21 as convert

    return convert(stream)


def to_music21(score: Score) -> "music21.stream.Score":
    """Returns a score as notation of music21; see `midi.engraving.to_music21`."""
    from musegen.midi.engraving.musicxml import to_music21 as convert

    return convert(score)


# Anything -------------------------------------------------------------------------------------------------------------


_OBJECTS: dict[tuple[str, str], Callable[[Any], Score]] = {
    ("pretty_midi", "PrettyMIDI"): from_pretty_midi,
    ("mido", "MidiFile"): from_mido,
    ("music21", "Stream"): from_music21,
    ("symusic", "ScoreTick"): from_symusic,
    ("symusic", "ScoreQuarter"): from_symusic,
    ("symusic", "ScoreSecond"): from_symusic,
}


def as_score(thing: "ScoreLike") -> Score:
    """Makes a score of whatever holds one.

    Args:
        thing: a `Score` (given back as it is), the path of a score file, a `pretty_midi.PrettyMIDI`, a
            `mido.MidiFile`, any stream of music21, a score of symusic, a NumPy note array or (pitch, quarters) pairs
            (see `from_notes`), or a piano-roll (see `from_piano_roll`).

    Raises:
        InputError: it is none of these, or it holds what no score can; ScoreFileError: a file cannot be read.
    """
    if isinstance(thing, Score):
        return thing
    if isinstance(thing, str | os.PathLike):
        return Score.read(thing)
    for kind in kinds(thing):
        if kind in _OBJECTS:
            return _OBJECTS[kind](thing)
    if isinstance(thing, PianoRoll) or (isinstance(thing, np.ndarray) and thing.ndim == 2 and thing.shape[1] == 128):
        return from_piano_roll(thing)
    if isinstance(thing, np.ndarray | list | tuple):
        return from_notes(thing)
    raise InputError(
        f"a score cannot be made of a {type(thing).__module__}.{type(thing).__qualname__}; allowed are "
        "a Score, a path, a PrettyMIDI, a mido MidiFile, a music21 stream, a symusic score, a note array, "
        "(pitch, quarters) pairs and a piano-roll"
    )
