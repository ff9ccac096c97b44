"""musegen composes, continues and arranges music with transformers that run on a laptop.

The public verbs and the errors are here. They are looked up when they are first used, so that `import musegen` and
`musegen --help` stay quick: neither loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from musegen.version import __version__

if TYPE_CHECKING:
    from musegen.api import (
        chorale,
        compose,
        continue_score,
        convert,
        engrave,
        harmonize,
        infill,
        info,
        listen,
        plot,
        render,
    )
    from musegen.errors import (
        CheckpointError,
        DataError,
        InputError,
        MusegenError,
        RecipeError,
        ScoreFileError,
        UnknownNameError,
    )
    from musegen.midi.score import Score

__all__ = [
    "CheckpointError",
    "DataError",
    "InputError",
    "MusegenError",
    "RecipeError",
    "Score",
    "ScoreFileError",
    "UnknownNameError",
    "__version__",
    "chorale",
    "compose",
    "continue_score",
    "convert",
    "engrave",
    "harmonize",
    "infill",
    "info",
    "listen",
    "plot",
    "render",
]

_HOMES = {
    "CheckpointError": "musegen.errors",
    "DataError": "musegen.errors",
    "InputError": "musegen.errors",
    "MusegenError": "musegen.errors",
    "RecipeError": "musegen.errors",
    "Score": "musegen.midi.score",
    "ScoreFileError": "musegen.errors",
    "UnknownNameError": "musegen.errors",
    **{name: "musegen.api" for name in __all__ if name.islower() and not name.startswith("_")},
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
