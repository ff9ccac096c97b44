"""Filters over logits, each against a plain statement of what it keeps."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegen.core.sampling import Sampling, masked, sample, top_k, top_p
from musegen.errors import InputError

# Distinct integers keep ties and rounding out of the way.
logits_lists = st.lists(st.integers(-50, 50), min_size=1, max_size=12, unique=True)


def kept(logits: torch.Tensor) -> set[int]:
    return set(logits.isfinite().nonzero().flatten().tolist())


@given(logits_lists, st.integers(1, 15))
def test_top_k(values: list[int], k: int):
    expected = sorted(range(len(values)), key=lambda i: -values[i])[:k]
    assert kept(top_k(torch.tensor(values, dtype=torch.float32), k)) == set(expected)


@given(logits_lists, st.floats(0.0, 1.0))
def test_top_p(values: list[int], p: float):
    logits = torch.tensor(values, dtype=torch.float32)
    probability = logits.softmax(-1).tolist()
    expected, total = set(), 0.0
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        if expected and total >= p - 1e-6:
            break
        expected.add(i)
        total += probability[i]
    result = kept(top_p(logits, p))
    # On the edge, rounding may keep one more; never one less than p needs.
    assert result >= expected or math.isclose(sum(probability[i] for i in result), p, abs_tol=1e-5)
    assert max(range(len(values)), key=lambda i: values[i]) in result


def test_top_p_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]).log()
    assert [kept(row) for row in top_p(logits, 0.6)] == [{0, 1}, {2, 3}]
    assert [kept(row) for row in top_p(logits, 0.0)] == [{0}, {3}]
    assert torch.equal(top_p(logits, 1.0), logits)


def test_filters_change_no_probability_ratio():
    logits = torch.randn(3, 50)
    out = Sampling(top_k=10, top_p=0.8).filter(logits)
    for before, after in zip(logits, out, strict=True):
        chosen = after.isfinite()
        torch.testing.assert_close(before[chosen].softmax(-1), after[chosen].softmax(-1))


@pytest.mark.parametrize("temperature", [0.0, 1e-30])
def test_no_temperature_takes_the_likeliest(temperature: float):
    logits = torch.randn(4, 20)
    out = Sampling(temperature=temperature).filter(logits)
    assert torch.equal(sample(out), logits.argmax(-1))


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
    ],
)
def test_bad_settings(settings: dict[str, float]):
    with pytest.raises(InputError, match=next(iter(settings))):
        Sampling(**settings)  # pyright: ignore[reportArgumentType]
