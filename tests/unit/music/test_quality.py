"""What a model writes: nothing but what it may see, and figures that are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.errors import InputError
from musegen.music import quality as q
from musegen.music.chorales import OUTSIDE, RANGES, SILENCE, Grid, Mask, to_grid
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.gibbs import GibbsConfig, log_likelihoods


@pytest.fixture(scope="module")
def model() -> Coconet:
    torch.manual_seed(0)
    model = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()
    torch.nn.init.normal_(model.network.head.pitches.weight)
    return model


def some_grids(*lengths: int) -> list[Grid]:
    rng = np.random.default_rng(0)
    low, high = np.array(RANGES).T
    return [np.repeat(rng.integers(low, high + 1, (n // 4, 4)), 4, axis=0) for n in lengths]


def test_bach_and_what_was_written_in_one_table(model: Coconet):
    train, pieces = some_grids(40, 32, 48), some_grids(24, 16)
    done = {}
    found = q.evaluate(
        model, train, pieces, GibbsConfig(2), on_progress=lambda what, *counts: done.update({what: counts})
    )
    assert list(found) == list(q.COLUMNS)
    assert all(list(column) == list(q.MEANINGS) for column in found.values())
    assert done == {"harmonized": (2, 2), "new": (2, 2), "measured": (5, 5)}
    bach, new = found["bach"], found["new"]
    assert bach["same_cells"] == bach["same_chords"] == 1
    assert new["same_cells"] is new["nats_given_soprano"] is None
    assert found["harmonized"]["nats"] is found["markov_harmonized"]["nats"] is None
    assert found["harmonized"]["out_of_range"] == new["out_of_range"] == 0
    assert found == q.evaluate(model, train, pieces, GibbsConfig(2))
    assert found != q.evaluate(model, train, pieces, GibbsConfig(2), seed=1)


def test_bach_measured_against_himself_is_no_distance_away(model: Coconet):
    train = some_grids(40, 32)
    bach = q.evaluate(model, train, train, GibbsConfig(1))["bach"]
    names = ("pitches", "melodic_intervals", "durations", "harmonies", "cadence_chords")
    assert [bach[name] for name in names] == [0] * 5
    assert bach["longest_copy"] == 40 and bach["mean_longest_copy"] == 36


@pytest.mark.parametrize("n_given", [0, 1])
def test_a_sampler_sees_no_more_than_the_given_voices_and_where_a_piece_ends(model: Coconet, n_given: int):
    [grid] = some_grids(24)
    grid = grid[:22]
    seen = []

    def sampler(network: Coconet, cells: Grid, free: Mask, seed: int) -> Grid:
        seen.append((cells, free))
        return np.where(free, 20 + np.arange(len(cells))[:, None, None], cells)

    found = q.write(model, grid, n_given, sampler, n_candidates=3)
    [(cells, free)] = seen
    assert cells.shape == (3, 32, 4) and (cells[:, [0, 3, 26, 31]] == OUTSIDE).all()
    assert free.sum() == 3 * 22 * (4 - n_given)
    assert np.array_equal(found[:, :n_given], grid[:, :n_given])
    chosen = np.unique(found[:, n_given:])
    candidates = np.where(free, 20 + np.arange(3)[:, None, None], cells)
    best = log_likelihoods(model, candidates, free).argmax()
    assert chosen.tolist() == [to_grid(np.array(20 + best))]


def test_a_model_without_opinions_is_as_sure_of_everything():
    torch.manual_seed(0)
    indifferent = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()
    assert q.mean_nats(indifferent, some_grids(12, 24), 1) == pytest.approx(math.log(47), abs=1e-3)


def test_agreement():
    [grid] = some_grids(16)
    other = grid.copy()
    other[:4, 1] += 1
    other[4:, 0] += 1
    assert q.same_cells([grid], [other]) == pytest.approx(1 - 4 / 48)
    lower = grid.copy()
    lower[:, 3] -= 12
    assert q.same_chords([grid], [lower]) == 1 and q.same_cells([grid], [lower]) == pytest.approx(2 / 3)
    silent = np.full_like(grid, SILENCE)
    assert q.same_chords([grid], [silent]) == 0 and q.same_chords([silent], [silent]) == 1


def test_pieces_are_spread_evenly():
    pieces = some_grids(*range(4, 44, 4))
    assert [len(piece) for piece in q.spread(pieces, 3)] == [4, 16, 28]
    assert len(q.spread(pieces, 99)) == 10


@pytest.mark.parametrize(
    "wrong", [{"max_pieces": 0}, {"candidates": 0}, {"candidates": 65}, {"seed": -1}, {"passes": 0}, {"passes": 10_001}]
)
def test_numbers_out_of_range_are_named_before_anything_is_read(tmp_path: Path, wrong: dict[str, int]):
    from musegen.api import evaluate_chorales

    with pytest.raises(InputError, match=f"^{next(iter(wrong)).removeprefix('max_')} is"):
        evaluate_chorales(tmp_path / "missing.json", **wrong)
