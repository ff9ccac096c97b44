"""Where the sound of the instruments comes from: sound fonts on this computer."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from musegen.errors import InputError

VARIABLE = "MUSEGEN_SOUND_FONT"
"""The variable of the environment that names a sound font."""

# The better a font sounds, the earlier it stands; a part of its name in lower case.
_PREFERRED = ("fluidr3_gm", "fluidr3", "musescore_general", "generaluser", "default-gm", "default", "timgm6mb")
_SUFFIXES = (".sf2", ".sf3")
_MAX_FILES = 1000


def find_sound_font(named: str | os.PathLike[str] | None = None) -> Path | None:
    """Returns the sound font to play with.

    Args:
        named: a file; None takes the one that MUSEGEN_SOUND_FONT names, else the best in the usual places, else the one
            that comes with pretty_midi.

    Returns:
        Its path, or None where there is none.

    Raises:
        InputError: the named file is missing or is no sound font.
    """
    wanted = named if named is not None else os.environ.get(VARIABLE)
    if wanted is not None and str(wanted):
        return _checked(Path(wanted), "sound_font" if named is not None else VARIABLE)
    found = [path for folder in _folders() for path in _fonts_in(folder)]
    best = min(found, key=_rank, default=None)
    return best if best is not None else _of_pretty_midi()


def _checked(path: Path, name: str) -> Path:
    try:
        with path.expanduser().open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} is {str(path)!r}, which cannot be read: {reason}") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise InputError(f"{name} is {str(path)!r}, which is no sound font (.sf2 or .sf3)")
    return path.expanduser()


def _folders() -> Iterator[Path]:
    home = Path.home()
    if sys.platform == "win32":
        for variable in ("PROGRAMDATA", "LOCALAPPDATA", "APPDATA"):
            if os.environ.get(variable):
                yield Path(os.environ[variable]) / "soundfonts"
        yield from (Path("C:/soundfonts"), Path("C:/tools/fluidsynth/share/soundfonts"))
    elif sys.platform == "darwin":
        yield home / "Library/Audio/Sounds/Banks"
        yield Path("/Library/Audio/Sounds/Banks")
    data = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
    yield from (Path(data) / name for name in ("soundfonts", "sounds/sf2", "sounds/sf3"))
    brew = os.environ.get("HOMEBREW_PREFIX")
    prefixes = ([brew] if brew else []) + ["/usr", "/usr/local", "/opt/homebrew"]
    for prefix in prefixes:
        for name in ("share/sounds/sf2", "share/sounds/sf3", "share/soundfonts", "share/fluid-synth/sf2"):
            yield Path(prefix) / name


def _fonts_in(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))[:_MAX_FILES]
    except OSError:
        return []
    paths = (folder / name for name in names if name.lower().endswith(_SUFFIXES))
    return [path for path in paths if path.is_file()]


def _rank(path: Path) -> int:
    name = path.name.lower()
    return next((place for place, part in enumerate(_PREFERRED) if part in name), len(_PREFERRED))


def _of_pretty_midi() -> Path | None:
    """Returns the small font that pretty_midi's package carries, without loading it."""
    spec = importlib.util.find_spec("pretty_midi")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "TimGM6mb.sf2"
        if path.is_file():
            return path
    return None
