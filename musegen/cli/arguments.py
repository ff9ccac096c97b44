"""Arguments that several commands take, and how they are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from musegen.errors import InputError

ScoreFile = Annotated[Path, typer.Argument(metavar="FILE", help="A MIDI, MusicXML, ABC or Humdrum file.")]


def given(**options: object) -> dict[str, Any]:
    """Returns the options that were given: the others are left to the defaults of the verb."""
    return {name: value for name, value in options.items() if value is not None}


def count(number: int, one: str, many: str | None = None) -> str:
    """Returns "1 piece" or "2 pieces"; `many` is the plural where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def names(text: str | None) -> list[str] | None:
    """Returns "a, b" as ["a", "b"]."""
    return None if text is None else [name.strip() for name in text.split(",")]


def bar_span(text: str | None) -> tuple[int, int] | None:
    """Returns "9-24" as (9, 24), and "9" as (9, 9).

    Raises:
        InputError: it is neither, or there are no such bars in any score.
    """
    if text is None:
        return None
    first, dash, last = (part.strip() for part in text.partition("-"))
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise InputError(f"--bars must be FIRST-LAST, counted from 1, such as 9-24, or one bar, got {text!r}")
    return int(first), int(last)
