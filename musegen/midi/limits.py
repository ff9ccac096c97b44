"""What a file from outside may cost. Each limit is far above real music, and an environment variable moves it."""

import os

from musegen.errors import InputError


class _Limit:
    """A whole number above 0, as long as its variable MUSEGEN_MAX_<NAME> does not say otherwise."""

    def __init__(self, default: int):
        self.default = default

    def __set_name__(self, _: type, name: str) -> None:
        self.variable = f"MUSEGEN_MAX_{name.upper()}"

    def __get__(self, _: object, owner: type) -> int:
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not text.isdecimal() or not int(text):
            raise InputError(f"{self.variable} must be a whole number above 0, got {text!r}")
        return int(text)


class Limits:
    """The limits on score files; MUSEGEN_MAX_<NAME> in the environment sets one, such as MUSEGEN_MAX_NOTES=2000000.

    Attributes:
        file_bytes: of any file that is read.
        unpacked_bytes: of what a compressed file (.mxl) holds.
        notes: in one score.
        meta_events: texts, meters and keys in one MIDI file.
        read_seconds: for reading a notation file (MusicXML, ABC, Humdrum).
        read_bytes: memory for reading a notation file.
        engraved_notes: in one score that is written as notation.
        sound_seconds: of sound rendered at once.

    Raises:
        InputError: on access, if the variable is not a whole number above 0.
    """

    file_bytes = _Limit(64 << 20)
    unpacked_bytes = _Limit(128 << 20)
    notes = _Limit(5_000_000)
    meta_events = _Limit(1_000_000)
    read_seconds = _Limit(60)
    read_bytes = _Limit(4 << 30)
    engraved_notes = _Limit(100_000)
    sound_seconds = _Limit(4 * 3600)


_LIMITS = Limits()


def current() -> Limits:
    """Returns the limits in force."""
    return _LIMITS


def how_to_raise(name: str) -> str:
    """Names the variable that moves a limit, for the end of an error message."""
    return f"{vars(Limits)[name].variable} raises this limit"
