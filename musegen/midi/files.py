"""Writing a whole file or none."""

import contextlib
import os
import secrets
from pathlib import Path

from musegen.errors import ScoreFileError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file under a temporary name beside it and renames it, so that no half-written file is ever seen.

    Raises:
        ScoreFileError: the folder does not exist, the path is a folder, or the system refuses.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise ScoreFileError(path, "cannot be written: it is a folder")
    if not os.path.isdir(path.parent):
        raise ScoreFileError(path, f"cannot be written: the folder {path.parent} does not exist")
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ScoreFileError(path, f"cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
