"""What is written beside a piano-roll: the line of facts above it, and where meter, key and tempo change."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from musegen.midi.facts import key_name
from musegen.midi.picture.roll import Rows
from musegen.midi.score import Key, Score

Span = tuple[int, int]
"""The first tick and the tick after the last."""

_MAX_MARKS = 60
"""How many changes of one kind are looked at in a row; more would not fit."""


def caption(score: Score, rows: Rows, *, is_whole: bool = False) -> Iterator[str]:
    """Says in a few words each how long a score is, in which meter, key and tempo, and how many notes it has."""
    n_bars, bpm, meter = rows.n_bars, score.tempos.bpm, score.meters[0]
    if is_whole or rows.last_bar - rows.first_bar + 1 == n_bars:
        yield f"{n_bars:,} bar{'s' * (n_bars != 1)}"
    else:
        yield f"bars {rows.first_bar:,} to {rows.last_bar:,} of {n_bars:,}"
    yield clock(score.duration_seconds)
    yield f"{meter.numerator}/{meter.denominator}"
    if len(score.keys):
        yield _key_name(score.keys[0])
    low, high = f"{bpm.min():.0f}", f"{bpm.max():.0f}"
    yield f"{low} bpm" if low == high else f"{low} to {high} bpm"
    yield f"{score.n_notes:,} note{'s' * (score.n_notes != 1)}"


def _key_name(key: Key) -> str:
    return key_name(key).replace("b ", "♭ ").replace("#", "♯")


def clock(seconds: float) -> str:
    """Returns 75.2 as "1:15", and hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _places(
    starts: NDArray[np.int64], is_new: NDArray[np.bool_], span: Span, with_before: bool
) -> list[tuple[int, int]]:
    """Returns the ticks and places of the changes to write: those that change something, not more than could fit."""
    first, stop = np.searchsorted(starts, span)
    shown = (np.flatnonzero(is_new[first:stop]) + first)[:_MAX_MARKS].tolist()
    before = int(np.searchsorted(starts, span[0], side="right")) - 1
    if with_before and before >= 0 and before not in shown[:1]:
        shown.insert(0, before)
    return [(max(int(starts[place]), span[0]), place) for place in shown]


def meter_marks(score: Score, span: Span, with_before: bool) -> list[tuple[int, str]]:
    """Returns the tick and the name of each new meter in a span of ticks, and before these what holds at its start."""
    starts, numerator, denominator = score.meters.columns()
    is_new = np.append(True, (numerator[1:] != numerator[:-1]) | (denominator[1:] != denominator[:-1]))
    places = _places(starts, is_new, span, with_before)
    return [(ticks, f"{numerator[place]}/{denominator[place]}") for ticks, place in places]


def key_marks(score: Score, span: Span, with_before: bool) -> list[tuple[int, str]]:
    """Returns the tick and the name of each new key in a span of ticks, and before these what holds at its start."""
    starts, sharps, is_minor = score.keys.columns()
    is_new = np.append(True, (sharps[1:] != sharps[:-1]) | (is_minor[1:] != is_minor[:-1]))
    places = _places(starts, is_new, span, with_before)
    return [(ticks, _key_name(score.keys[place])) for ticks, place in places]


def tempo_marks(score: Score, span: Span, with_before: bool) -> list[tuple[int, str]]:
    """Returns the tick and the name of each new tempo in a span of ticks, and before these what holds at its start.

    New is what a listener would call so: it lasts two quarters and differs by a twelfth.
    """
    starts, us = score.tempos.columns()
    lasts = np.append(np.diff(starts) >= 2 * score.ticks_per_quarter, True)
    starts, us = starts[lasts], us[lasts]
    is_new = np.append(True, np.abs(np.diff(us)) * 12 > us[:-1])
    places = _places(starts, is_new, span, with_before)
    return [(ticks, f"♩={60e6 / us[place]:.0f}") for ticks, place in places]
