"""The protocols on toy predictors whose figures are known."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch

from musegen.music import orderings as o
from musegen.music.chorales import N_CLASSES
from musegen.music.coconet import Coconet, CoconetConfig


def some_pieces(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 3, (n, 4)) for n in lengths]


def uniform(cells: np.ndarray, masks: np.ndarray) -> np.ndarray:
    assert cells.shape == masks.shape
    return np.full((*cells.shape, N_CLASSES), -math.log(N_CLASSES))


def counting(cells: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The more of its piece a cell knows, the better: p(true) = (1 + known) / (1 + n)."""
    n = cells[0].size
    p = (1 + (~masks).sum((1, 2))) / (1 + n)
    rest = (1 - p) / (N_CLASSES - 1)
    log_p = np.broadcast_to(np.log(rest)[:, None, None, None], (*cells.shape, N_CLASSES)).copy()
    np.put_along_axis(log_p, cells[..., None], np.broadcast_to(np.log(p)[:, None, None, None], (*cells.shape, 1)), -1)
    return log_p


def order_mean(n: int) -> float:
    """Of `counting`, over any order of n cells."""
    return -sum(math.log((1 + known) / (1 + n)) for known in range(n)) / n


@pytest.mark.parametrize("n", [40, None])
def test_uniform_predictions_cost_the_same_everywhere(n: int | None):
    names = [*o.PROTOCOLS, o.MIXTURE]
    done = {}
    figures = o.evaluate(
        uniform, some_pieces(5, 9), names, n=n, on_progress=lambda what, *counts: done.update({what: counts})
    )
    assert list(figures) == list(done) == names and all(now == total for now, total in done.values())
    for name, figure in figures.items():
        assert figure.nats == pytest.approx(math.log(N_CLASSES) * (4 if "frame" in name else 1))
        assert figure.se == pytest.approx(0, abs=1e-9) and figure.n > 0
    if n is None:
        assert [figures[name].n for name in names[1:]] == [56, 14, 14, 56]


def test_the_random_figure_is_the_mean_over_orders():
    pieces = some_pieces(4, 7)
    expected = sum(piece.size * order_mean(piece.size) for piece in pieces) / sum(piece.size for piece in pieces)
    figure = o.evaluate(counting, pieces, ["notewise_random"], se=0.01)["notewise_random"]
    assert figure.se <= 0.0105 and figure.nats == pytest.approx(expected, abs=4 * figure.se)
    assert o.random_order(counting, pieces[0], np.random.default_rng(1)) == pytest.approx(order_mean(16))


def test_the_chronological_figure_is_exact():
    pieces = some_pieces(4, 7)
    expected = sum(piece.size * order_mean(piece.size) for piece in pieces) / sum(piece.size for piece in pieces)
    figure = o.evaluate(counting, pieces, ["notewise_chronological"], n=None)["notewise_chronological"]
    assert figure == o.Figure(pytest.approx(expected), 0.0, 44)
    sampled = o.evaluate(counting, pieces, ["notewise_chronological"], n=20)["notewise_chronological"]
    assert sampled.n == 20 and 0 < abs(sampled.nats - expected) < 3 * sampled.se


def test_chronological_order_is_time_and_then_voice():
    piece = some_pieces(3)[0]
    seen = []

    def record(cells: np.ndarray, masks: np.ndarray) -> np.ndarray:
        seen.extend(masks.reshape(len(masks), -1))
        return uniform(cells, masks)

    o.evaluate(record, [piece], ["notewise_chronological"], n=None)
    assert np.array_equal(seen, np.tri(12, dtype=bool).T)


def test_voices_of_a_frame_see_what_the_model_chose():
    """A predictor that is sure of class 5 and never sees the frame's true pitches."""
    piece = np.zeros((3, 4), dtype=np.int64)
    known = []

    def sure(cells: np.ndarray, masks: np.ndarray) -> np.ndarray:
        known.extend(cells[row, 1][~masks[row, 1]].tolist() for row in range(len(cells)))
        log_p = np.full((*cells.shape, N_CLASSES), math.log(0.5 / (N_CLASSES - 1)))
        log_p[..., 5] = math.log(0.5)
        return log_p

    figure = o.framewise(sure, [piece], np.random.default_rng(0), True, None, lambda *_: None)
    assert figure.nats == pytest.approx(-4 * math.log(0.5 / (N_CLASSES - 1)))
    assert [5] in known and [5, 5, 5] in known and [0, 0, 0, 0] in known
    assert not any(0 in values and 5 in values for values in known)


def test_a_mixture_averages_probabilities():
    piece = some_pieces(3)[0]
    figure = o.evaluate(counting, [piece], [o.MIXTURE], n=None)[o.MIXTURE]
    assert -math.log(np.mean([(1 + k) / 13 for k in range(12)])) - 0.05 < figure.nats < order_mean(12)


def test_subsets_with_a_cell_are_those_before_it_in_a_random_order():
    piece = np.zeros((1, 3), dtype=np.int64)
    rng = np.random.default_rng(0)
    drawn = [tuple(o._random_mask(piece, rng.random(), rng, 1)[0].tolist()) for _ in range(6000)]
    orders = list(permutations(range(3)))
    for mask in set(drawn):
        expected = sum(all((order.index(c) >= order.index(1)) == mask[c] for c in range(3)) for order in orders) / 6
        assert drawn.count(mask) / 6000 == pytest.approx(expected, abs=0.03)


def test_predictions_are_of_the_piece_without_its_ends():
    torch.manual_seed(0)
    model = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()
    piece = some_pieces(6)[0]
    masks = np.zeros((2, 6, 4), dtype=bool)
    masks[0, 2:4] = True
    masks[1] = True
    log_p = o.predictor(model)(np.stack([piece, piece]), masks)
    assert log_p.shape == (2, 6, 4, N_CLASSES) and np.allclose(np.exp(log_p).sum(-1), 1)


def test_the_random_figure_is_that_of_full_random_orders():
    torch.manual_seed(0)
    model = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    piece, predict, rng = some_pieces(2)[0], o.predictor(model), np.random.default_rng(0)
    orders = [o.random_order(predict, piece, rng) for _ in range(150)]
    figure = o.evaluate(predict, [piece], ["notewise_random"], se=0.02)["notewise_random"]
    se = math.hypot(figure.se, np.std(orders) / math.sqrt(len(orders)))
    assert se < 0.04 and abs(figure.nats - np.mean(orders)) < 4 * se


def test_the_standard_error_is_what_figures_really_scatter_by():
    """Shares, pieces of different sizes and single masks all matter to this predictor."""

    def noisy(cells: np.ndarray, masks: np.ndarray) -> np.ndarray:
        log_p = counting(cells, masks)
        log_p[:, ::2] *= 1.5
        return log_p

    pieces = some_pieces(3, 5, 9)
    figures = [o.evaluate(noisy, pieces, ["notewise_random"], se=0.1, seed=seed) for seed in range(120)]
    nats, errors = np.array([(f["notewise_random"].nats, f["notewise_random"].se) for f in figures]).T
    assert 0.8 < nats.std(ddof=1) / np.sqrt((errors**2).mean()) < 1.25
    exact = o.evaluate(noisy, pieces, ["notewise_random"], se=0.004)["notewise_random"]
    assert abs(nats.mean() - exact.nats) < 4 * math.hypot(exact.se, nats.std() / math.sqrt(len(nats)))
