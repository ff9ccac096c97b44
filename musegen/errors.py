"""Every error that musegen raises on purpose.

    MusegenError
    ├── InputError (also a ValueError)   an argument, a file or a message from outside is not usable
    │   ├── UnknownNameError             a name that is not in a fixed list; carries the nearest known ones
    │   ├── ScoreFileError               a score file cannot be read or written
    │   ├── RecipeError                  a training recipe or one of its settings is wrong
    │   └── DataError                    a folder, shard or index of training data is wrong
    ├── CheckpointError                  a checkpoint is missing, damaged or does not fit
    └── PortError                        a MIDI port or its server cannot be opened, hangs or has gone

A message names the argument, what came and what is allowed, and fits on one line: the command line prints it as it is.

What is no error, but worth a second look:

    MusegenWarning (a UserWarning)
    ├── CopyWarning                      what was written repeats more of a training piece than is usual
    ├── MeterWarning                     new bars are in another meter than those that they follow
    └── HeldOutWarning                   a model is validated on the very pieces that it is trained on
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path


class MusegenError(Exception):
    """The root of the tree."""


class InputError(MusegenError, ValueError):
    """An argument, a file or a message from outside is not usable."""


class UnknownNameError(InputError):
    """A name that is not in a fixed list.

    Args:
        kind: what the name stands for, in the singular ("composer").
        name: what came.
        known: every name that is allowed.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        names = sorted(known)
        self.kind, self.name, self.known = kind, name, names
        wanted = name.strip().lower()
        within = [known for known in names if wanted and wanted in known.lower()]
        self.nearest = list(dict.fromkeys(within + difflib.get_close_matches(wanted, names, n=5, cutoff=0.5)))[:5]
        if self.nearest:
            hint = f"nearest: {', '.join(self.nearest)}"
        elif len(names) <= 12:
            hint = f"known: {', '.join(names)}"
        else:
            hint = f"{len(names)} are known, from {names[0]} to {names[-1]}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class ScoreFileError(InputError):
    """A score file cannot be read or written.

    Args:
        path: the file.
        reason: what is wrong with it, in a few words.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str):
        self.path, self.reason = Path(path), reason
        super().__init__(f"{path}: {reason}")


class RecipeError(InputError):
    """A training recipe or one of its settings is wrong."""


class DataError(InputError):
    """A folder, shard or index of training data is wrong."""


class CheckpointError(MusegenError):
    """A checkpoint is missing, damaged or does not fit."""


class PortError(MusegenError):
    """A MIDI port or its server cannot be opened, hangs or has gone."""


class MusegenWarning(UserWarning):
    """What was made is worth a second look."""


class MeterWarning(MusegenWarning):
    """New bars are in another meter than those that they follow."""


class HeldOutWarning(MusegenWarning):
    """A model is validated on the very pieces that it is trained on."""


class CopyWarning(MusegenWarning):
    """What was written repeats more of a training piece than pieces that nobody copied do."""
