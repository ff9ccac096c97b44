"""Conversions of time."""

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musegen.midi import units


def test_bpm():
    assert units.bpm_to_us_per_quarter([120, 90.5]).tolist() == [mido.bpm2tempo(120), mido.bpm2tempo(90.5)]
    assert units.us_per_quarter_to_bpm(500_000) == 120
    assert units.bpm_to_us_per_quarter([1.0, 1e9]).tolist() == [units.MAX_US_PER_QUARTER, 1]


@given(st.integers(1, units.MAX_US_PER_QUARTER))
def test_bpm_round_trip(us_per_quarter):
    assert units.bpm_to_us_per_quarter(units.us_per_quarter_to_bpm(us_per_quarter)) == us_per_quarter


def test_quarters():
    assert units.ticks_to_quarters([240, 960], 480).tolist() == [0.5, 2.0]
    assert units.quarters_to_ticks([0.5, 2.0, 1 / 3], 480).tolist() == [240, 960, 160]


tempo_maps = st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, units.MAX_US_PER_QUARTER)), max_size=8).map(
    lambda changes: (
        np.cumsum([0, *(gap for gap, _ in changes)]),
        np.array([500_000, *(us_per_quarter for _, us_per_quarter in changes)]),
    )
)


@given(tempo_maps, st.integers(0, 100_000), st.sampled_from([1, 24, 480, 32767]))
def test_seconds_are_the_sum_of_what_each_tempo_lasts(tempo_map, ticks, ticks_per_quarter):
    starts, us_per_quarter = tempo_map
    stops = np.minimum(np.append(starts[1:], max(ticks, starts[-1])), ticks)
    expected = sum(
        mido.tick2second(int(stop - start), ticks_per_quarter, int(tempo))
        for start, stop, tempo in zip(starts, stops, us_per_quarter, strict=True)
        if stop > start
    )
    seconds = units.ticks_to_seconds(ticks, starts, us_per_quarter, ticks_per_quarter)
    assert seconds == pytest.approx(expected)


@given(tempo_maps, st.lists(st.integers(0, 100_000), max_size=5))
def test_seconds_to_ticks_undoes_ticks_to_seconds(tempo_map, ticks):
    # Under a tempo of 1 us a quarter many ticks share one float, so only usual tempos come back exactly.
    starts, us_per_quarter = tempo_map[0], np.maximum(tempo_map[1], 50_000)
    seconds = units.ticks_to_seconds(ticks, starts, us_per_quarter, 480)
    assert units.seconds_to_ticks(seconds, starts, us_per_quarter, 480).tolist() == ticks


def test_bars_begin_anew_where_the_meter_changes():
    starts, numerators, denominators = np.array([0, 1000, 2000]), np.array([4, 3, 6]), np.array([4, 4, 8])
    args = starts, numerators, denominators, 100
    assert units.bar_counts(*args, 2601).tolist() == [3, 4, 3]
    assert units.bar_starts_ticks(*args, 2601).tolist() == [0, 400, 800, 1000, 1300, 1600, 1900, 2000, 2300, 2600]
    assert units.bar_starts_ticks(*args, 2600).tolist()[-1] == 2300
    assert units.bar_counts(*args, 900).tolist() == [3, 0, 0]
    assert units.bar_starts_ticks(*args, 0).tolist() == []


def test_bars_of_a_fraction_of_a_tick_do_not_drift():
    one = np.array([1])
    bars = units.bar_starts_ticks(np.array([0]), one, 64 * one, 24, 3000)  # a bar of 1.5 ticks
    assert bars[:4].tolist() == [0, 1, 3, 4] and bars[-1] == 2998 and len(bars) == 2000
