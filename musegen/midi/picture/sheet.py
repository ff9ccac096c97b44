"""Several scores as piano-rolls in one picture, to choose from at a glance."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from musegen.errors import InputError
from musegen.midi.files import write_atomically
from musegen.midi.picture.pianoroll import MAX_HEIGHT, WIDTH, draw
from musegen.midi.score import Score

_N_COLUMNS = 2


def check_name(path: str | os.PathLike[str]) -> None:
    """Looks whether a picture can have this name, before any work is done for it.

    Raises:
        InputError: it ends otherwise than in .png.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"a sheet's name must end in .png, got {Path(path).name!r}")


def sheet(scores: Sequence[Score], titles: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Draws scores side by side, two in a row.

    Args:
        scores: at least one.
        titles: a line above each.
        path: a file that ends in .png.

    Raises:
        InputError: the path ends otherwise, there is no score, or the picture would be too high.
        ScoreFileError: the file cannot be written.
    """
    from PIL import Image

    check_name(path)
    if not scores:
        raise InputError("scores is empty; allowed are one and more")
    rolls = [
        Image.open(io.BytesIO(draw(score, "png", title=title).data))
        for score, title in zip(scores, titles, strict=True)
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
