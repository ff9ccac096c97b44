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


def bar_span(bars: tuple[int, int]) -> tuple[int, int]:
    """Returns the first and the last bar, counted from 1, as ints.

    Raises:
        InputError: they are no such numbers, or the last comes before the first.
    """
    try:
        first, last = bars
        numbers = operator.index(first), operator.index(last)
    except (TypeError, ValueError):
        numbers = 0, 0
    else:
        numbers = (0, 0) if isinstance(first, bool) or isinstance(last, bool) else numbers
    if not 1 <= numbers[0] <= numbers[1]:
        allowed = "the first bar, 1 or more, and the last, not before the first, such as (3, 4)"
        raise InputError(f"bars is {bars!r}; allowed are {allowed}")
    return numbers


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
