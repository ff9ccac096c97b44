"""A score as bytes for another process of this machine: exact, quick, and no pickle. Not a file format."""

import io
import json
from dataclasses import fields
from typing import Any

import numpy as np

from musegen.midi.columns import Columns
from musegen.midi.score import Score, Text, TextKind, Track


def to_npz(score: Score) -> bytes:
    """Returns a score as an .npz archive: its columns as arrays, all else as JSON."""
    arrays: dict[str, Any] = {}
    facts = _taken_apart(score, "", arrays)
    facts["tracks"] = [_taken_apart(track, f"{index}.", arrays) for index, track in enumerate(score.tracks)]
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
    return buffer.getvalue()


def from_npz(data: bytes) -> Score:
    """Returns the score of which `to_npz` made these bytes."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = dict(archive)
    facts = json.loads(arrays.pop("facts").tobytes())
    tracks = tuple(
        Track(**_put_together(Track, track, f"{index}.", arrays)) for index, track in enumerate(facts.pop("tracks"))
    )
    return Score(tracks=tracks, **_put_together(Score, facts, "", arrays))


def _taken_apart(owner: Score | Track, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if isinstance(value, Columns):
            for column, array in zip(value.table, value.columns(), strict=True):
                arrays[f"{prefix}{field.name}.{column.name}"] = array
            facts[field.name] = type(value).__name__
        elif field.name == "left_out":
            facts[field.name] = dict(value)
        elif field.name != "tracks":
            facts[field.name] = value
    return facts


def _put_together(owner: type, facts: dict[str, Any], prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    kinds = {kind.__name__: kind for kind in _column_kinds(Columns)}
    for field in fields(owner):
        if field.name == "tracks":
            continue
        value = facts[field.name]
        if field.name == "texts":
            value = tuple(Text(tick, text, TextKind(kind)) for tick, text, kind in value)
        elif f"{prefix}{field.name}.start_ticks" in arrays:
            kind = kinds[value]
            value = kind(*(arrays[f"{prefix}{field.name}.{column.name}"] for column in kind.table))
        values[field.name] = value
    return values


def _column_kinds(kind: type[Columns]) -> list[type[Columns]]:
    return [each for child in kind.__subclasses__() for each in (child, *_column_kinds(child))]
