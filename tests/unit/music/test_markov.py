"""Baselines against what can be counted by hand."""

import math

import numpy as np
import pytest

from musegen.music.markov import BASELINES, markov_draw, markov_nats


def test_a_pattern_is_learned_as_far_as_a_baseline_sees():
    """A pitch changes after each beat: only the place in the beat tells when."""
    piece = np.repeat(np.tile([1, 2], 500), 4)[:, None] + np.arange(4) * 10
    found = markov_nats([piece], [piece])
    assert list(found) == list(BASELINES)
    assert found["unigram"] == pytest.approx(math.log(2), abs=0.01)
    change = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert found["previous_pitch"] == pytest.approx(change, abs=0.02)
    assert found["previous_pitch_and_place_in_beat"] == pytest.approx(0, abs=0.05)


def test_what_never_occurred_is_not_impossible():
    train, new = np.full((4, 4), 3), np.full((8, 4), 7)
    assert all(math.isfinite(nats) and nats > 2 for nats in markov_nats([train], [new]).values())


def test_drawing_goes_on_as_it_was_counted():
    """From each pitch there is but one way on, which depends on the place in the beat."""
    piece = np.repeat(np.tile([1, 2, 3], 5), 4)[:, None] + np.arange(4) * 10
    free = np.ones(piece.shape, dtype=bool)
    drawn = markov_draw([piece], np.zeros_like(piece), free, np.random.default_rng(0))
    assert np.array_equal(drawn, piece)
    free[:, 0] = False
    given = np.where(free, 0, 7)
    drawn = markov_draw([piece], given, free, np.random.default_rng(0))
    assert (drawn[:, 0] == 7).all() and np.array_equal(drawn[:, 1:], piece[:, 1:])


def test_drawing_has_the_shares_that_were_counted():
    rng = np.random.default_rng(0)
    train = rng.choice([1, 2], (4000, 4), p=[0.8, 0.2])
    drawn = markov_draw([train], np.zeros((2000, 4), dtype=int), np.ones((2000, 4), dtype=bool), rng)
    assert set(np.unique(drawn)) == {1, 2} and (drawn == 2).mean() == pytest.approx(0.2, abs=0.02)
