"""What the verbs share: arguments checked before anything heavy is loaded, and the command that makes a score again."""

import operator
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from musegen.errors import InputError
from musegen.midi.score import Score

MAX_CANDIDATES = 64
MAX_PASSES = 10_000
MAX_BARS = 1000
MAX_SEED = (1 << 63) - 1


def whole(name: str, value: int, low: int, high: int) -> int:
    """Returns a whole number, of NumPy too, as an int in its range; a boolean is none.

    Raises:
        InputError: it is none, or out of its range.
    """
    try:
        number = low - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = low - 1
    if not low <= number <= high:
        raise InputError(f"{name} is {value!r}; allowed are whole numbers from {low:,} to {high:,}")
    return number


def drawn_seed(seed: int | None) -> int:
    """Returns a seed as it is, and draws one where there is none."""
    return int.from_bytes(os.urandom(4), "little") if seed is None else whole("seed", seed, 0, MAX_SEED)


def signed(score: Score, words: Sequence[str], options: Mapping[str, Any], remark: str = "") -> Score:
    """Returns the score with the command that makes it again as a text at tick 0.

    Args:
        score: what was made.
        words: of the command, behind "musegen".
        options: by name ("--seed"); those that are None are left out.
        remark: what stands behind the command.
    """
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    return replace(score, texts=(*score.texts, (0, shlex.join(["musegen", *words, *given]) + remark)))
