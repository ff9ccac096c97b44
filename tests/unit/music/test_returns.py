import numpy as np

from musegen.music import vocabulary as v
from musegen.music.grid import GridScore
from musegen.music.returns import bar_sets, jaccard, returns

TICKS = v.TICKS_PER_WHOLE


def a_grid(bars):
    """A 4/4 piece from bars of pitches, a quarter each."""
    notes = [[TICKS * b + 24 * i, 0, pitch, 24, 3] for b, bar in enumerate(bars) for i, pitch in enumerate(bar)]
    n = len(bars)
    return GridScore(np.full(n, v.meter_index("4/4")), np.zeros(n, int), np.array(notes).reshape(-1, 5))


A, B, NEARLY_A = (60, 62, 64, 65), (50, 52, 54, 55), (60, 62, 64)


def test_bars_return_at_their_lag():
    found = returns([a_grid([A, B, A, NEARLY_A, ()])], n_lags=3)
    assert found.pairs.tolist() == [3, 2, 1]
    assert found.equal.tolist() == [0, 1, 0]  # A, two bars on
    assert found.nearly.tolist() == [1, 1, 1]  # and what nearly is A, one and three bars on
    assert (found.bars, found.empty, found.later, found.returning) == (5, 1, 3, 2)
    assert found.empty_share == 0.2
    assert found.returning_share == 2 / 3


def test_nothing_returns_in_nothing():
    found = returns([], n_lags=2)
    assert found.pairs.tolist() == [0, 0]
    assert found.empty_share is None
    assert found.returning_share is None


def test_sets_of_bars():
    first, second = bar_sets(a_grid([A, NEARLY_A]))
    assert jaccard(first, second) == 0.75
