import numpy as np
import pytest
import torch

from musegen.core.sampling import Sampling
from musegen.music import vocabulary as v
from musegen.music.gap_metrics import ALL, BASELINE, MUSE, ONE, REAL, fill, taken_out
from musegen.music.grid import INSTRUMENT, ONSET, GridScore
from musegen.music.muse import MuseConfig
from musegen.music.reference import N_BARS
from musegen.music.tasks import build_muse

N_TICKS = v.TICKS_PER_WHOLE


def a_window(pitches=(60, 64, 67, 72), instruments=(0,), n_bars=N_BARS):
    """Every bar holds the same quarters, in each instrument."""
    rows = [
        (bar * N_TICKS + nth * v.TICKS_PER_QUARTER, instrument, pitch, v.TICKS_PER_QUARTER, 4)
        for bar in range(n_bars)
        for instrument in instruments
        for nth, pitch in enumerate(pitches)
    ]
    return GridScore(np.full(n_bars, v.METER_INDEX[4, 4]), np.full(n_bars, 20), np.array(rows))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_muse(MuseConfig(d_model=16, n_heads=2, n_layers=1, context=512)).eval()


def test_a_gap_loses_what_begins_in_its_bars_and_nothing_else():
    window = a_window(instruments=(0, 19))
    for kind, n_missing in ((ALL, 32), (ONE, 16)):
        gap = taken_out(window, kind, np.random.default_rng(1))
        assert gap and (gap.first, gap.last) == (6, 10)
        assert len(gap.grid.notes) - len(gap.rest.notes) == n_missing
        here = gap.rest.notes[(gap.rest.notes[:, ONSET] >= 6 * N_TICKS) & (gap.rest.notes[:, ONSET] < 10 * N_TICKS)]
        assert set(here[:, INSTRUMENT]) == (set() if kind == ALL else {0, 19} - set(gap.instruments))


def test_there_is_no_gap_where_nothing_would_be_missing_or_left():
    rng, window = np.random.default_rng(0), a_window()
    assert taken_out(window, ONE, rng) is None
    begins_before = window.notes[:, ONSET] < 6 * N_TICKS
    assert taken_out(GridScore(window.meters, window.tempos, window.notes[begins_before]), ALL, rng) is None


def test_music_that_repeats_itself_is_filled_rightly_by_the_bars_before(model):
    gap = taken_out(a_window(), ALL, np.random.default_rng(0))
    assert gap
    filled = fill(model, gap, Sampling(), 1)
    assert filled.n_notes[BASELINE].tolist() == filled.n_notes[REAL].tolist() == [4] * 4
    assert (filled.pitch_classes[BASELINE] == filled.pitch_classes[REAL]).all()
    assert filled.n_notes[MUSE].sum() and filled.n_notes[MUSE].max() <= 16


@pytest.mark.parametrize("kind", [ALL, ONE])
def test_what_was_there_costs_less_where_less_is_allowed(model, kind):
    gap = taken_out(a_window(instruments=(0, 19)), kind, np.random.default_rng(3))
    assert gap
    guesses = build_muse(model.config).eval()
    torch.nn.init.zeros_(guesses.head.weight)
    filled = fill(guesses, gap, Sampling(), 1)
    n_onsets, n_notes = 16, 16 if kind == ONE else 32
    n_tokens = 2 * n_notes + (n_onsets - 4) + 4  # notes and lengths, waits between onsets, bar lines
    assert filled.nats and all(n_notes < nats < n_tokens * np.log(v.N_TOKENS) for nats in filled.nats)


def test_what_does_not_fit_into_the_context_is_not_scored(model):
    small = build_muse(MuseConfig(d_model=16, n_heads=2, n_layers=1, context=64)).eval()
    gap = taken_out(a_window(instruments=(0, 19, 30)), ALL, np.random.default_rng(0))
    assert gap and fill(small, gap, Sampling(), 1).nats is None
