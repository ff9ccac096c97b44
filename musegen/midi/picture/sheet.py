"""Several scores as piano-rolls in one picture, to choose from at a glance."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from musegen.errors import InputError
from musegen.midi.files import check_place, write_atomically
from musegen.midi.picture.pianoroll import MAX_HEIGHT, WIDTH, draw
from musegen.midi.picture.roll import lay_out
from musegen.midi.score import Score
from musegen.midi.units import bar_counts

_N_COLUMNS = 2
_MOST_BARS = 400  # more are not looked at side by side
_LEAD_IN = 4  # bars of what is continued, from that of its last note back


def check_writable(path: str | os.PathLike[str]) -> None:
    """Looks whether a picture can be written there, before any work is done for it.

    Raises:
        InputError: its name ends otherwise than in .png.
        ScoreFileError: its folder does not exist or takes no files, or it is a folder.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"a sheet's name must end in .png, got {path.name!r}")
    check_place(path)


def sheet(
    scores: Sequence[Score], titles: Sequence[str], path: str | os.PathLike[str], prompt: Score | None = None
) -> None:
    """Draws scores side by side, two in a row, each with as many bars from the first on as there is room for.

    Args:
        scores: at least one.
        titles: a line above each.
        path: a file that ends in .png.
        prompt: what all of them begin with, of which the last bars are drawn.

    Raises:
        InputError: the path ends otherwise, there is no score, or the picture would be too high.
        ScoreFileError: the file cannot be written.
    """
    from PIL import Image

    check_writable(path)
    if not scores:
        raise InputError("scores is empty; allowed are one and more")
    first = 1 if prompt is None else _lead_in(prompt)
    room = MAX_HEIGHT // -(-len(scores) // _N_COLUMNS)
    rolls = [
        Image.open(io.BytesIO(_drawn(score, title, room, first))) for score, title in zip(scores, titles, strict=True)
    ]
    rows = [rolls[first : first + _N_COLUMNS] for first in range(0, len(rolls), _N_COLUMNS)]
    heights = [max(roll.height for roll in row) for row in rows]
    if sum(heights) > MAX_HEIGHT:
        raise InputError(
            f"the sheet would be {sum(heights):,} pixels high; allowed are {MAX_HEIGHT:,}: draw fewer bars"
        )
    whole = Image.new("RGB", (WIDTH * min(len(rolls), _N_COLUMNS), sum(heights)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, roll in enumerate(row):
            whole.paste(roll, (column * WIDTH, top))
        top += height
    data = io.BytesIO()
    whole.save(data, "png", optimize=True)
    write_atomically(path, data.getvalue())


def _lead_in(prompt: Score) -> int:
    """Returns the number of the bar, from 1, with which the last bars of a prompt begin."""
    newest = max((int(track.notes.start_ticks[-1]) for track in prompt.tracks if len(track.notes)), default=-1)
    meters = prompt.meters
    counts = bar_counts(meters.start_ticks, meters.numerator, meters.denominator, prompt.ticks_per_quarter, newest + 1)
    return max(int(counts.sum()) - _LEAD_IN, 0) + 1


def _drawn(score: Score, title: str, room: int, first: int) -> bytes:
    """Returns the picture of as many bars, from the first on, as fit into `room` pixels."""
    n_bars = min(lay_out(score, None, (1, 1)).n_bars - first + 1, _MOST_BARS)
    while True:
        picture = draw(score, "png", title=title, bars=(first, first + n_bars - 1))
        if picture.height <= room or n_bars == 1:
            return picture.data
        n_bars //= 2
