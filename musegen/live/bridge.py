"""The bridge for programs that run scripts: a fragment of a score goes in with what is wanted, and a score comes out.

Wishes come as JSON or as the texts of a query, so that a value may be a text that says it: "3-4", "alto,tenor", "0.9".
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from musegen.api.composing import continue_score
from musegen.api.harmonizing import harmonize
from musegen.api.infilling import infill
from musegen.errors import InputError, ScoreFileError, UnknownNameError
from musegen.midi.formats import read
from musegen.midi.score import Score

MAX_BYTES = 4 << 20
FORMATS = ("mid", "musicxml", "notes")
_MOST_SHOWN = 100

Note = tuple[int, int, int]
"""A locked note: its track, counted from 1, the tick at which it begins, and its pitch."""


def answer(fragment: bytes, wishes: Mapping[str, object]) -> bytes:
    """Continues, restores or harmonizes a fragment of a score. What is not asked for comes back as it was.

    Args:
        fragment: the content of a MIDI, MusicXML, ABC or Humdrum file, up to 4 MiB.
        wishes: "verb" ("continue", "infill" or "harmonize"); "format" of the answer ("mid", "musicxml", or "notes" for
            programs that read neither: a line for each note); "locked", a list of [track, start tick, pitch] of notes
            that must come back exactly; and those of the verb: of `continue_score` bars, only_new, composer,
            instruments, key, tempo, meter, density, temperature, top_p, guidance and seed; of `infill` bars ("3-4"),
            tracks, add, voices, composer, density, top_p, guidance, candidates, passes, temperature and seed; of
            `harmonize` voice, track, instruments, candidates, passes, temperature and seed.

    Returns:
        The content of a file of that format.

    Raises:
        InputError: a wish is unknown or not usable, or a locked note is not there or could not be kept.
        ScoreFileError: the fragment cannot be read.
        CheckpointError: a model is damaged.
    """
    if len(fragment) > MAX_BYTES:
        raise InputError(f"score has {len(fragment):,} bytes; allowed are {MAX_BYTES:,}")
    asked = dict(wishes)
    verb = asked.pop("verb", None)
    if verb is None:
        raise InputError(f"verb is missing; allowed are {', '.join(_VERBS)}")
    if not isinstance(verb, str) or verb not in _VERBS:
        raise UnknownNameError("verb", str(verb)[:_MOST_SHOWN], _VERBS)
    form = asked.pop("format", FORMATS[0])
    if form not in FORMATS:
        raise UnknownNameError("format", str(form)[:_MOST_SHOWN], FORMATS)
    locked = _locked(asked.pop("locked", None))
    options = _read_wishes(verb, asked)
    with TemporaryDirectory() as folder:
        score = _read(Path(folder) / "score", fragment)
        _check_locked(score, locked)
        if locked and options.get("only_new"):
            raise InputError("only_new leaves out locked notes; allowed is one of them")
        made = _VERBS[verb].call(score, **options)
        found = made[0] if isinstance(made, list) else made
        _check_kept(score, found, locked)
        if form == "notes":
            return _notes(found)
        path = Path(folder) / f"answer.{form}"
        found.write(path)
        return path.read_bytes()


def _notes(score: Score) -> bytes:
    """Returns a line for each note: track from 1, pitch, velocity, and in quarters its beginning and length."""
    quarter = score.ticks_per_quarter
    lines = [
        f"{number} {pitch} {velocity} {start / quarter:.6f} {length / quarter:.6f}\n"
        for number, track in enumerate(score.tracks, 1)
        for start, length, pitch, velocity in track.notes
    ]
    return "".join(lines).encode()


def _read(path: Path, fragment: bytes) -> Score:
    path.write_bytes(fragment)
    try:
        return read(path)
    except ScoreFileError as error:
        raise ScoreFileError("score", error.reason) from None


# --- Wishes

Reader = Callable[[str, object], Any]


def _read_wishes(verb: str, asked: Mapping[str, object]) -> dict[str, Any]:
    readers = _VERBS[verb].readers
    for name in asked:
        if name not in readers:
            known = ", ".join(("verb", "format", "locked", *readers))
            raise InputError(f"{_shown(name)} is no wish of {verb}; allowed are {known}")
    return {name: readers[name](name, value) for name, value in asked.items() if value is not None}


def _shown(value: object) -> str:
    """Returns what came, as much of it as a line has room for."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is {_shown(value)}; allowed are texts")
    return value.strip()


def _number(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not isfinite(number):
        raise InputError(f"{name} is {_shown(value)}; allowed are numbers")
    return number


def _whole(name: str, value: object) -> int:
    if isinstance(value, str) and len(value) < 20 and re.fullmatch(r"\s*-?[0-9]+\s*", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InputError(f"{name} is {_shown(value)}; allowed are whole numbers")


def _flag(name: str, value: object) -> bool:
    known = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}
    if not isinstance(value, bool | str) or value not in known:
        raise InputError(f"{name} is {_shown(value)}; allowed are true and false")
    return known[value]


def _names(name: str, value: object) -> list[str]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        raise InputError(f"{name} is {_shown(value)}; allowed are lists of names")
    return [_text(name, each) for each in names]


def _tracks(name: str, value: object) -> list[str | int]:
    tracks = value.split(",") if isinstance(value, str) else value
    if not isinstance(tracks, list) or not tracks:
        raise InputError(f"{name} is {_shown(value)}; allowed are lists of names and numbers")
    return [track if type(track) is int else _text(name, track) for track in tracks]


def _name_or_names(name: str, value: object) -> str | list[str]:
    names = _names(name, value)
    return names[0] if len(names) == 1 else names


def _span(name: str, value: object) -> tuple[int, int]:
    ends = value.split("-") if isinstance(value, str) else value
    if not isinstance(ends, list) or not 1 <= len(ends) <= 2:
        raise InputError(f"{name} is {_shown(value)}; allowed are such as 3-4")
    return _whole(name, ends[0]), _whole(name, ends[-1])


@dataclass(frozen=True)
class _Verb:
    """A verb and how its wishes are read."""

    call: Callable[..., Score | list[Score]]
    readers: Mapping[str, Reader]


_DRAWN: dict[str, Reader] = {"temperature": _number, "seed": _whole}
_SUNG: dict[str, Reader] = {"candidates": _whole, "passes": _whole, **_DRAWN}
_VERBS: dict[str, _Verb] = {
    "continue": _Verb(
        continue_score,
        {
            "bars": _whole,
            "only_new": _flag,
            "composer": _text,
            "instruments": _names,
            "key": _text,
            "tempo": _number,
            "meter": _text,
            "density": _text,
            "top_p": _number,
            "guidance": _number,
            **_DRAWN,
        },
    ),
    "infill": _Verb(
        infill,
        {
            "bars": _span,
            "tracks": _tracks,
            "add": _names,
            "voices": _names,
            "composer": _text,
            "density": _text,
            "top_p": _number,
            "guidance": _number,
            **_SUNG,
        },
    ),
    "harmonize": _Verb(harmonize, {"voice": _text, "track": _whole, "instruments": _name_or_names, **_SUNG}),
}


# --- Locked notes


def _locked(value: object) -> list[Note]:
    try:
        notes = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        notes = 0
    if notes is None:
        return []
    if not isinstance(notes, list) or not all(isinstance(note, list) and len(note) == 3 for note in notes):
        raise InputError("locked must be a list of [track, start tick, pitch]")
    return [(_whole("locked", note[0]), _whole("locked", note[1]), _whole("locked", note[2])) for note in notes]


def _check_locked(score: Score, locked: list[Note]) -> None:
    for note in locked:
        if not 1 <= note[0] <= len(score.tracks) or not _lengths(score, note):
            raise InputError(f"locked has {list(note)}, and score has no such note")


def _check_kept(score: Score, found: Score, locked: list[Note]) -> None:
    """Raises InputError where a locked note is not in the answer, in the track that has its name or its place."""
    for note in locked:
        track = score.tracks[note[0] - 1]
        places = [place for place, other in enumerate(found.tracks, 1) if place == note[0] or other.name == track.name]
        if not any(_lengths(score, note) <= _lengths(found, (place, *note[1:])) for place in places):
            raise InputError(
                f"locked has {list(note)}, which would be written anew; ask for other bars, voices or tracks"
            )


def _lengths(score: Score, note: Note) -> set[int]:
    """Returns how long the notes last that begin in a track at a tick with a pitch."""
    if note[0] > len(score.tracks):
        return set()
    notes = score.tracks[note[0] - 1].notes
    here = (notes.start_ticks == note[1]) & (notes.pitch == note[2])
    return set(notes.duration_ticks[here].tolist())
