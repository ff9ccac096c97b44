"""What a notebook shows of a score: its facts, its piano-roll and a player, in one self-contained piece of HTML."""

import base64
import functools
import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musegen.midi.instruments import DRUMS, INSTRUMENTS, class_of, instrument_index
from musegen.midi.picture.canvas import printable
from musegen.midi.picture.marks import caption
from musegen.midi.picture.pianoroll import Picture, System, draw
from musegen.midi.picture.roll import lay_out
from musegen.midi.score import Score

MAX_BYTES = 400_000
"""The longest piece of HTML; a notebook with a hundred scores still opens."""

MAX_PLAYED_NOTES = 6_000
"""How many notes the player gets, from the first on."""

_MAX_PICTURE_BYTES = 180_000
_SHOWN_QUARTERS = 288  # six rows
_FIRST_BARS = 400
_MAX_NAMES = 12

# The timbres of player.js in its order, with the instrument classes that have them; the others sound as keys.
_TIMBRES: tuple[tuple[str, ...], ...] = (
    (),
    ("harpsichord", "clavinet", "marimba", "dulcimer", "acoustic-guitar", "electric-guitar", "acoustic-bass",
     "electric-bass", "synth-bass", "pizzicato", "harp", "timpani"),
    ("violin", "viola", "cello", "contrabass", "strings", "choir", "synth-pad"),
    ("trumpet", "trombone", "tuba", "horn", "brass", "distortion-guitar"),
    ("flute",),
    ("saxophone", "oboe", "bassoon", "clarinet", "accordion", "synth-lead"),
    ("organ",),
)  # fmt: skip
_TIMBRE_OF = np.zeros(len(INSTRUMENTS), np.int64)
for _timbre, _names in enumerate(_TIMBRES):
    _TIMBRE_OF[[instrument_index(_name) for _name in _names]] = _timbre
_TIMBRE_OF[DRUMS] = len(_TIMBRES)


def html(score: Score) -> str:
    """Describes a score for a notebook: facts, piano-roll and a player.

    It needs no network, and several of them on one page do not disturb each other. Where scripts are not run, the facts
    and the picture remain. Long pieces are cut to their first rows, and it says so.

    Args:
        score: any score.

    Returns:
        A fragment of HTML, shorter than MAX_BYTES.
    """
    picture = _picture(score)
    notes, n_left_out = _played(score)
    hints = []
    if picture is None:
        hints.append("Too many notes for a picture in a notebook: musegen.plot draws some of the bars.")
    elif picture.last_bar < picture.n_bars:
        hints.append(f"Shown are bars 1 to {picture.last_bar:,} of {picture.n_bars:,}: musegen.plot draws the others.")
    if n_left_out:
        hints.append(f"The player stops after {MAX_PLAYED_NOTES:,} notes.")
    data = _player_data(score, picture, notes) if picture and notes else None
    return "\n".join(
        [
            f'<div class="musegen-score" style="max-width:1200px"{_attribute(data)}>',
            f"<div><strong>{escape(printable(score.name, 120) or 'Score')}</strong></div>",
            f'<div style="opacity:.75">{escape(_facts(score))}</div>',
            *([_image(picture)] if picture else []),
            *(f'<div style="opacity:.75"><small>{escape(hint)}</small></div>' for hint in hints),
            *([f"<script>{_script()}</script>"] if data else []),
            "</div>",
        ]
    )


def _facts(score: Score) -> str:
    first = lay_out(score, None, (1, 1))
    names: dict[str, None] = {}
    for track in score.tracks:
        for program in np.unique(track.programs_of(track.notes.start_ticks)):
            names[INSTRUMENTS[class_of(int(program), track.is_drum)].name] = None
    listed = list(names)[:_MAX_NAMES] + ["…"] * (len(names) > _MAX_NAMES)
    return "  ·  ".join([*caption(score, first, is_whole=True), *([", ".join(listed)] if listed else [])])


def _picture(score: Score) -> Picture | None:
    """Draws the first rows, as many as are small enough; None where not even one bar is."""
    bar_ticks = lay_out(score, None, (1, _FIRST_BARS)).bar_ticks
    fitting = np.searchsorted(bar_ticks, _SHOWN_QUARTERS * score.ticks_per_quarter, side="right")
    last_bar = max(int(fitting) - 1, 1)
    while True:
        picture = draw(score, "png", title="", bars=(1, last_bar), with_caption=False)
        if len(picture.data) <= _MAX_PICTURE_BYTES:
            return picture
        if last_bar == 1:
            return None
        last_bar //= 2


def _image(picture: Picture) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture.data).decode()}"
    size = f'width="{picture.width}" height="{picture.height}" style="display:block;width:100%;height:auto"'
    return f'<div class="musegen-roll" style="position:relative"><img alt="piano-roll" {size} src="{source}"></div>'


def _played(score: Score) -> tuple[list[int], int]:
    """Returns the player's notes, five numbers each (see player.js), and how many are left out."""
    columns: list[list[NDArray[Any]]] = []
    for track in score.tracks:
        # Of no track more than the first notes can be among the first of all.
        notes = track.notes[:MAX_PLAYED_NOTES]
        classes = np.array([class_of(program, track.is_drum) for program in range(128)])
        timbre = _TIMBRE_OF[classes[track.programs_of(notes.start_ticks)]]
        columns.append([notes.start_ticks, notes.end_ticks, notes.pitch, notes.velocity, timbre])
    if not score.n_notes:
        return [], 0
    start, end, *rest = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.argsort(start, kind="stable")[:MAX_PLAYED_NOTES]
    start_ms, end_ms = (np.rint(score.seconds_at(ticks[order]) * 1000).astype(np.int64) for ticks in (start, end))
    table = [np.diff(start_ms, prepend=0), end_ms - start_ms, *(column[order] for column in rest)]
    return np.stack([column.astype(np.int64) for column in table], axis=1).ravel().tolist(), score.n_notes - len(order)


def _player_data(score: Score, picture: Picture, notes: list[int]) -> dict[str, Any]:
    ends = np.cumsum(notes[::5]) + np.array(notes[1::5])
    return {
        "notes": notes,
        "rows": [_row(score, picture, system) for system in picture.systems],
        "seconds": round(int(ends.max()) / 1000, 3),
    }


def _row(score: Score, picture: Picture, system: System) -> list[float]:
    """Returns where a row lies in percent of the picture, and the milliseconds at places from its left to its right."""
    quarters = (system.stop_ticks - system.start_ticks) / score.ticks_per_quarter
    ticks = np.linspace(system.start_ticks, system.stop_ticks, min(max(round(quarters), 1), 96) + 1)
    milliseconds = np.rint(score.seconds_at(ticks.astype(np.int64)) * 1000).astype(np.int64)
    across = [round(100 * x / picture.width, 2) for x in (system.left, system.right)]
    down = [round(100 * y / picture.height, 2) for y in (system.top, system.bottom)]
    return [*across, *down, *milliseconds.tolist()]


def _attribute(data: dict[str, Any] | None) -> str:
    return f' data-score="{escape(json.dumps(data, separators=(",", ":")))}"' if data else ""


@functools.cache
def _script() -> str:
    lines = files("musegen.midi.picture").joinpath("player.js").read_text("utf-8").splitlines()
    return "\n".join(line.strip() for line in lines if not line.strip().startswith("//"))
