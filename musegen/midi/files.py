"""Writing a whole file or none."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from musegen.errors import MusegenError, ScoreFileError


def check_place(path: str | os.PathLike[str]) -> None:
    """Looks whether a file can be written there, before any work is done for it.

    Raises:
        ScoreFileError: its folder does not exist or takes no files, or it is a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ScoreFileError(path, f"the folder {path.parent} does not exist")
    if path.is_dir():
        raise ScoreFileError(path, "is a folder")
    if not os.access(path.parent, os.W_OK):
        raise ScoreFileError(path, f"the folder {path.parent} is read-only")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file under a temporary name beside another, to be renamed to it if the body ends well, and else removed.

    So no half-written file is ever seen. A link is followed: the file that it names is replaced, and not the link.

    Raises:
        ScoreFileError: the folder does not exist, the path is a folder or a device, or the system refuses.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise ScoreFileError(path, "cannot be written: it is a folder")
        if not target.parent.is_dir():
            raise ScoreFileError(path, f"cannot be written: the folder {path.parent} does not exist")
        if target.exists() and not target.is_file():
            raise ScoreFileError(path, "cannot be written: it is no ordinary file")
        temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
        try:
            with temporary.open("w+b") as file:
                yield file
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except MusegenError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ScoreFileError(path, f"cannot be written: {getattr(error, 'strerror', None) or error}") from error


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file whole or not at all; see `replacing`.

    Raises:
        ScoreFileError: the folder does not exist, the path is a folder or a device, or the system refuses.
    """
    with replacing(path) as file:
        file.write(data)
