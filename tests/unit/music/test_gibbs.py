"""Sampling: what stays, what is allowed, what the passes do, and how candidates are ranked."""

from collections.abc import Callable, Iterator
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.music.chorales import OUTSIDE, RANGES, to_grid
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.counterpoint import parallels_into
from musegen.music.gibbs import (
    GibbsConfig,
    _around_parallels,
    _Chain,
    ancestral,
    gibbs,
    log_likelihoods,
    masked_share,
)

AGAIN = ("unsure", "random")
Sampler = Callable[..., Iterator[np.ndarray]]


@pytest.fixture(scope="module")
def model() -> Coconet:
    """A network that was never trained, but is not indifferent."""
    torch.manual_seed(0)
    model = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()
    for name, parameter in model.named_parameters():
        if "project_out" in name or "head" in name:
            torch.nn.init.normal_(parameter)
    return model


def some_cells(n_steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 47, (2, n_steps, 4))
    cells[:, :1] = OUTSIDE
    return cells, (rng.random(cells.shape) < 0.5) & (cells != OUTSIDE)


def assert_promises(found: np.ndarray, cells: np.ndarray, free: np.ndarray, rests: bool) -> None:
    assert np.array_equal(found[~free], cells[~free])
    for voice, (low, high) in enumerate(RANGES):
        written = found[..., voice][free[..., voice]]
        pitches = to_grid(written[written > 0])
        assert (written > 0).all() or rests
        assert ((low <= pitches) & (pitches <= high)).all()


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 2**32), st.booleans(), st.sampled_from(AGAIN))
def test_what_is_locked_stays_and_what_is_free_is_in_range(
    model: Coconet, n_steps: int, n_passes: int, seed: int, rests: bool, again: str
):
    cells, free = some_cells(n_steps, seed)
    before = cells.copy()
    passes = list(gibbs(model, cells, free, GibbsConfig(n_passes, rests=rests, again=again, n_mendings=2), seed))
    assert n_passes <= len(passes) <= n_passes + 2 and np.array_equal(cells, before)
    for found in passes:
        assert_promises(found, before, free, rests)


@settings(max_examples=15)
@given(st.integers(1, 8), st.integers(0, 2**32), st.booleans())
def test_ancestral_sampling_draws_every_free_cell_once(model: Coconet, n_steps: int, seed: int, rests: bool):
    cells, free = some_cells(n_steps, seed)
    steps = list(ancestral(model, cells, free, GibbsConfig(rests=rests), seed))
    assert len(steps) == free.sum((1, 2)).max()
    if not steps:
        return
    assert_promises(steps[-1], cells, free, rests)
    hidden = np.where(free, OUTSIDE - 1, cells)
    states = list(ancestral(model, hidden, free, GibbsConfig(rests=rests), seed))
    assert np.array_equal(states[-1], steps[-1])
    for before, after in zip([hidden, *states], states, strict=False):
        assert ((before != after).sum((1, 2)) <= 1).all()


@pytest.mark.parametrize("sampler", [gibbs, ancestral])
@pytest.mark.parametrize("again", AGAIN)
def test_a_seed_decides_everything(model: Coconet, sampler: Sampler, again: str):
    cells, free = some_cells(12, 0)
    config = GibbsConfig(3, again=again)
    one, same, other = (list(sampler(model, cells, free, config, seed))[-1] for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    hidden = np.where(free, 5, cells)
    assert np.array_equal(one, list(sampler(model, hidden, free, config, 1))[-1])


@pytest.mark.parametrize("sampler", [gibbs, ancestral])
def test_it_can_be_stopped(model: Coconet, sampler: Sampler):
    passes = sampler(model, *some_cells(12, 0), GibbsConfig(10**9))
    assert next(passes).shape == (2, 12, 4)


def test_nothing_free_is_nothing_drawn(model: Coconet):
    cells, free = some_cells(12, 0)
    nothing = np.zeros_like(free)
    assert all(np.array_equal(found, cells) for found in gibbs(model, cells, nothing, GibbsConfig(2)))
    assert list(ancestral(model, cells, nothing, GibbsConfig())) == []
    assert log_likelihoods(model, cells, nothing).tolist() == [0, 0]


def test_fewer_and_fewer_cells_are_masked():
    shares = [masked_share(done, GibbsConfig(100, again="random")) for done in range(100)]
    assert shares[0] == 0.9 and shares[35] == pytest.approx(0.5) and shares[70:] == pytest.approx([0.1] * 30)
    constant = GibbsConfig(100, again="random", first_share=0.2, last_share=0.2)
    assert {masked_share(done, constant) for done in range(100)} == {0.2}
    unsure = [masked_share(done, GibbsConfig(100, again="unsure")) for done in range(100)]
    assert unsure[0] == 1 and unsure[-1] < 0.02 and (np.diff(unsure) < 0).all()


def test_a_pass_draws_as_many_cells_anew_as_its_share(model: Coconet):
    cells, free = some_cells(40, 0)
    passes = list(gibbs(model, cells, free, GibbsConfig(20, again="unsure", n_mendings=0)))
    for done, (before, after) in enumerate(zip(passes, islice(passes, 1, None), strict=False), start=1):
        n_changed = (before != after).sum((1, 2))
        assert (n_changed <= np.ceil(masked_share(done, GibbsConfig(20)) * free.sum((1, 2)))).all()


@pytest.mark.parametrize("temperature", [1e-6, 1e-38])
def test_cold_sampling_takes_the_likeliest(model: Coconet, temperature: float):
    cells, free = some_cells(8, 0)
    found = [next(gibbs(model, cells, free, GibbsConfig(1, temperature=temperature), seed)) for seed in range(2)]
    assert np.array_equal(*found)


def test_what_lies_far_from_the_free_cells_makes_no_difference_to_them(model: Coconet):
    cells, _ = some_cells(500, 0)
    free = np.zeros(cells.shape, dtype=bool)
    free[:, 200:208] = True
    other = cells.copy()
    other[:, :70], other[:, 340:] = OUTSIDE, 3
    found, again = (list(gibbs(model, given, free, GibbsConfig(4)))[-1] for given in (cells, other))
    assert np.array_equal(found[free], again[free])
    near = cells.copy()
    near[:, 190:200] = 3
    assert not np.array_equal(found[free], list(gibbs(model, near, free, GibbsConfig(4)))[-1][free])


def test_the_likelihood_is_the_mean_over_orders():
    torch.manual_seed(0)
    indifferent = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()
    cells, free = some_cells(10, 0)
    assert log_likelihoods(indifferent, cells, free) == pytest.approx(-np.log(47), abs=1e-3)


def test_the_likelihood_ranks_candidates_by_the_same_masks(model: Coconet):
    cells, free = some_cells(10, 0)
    free[:] = free[0]
    twice = np.concatenate([cells, cells])
    found = log_likelihoods(model, twice, np.concatenate([free, free]), seed=3)
    assert found.shape == (4,) and found.dtype == np.float64 and (found < 0).all()
    assert found[:2] == pytest.approx(found[2:]) and found[0] != pytest.approx(found[1])
    cold = list(gibbs(model, cells, free, GibbsConfig(20, temperature=0.01, rests=True), 1))[-1]
    assert (log_likelihoods(model, cold, free) > log_likelihoods(model, cells, free)).all()


def n_parallels(cells: np.ndarray) -> list[int]:
    grids = [to_grid(np.where(row == OUTSIDE, 0, row)) for row in cells]
    return [int(parallels_into(grid)[0].sum()) for grid in grids]


def test_mending_leaves_fewer_parallels_and_touches_nothing_else(model: Coconet):
    roots = np.repeat(np.random.default_rng(1).integers(5, 20, (2, 10, 1)), 8, axis=1)
    cells = roots + np.array([24, 12, 7, 0])  # chords of two beats in which all voices move in fifths and octaves
    free = np.ones(cells.shape, dtype=bool)
    free[:, :, 0] = False
    chain = _Chain(model, cells, free, GibbsConfig(), 1)
    counts = [n_parallels(cells)]
    for _ in range(6):
        kept = chain.cells.numpy().copy()
        around = np.stack([_around_parallels(row) for row in kept])
        if not chain.mend():
            break
        mended = chain.cells.numpy()
        assert np.array_equal(mended[~around], kept[~around]) and np.array_equal(mended[..., 0], cells[..., 0])
        counts.append(n_parallels(mended))
    assert len(counts) > 1
    for earlier, later in pairwise(counts):
        assert all(after <= before for before, after in zip(earlier, later, strict=True))
    assert 2 * sum(counts[-1]) < sum(counts[0])


def test_what_has_no_parallels_is_left_alone(model: Coconet):
    cells = np.tile(np.array([37, 32, 28, 20]), (1, 12, 1))
    free = np.ones(cells.shape, dtype=bool)
    assert not _Chain(model, cells, free, GibbsConfig(), 1).mend()


def test_wrong_arguments(model: Coconet):
    cells, free = some_cells(4, 0)
    for sampler in (gibbs, ancestral):
        with pytest.raises(InputError, match="outside the piece"):
            next(sampler(model, cells, np.ones_like(free), GibbsConfig()))
        with pytest.raises(InputError, match="one shape"):
            next(sampler(model, cells, free[:1], GibbsConfig()))
        with pytest.raises(InputError, match="ranges must hold"):
            next(sampler(model, cells, free, GibbsConfig(ranges=((10, 20),) * 4)))
    with pytest.raises(InputError, match="outside the piece"):
        log_likelihoods(model, cells, np.ones_like(free))
    with pytest.raises(InputError, match="temperature"):
        GibbsConfig(temperature=0)
    with pytest.raises(InputError, match="n_passes"):
        GibbsConfig(0)
    with pytest.raises(InputError, match="again must be"):
        GibbsConfig(again="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="first_share and last_share"):
        GibbsConfig(first_share=0.1, last_share=0.2)
