"""Conversions between the units of time of a MIDI file: pure functions with the units in their names.

A tempo map is two columns: the tick at which each tempo starts (ascending, the first one 0) and its length of a quarter
note in microseconds. A meter map is three: start ticks, numerator, denominator.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_US_PER_QUARTER = (1 << 24) - 1
"""The slowest tempo that a MIDI file can hold, 3.58 bpm."""


def bpm_to_us_per_quarter(bpm: ArrayLike) -> NDArray[np.int64]:
    """Converts quarters a minute to whole microseconds a quarter, held within what a MIDI file can store."""
    microseconds = 60e6 / np.asarray(bpm, np.float64)
    return np.clip(np.rint(microseconds), 1, MAX_US_PER_QUARTER).astype(np.int64)


def us_per_quarter_to_bpm(us_per_quarter: ArrayLike) -> NDArray[np.float64]:
    """Converts microseconds a quarter to quarters a minute."""
    return 60e6 / np.asarray(us_per_quarter, np.float64)


def ticks_to_quarters(ticks: ArrayLike, ticks_per_quarter: int) -> NDArray[np.float64]:
    """Converts ticks to quarter notes."""
    return np.asarray(ticks, np.float64) / ticks_per_quarter


def quarters_to_ticks(quarters: ArrayLike, ticks_per_quarter: int) -> NDArray[np.int64]:
    """Converts quarter notes to the nearest tick."""
    return np.rint(np.asarray(quarters, np.float64) * ticks_per_quarter).astype(np.int64)


def _tempo_start_seconds(
    tempo_start_ticks: NDArray[np.int64], us_per_quarter: NDArray[np.int64], ticks_per_quarter: int
) -> NDArray[np.float64]:
    lasting_seconds = np.diff(tempo_start_ticks) * us_per_quarter[:-1] / (1e6 * ticks_per_quarter)
    return np.concatenate(([0.0], np.cumsum(lasting_seconds)))


def ticks_to_seconds(
    ticks: ArrayLike, tempo_start_ticks: NDArray[np.int64], us_per_quarter: NDArray[np.int64], ticks_per_quarter: int
) -> NDArray[np.float64]:
    """Converts ticks to seconds from tick 0 under a tempo map."""
    ticks = np.asarray(ticks)
    start_seconds = _tempo_start_seconds(tempo_start_ticks, us_per_quarter, ticks_per_quarter)
    index = np.maximum(np.searchsorted(tempo_start_ticks, ticks, side="right") - 1, 0)
    since_ticks = ticks - tempo_start_ticks[index]
    return start_seconds[index] + since_ticks * us_per_quarter[index] / (1e6 * ticks_per_quarter)


def seconds_to_ticks(
    seconds: ArrayLike, tempo_start_ticks: NDArray[np.int64], us_per_quarter: NDArray[np.int64], ticks_per_quarter: int
) -> NDArray[np.int64]:
    """Converts seconds from tick 0 to the nearest tick under a tempo map."""
    seconds = np.asarray(seconds, np.float64)
    start_seconds = _tempo_start_seconds(tempo_start_ticks, us_per_quarter, ticks_per_quarter)
    index = np.maximum(np.searchsorted(start_seconds, seconds, side="right") - 1, 0)
    since_ticks = (seconds - start_seconds[index]) * (1e6 * ticks_per_quarter) / us_per_quarter[index]
    return np.rint(tempo_start_ticks[index] + since_ticks).astype(np.int64)


def bar_counts(
    meter_start_ticks: NDArray[np.int64],
    numerator: NDArray[np.integer],
    denominator: NDArray[np.integer],
    ticks_per_quarter: int,
    end_ticks: int,
) -> NDArray[np.int64]:
    """Counts the bars that begin under each meter before `end_ticks`; a new meter begins a new bar."""
    stop_ticks = np.minimum(np.append(meter_start_ticks[1:], end_ticks), end_ticks)
    lasting_ticks = np.maximum(stop_ticks - meter_start_ticks, 0)
    # A bar is a fraction of whole ticks (6/64 at 24 ticks a quarter is 9): compare without dividing.
    bar_numerator = 4 * ticks_per_quarter * numerator.astype(np.int64)
    return -(-(lasting_ticks * denominator.astype(np.int64)) // bar_numerator)


def bar_starts_ticks(
    meter_start_ticks: NDArray[np.int64],
    numerator: NDArray[np.integer],
    denominator: NDArray[np.integer],
    ticks_per_quarter: int,
    end_ticks: int,
) -> NDArray[np.int64]:
    """Returns the tick at which each bar begins, for the bars that begin before `end_ticks`."""
    counts = bar_counts(meter_start_ticks, numerator, denominator, ticks_per_quarter, end_ticks)
    index = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    bar_ticks = nth * 4 * ticks_per_quarter * numerator.astype(np.int64)[index] // denominator.astype(np.int64)[index]
    return meter_start_ticks[index] + bar_ticks
