"""Gibbs sampling: what stays, what is allowed, and what the passes do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.music.chorales import OUTSIDE, RANGES, to_grid
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.gibbs import GibbsConfig, gibbs, masked_share


@pytest.fixture(scope="module")
def model() -> Coconet:
    torch.manual_seed(0)
    return Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()


def some_cells(n_steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 47, (2, n_steps, 4))
    cells[:, :1] = OUTSIDE
    return cells, (rng.random(cells.shape) < 0.5) & (cells != OUTSIDE)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 2**32), st.booleans())
def test_what_is_locked_stays_and_what_is_free_is_in_range(
    model: Coconet, n_steps: int, n_passes: int, seed: int, rests: bool
):
    cells, free = some_cells(n_steps, seed)
    before = cells.copy()
    passes = list(gibbs(model, cells, free, GibbsConfig(n_passes, rests=rests), seed))
    assert len(passes) == n_passes and np.array_equal(cells, before)
    for found in passes:
        assert np.array_equal(found[~free], before[~free])
        for voice, (low, high) in enumerate(RANGES):
            written = found[..., voice][free[..., voice]]
            pitches = to_grid(written[written > 0])
            assert (written > 0).all() or rests
            assert ((low <= pitches) & (pitches <= high)).all()


def test_a_seed_decides_everything(model: Coconet):
    cells, free = some_cells(12, 0)
    one, same, other = (list(gibbs(model, cells, free, GibbsConfig(3), seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    hidden = np.where(free, 5, cells)
    assert np.array_equal(one, list(gibbs(model, hidden, free, GibbsConfig(3), 1)))


def test_it_can_be_stopped(model: Coconet):
    passes = gibbs(model, *some_cells(12, 0), GibbsConfig(10**9))
    assert next(passes).shape == (2, 12, 4)


def test_fewer_and_fewer_cells_are_masked():
    shares = [masked_share(done, 100) for done in range(100)]
    assert shares[0] == 0.9 and shares[35] == pytest.approx(0.5) and shares[70:] == pytest.approx([0.1] * 30)


def test_cold_sampling_takes_the_likeliest(model: Coconet):
    cells, free = some_cells(8, 0)
    torch.nn.init.normal_(model.network.head.pitches.weight)
    found = [next(gibbs(model, cells, free, GibbsConfig(1, temperature=1e-6), seed)) for seed in range(2)]
    assert np.array_equal(*found)


def test_wrong_arguments(model: Coconet):
    cells, free = some_cells(4, 0)
    with pytest.raises(InputError, match="outside the piece"):
        next(gibbs(model, cells, np.ones_like(free), GibbsConfig()))
    with pytest.raises(InputError, match="one shape"):
        next(gibbs(model, cells, free[:1], GibbsConfig()))
    with pytest.raises(InputError, match="temperature"):
        GibbsConfig(temperature=0)
    with pytest.raises(InputError, match="ranges must hold"):
        next(gibbs(model, cells, free, GibbsConfig(ranges=((10, 20),) * 4)))
