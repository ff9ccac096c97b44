"""Filters over logits, each against a plain statement of what it keeps."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegen.core.sampling import Sampling, masked, sample, top_k, top_p
from musegen.errors import InputError

# Distinct integers keep ties and rounding out of the way.
logits_lists = st.lists(st.integers(-50, 50), min_size=1, max_size=12, unique=True)


def kept(odds: np.ndarray) -> set[int]:
    return set(np.flatnonzero(odds).tolist())


@given(logits_lists, st.integers(1, 15))
def test_top_k(values: list[int], k: int):
    expected = sorted(range(len(values)), key=lambda i: -values[i])[:k]
    assert kept(top_k(np.exp(np.array(values, dtype=float)), k)) == set(expected)


@given(logits_lists, st.floats(0.0, 1.0), st.floats(0.01, 100))
def test_top_p(values: list[int], p: float, factor: float):
    odds = factor * np.exp(np.array(values, dtype=float))
    probability = (odds / odds.sum()).tolist()
    expected, total = set(), 0.0
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        if expected and total >= p - 1e-6:
            break
        expected.add(i)
        total += probability[i]
    result = kept(top_p(odds, p))
    # On the edge, rounding may keep one more; never one less than p needs.
    assert result >= expected or math.isclose(sum(probability[i] for i in result), p, abs_tol=1e-5)
    assert max(range(len(values)), key=lambda i: values[i]) in result


def test_top_p_by_hand():
    odds = np.array([0.05, 0.5, 0.15, 0.3])
    assert [kept(top_p(odds, p)) for p in (0.0, 0.45, 0.6, 0.79, 0.81, 0.97)] == [
        {1}, {1}, {1, 3}, {1, 3}, {1, 2, 3}, {0, 1, 2, 3},
    ]  # fmt: skip
    assert top_p(odds, 1.0) is odds


def test_filters_change_no_probability_ratio():
    logits = np.random.default_rng(0).normal(size=50)
    odds = Sampling(top_k=10, top_p=0.8).odds(logits)
    chosen = odds > 0
    assert 1 < chosen.sum() <= 10
    expected = np.exp(logits[chosen])
    np.testing.assert_allclose(odds[chosen] / odds.sum(), expected / expected.sum())


@pytest.mark.parametrize("temperature", [0.0, 1e-30])
def test_no_temperature_takes_the_likeliest(temperature: float):
    for logits in np.random.default_rng(1).normal(size=(4, 20)):
        assert Sampling(temperature).draw(logits, np.random.default_rng(0)) == logits.argmax()


def test_draws_are_fair_and_what_is_impossible_never_comes():
    logits = np.log(np.array([0.2, 0.0, 0.5, 0.3, 0.0]), where=[1, 0, 1, 1, 0], out=np.full(5, -np.inf))
    generator = np.random.default_rng(0)
    drawn = Counter(Sampling().draw(logits.astype(np.float32), generator) for _ in range(10_000))
    assert set(drawn) == {0, 2, 3}
    for value, share in ((0, 0.2), (2, 0.5), (3, 0.3)):
        assert abs(drawn[value] / 10_000 - share) < 0.02


def test_a_temperature_draws_from_powers_of_the_probabilities():
    logits = np.log([0.1, 0.2, 0.7])
    odds = Sampling(temperature=0.5).odds(logits)
    np.testing.assert_allclose(odds / odds.sum(), np.array([0.01, 0.04, 0.49]) / 0.54)


def test_masked_is_never_drawn_and_the_rest_is_fair():
    allowed = torch.tensor([True, False, True, False])
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(sample(masked(torch.zeros(4000, 4), allowed), generator).tolist())
    assert set(drawn) == {0, 2}
    assert abs(drawn[0] - 2000) < 150


def test_sample_is_reproducible():
    logits = torch.randn(5, 3, 20)
    draws = [sample(logits, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].shape == (5, 3)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": math.nan},
        {"guidance": -0.5},
        {"guidance": math.inf},
    ],
)
def test_bad_settings(settings: dict[str, float]):
    with pytest.raises(InputError, match=next(iter(settings))):
        Sampling(**settings)  # pyright: ignore[reportArgumentType]
