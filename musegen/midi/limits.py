"""What a file from outside may cost. Each limit is far above real music, and an environment variable moves it."""

import os
from dataclasses import dataclass, fields

from musegen.errors import InputError


@dataclass(frozen=True)
class Limits:
    """The limits on score files; MUSEGEN_MAX_<NAME> in the environment sets one, such as MUSEGEN_MAX_NOTES=2000000.

    Args:
        file_bytes: of any file that is read.
        unpacked_bytes: of what a compressed file (.mxl) holds.
        notes: in one score.
        meta_events: texts, meters and keys in one MIDI file.
        read_seconds: for reading a notation file (MusicXML, ABC, Humdrum).
        read_bytes: memory for reading a notation file.
        sound_seconds: of sound rendered at once.
    """

    file_bytes: int = 64 << 20
    unpacked_bytes: int = 128 << 20
    notes: int = 5_000_000
    meta_events: int = 1_000_000
    read_seconds: int = 60
    read_bytes: int = 4 << 30
    sound_seconds: int = 4 * 3600


def current() -> Limits:
    """Returns the limits in force.

    Raises:
        InputError: a variable of the environment is not a whole number above 0.
    """
    found: dict[str, int] = {}
    for each in fields(Limits):
        text = os.environ.get(_variable(each.name))
        if text is None:
            continue
        if not text.isdecimal() or not int(text):
            raise InputError(f"{_variable(each.name)} must be a whole number above 0, got {text!r}")
        found[each.name] = int(text)
    return Limits(**found)


def how_to_raise(name: str) -> str:
    """Names the variable that moves a limit, for the end of an error message."""
    return f"{_variable(name)} raises this limit"


def _variable(name: str) -> str:
    return f"MUSEGEN_MAX_{name.upper()}"
