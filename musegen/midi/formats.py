"""Score files: what a file is, and who reads and writes it."""

import os
from pathlib import Path

from musegen.errors import InputError, ScoreFileError
from musegen.midi import limits
from musegen.midi.files import check_place, write_atomically
from musegen.midi.score import Score

MIDI_SUFFIXES = (".mid", ".midi")
NOTATION_SUFFIXES = (".musicxml", ".xml", ".mxl")


def read(path: str | os.PathLike[str], encoding: str | None = None) -> Score:
    """Reads a score file; see `Score.read`."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a path is wanted, got a {type(path).__name__}")
    data = _content(path)
    if not data:
        raise ScoreFileError(path, "is empty (0 bytes)")
    if data.startswith((b"MThd", b"RIFF")):
        from musegen.midi.smf import from_bytes

        try:
            return from_bytes(data, encoding)
        except InputError as error:
            raise ScoreFileError(path, str(error)) from error
    from musegen.midi.notation.reading import read as read_notation

    return read_notation(Path(path), data)


def write(score: Score, path: str | os.PathLike[str]) -> None:
    """Writes a score file; see `Score.write`."""
    suffix = Path(path).suffix.lower()
    if suffix in MIDI_SUFFIXES:
        from musegen.midi.smf import to_bytes

        write_atomically(path, to_bytes(score))
    elif suffix in NOTATION_SUFFIXES:
        from musegen.midi.engraving.musicxml import to_musicxml, to_mxl

        write_atomically(path, to_mxl(score) if suffix == ".mxl" else to_musicxml(score).encode())
    else:
        raise _unknown_suffix(path)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Looks whether a score can be written there, before any work is done for it.

    Raises:
        ScoreFileError: its folder does not exist or takes no files, or it is a folder.
        InputError: its name ends otherwise than a score file's.
    """
    if Path(path).suffix.lower() not in (*MIDI_SUFFIXES, *NOTATION_SUFFIXES):
        raise _unknown_suffix(path)
    check_place(path)


def _unknown_suffix(path: str | os.PathLike[str]) -> InputError:
    known = ", ".join((*MIDI_SUFFIXES, *NOTATION_SUFFIXES))
    return InputError(f"the name of a score file must end in one of {known}, got {str(path)!r}")


def _content(path: str | os.PathLike[str]) -> bytes:
    """Returns a file's bytes, at most as many as the limit allows.

    Raises:
        ScoreFileError: it cannot be read, or is larger.
    """
    most = limits.current().file_bytes
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, most) + 1)
            while size < len(data) <= most and (more := file.read(1 << 20)):  # a pipe does not tell its size
                data += more
    except FileNotFoundError as error:
        raise ScoreFileError(path, "there is no such file") from error
    except IsADirectoryError as error:
        raise ScoreFileError(path, "is a folder, not a score file") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ScoreFileError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > most:
        raise ScoreFileError(path, f"is larger than {most:,} bytes ({limits.how_to_raise('file_bytes')})")
    return data
