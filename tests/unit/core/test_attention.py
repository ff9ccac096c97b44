"""Attention: every pattern against its dense mask, causality by gradients, cached equal to uncached."""

import math

import pytest
import torch
from torch import Tensor

from musegen.core.attention import MultiHeadAttention
from musegen.core.sparsity import Dense, Fixed, Pattern, Strided
from musegen.errors import InputError

D_MODEL, N_HEADS, MAX_POSITIONS = 32, 4, 40
PATTERNS = [
    Dense(),
    Fixed(block=8, n_summary=2),
    Fixed(block=5, n_summary=4),
    Fixed(block=64, n_summary=8),
    Strided(stride=6),
    Strided(stride=1),
]


@pytest.fixture(params=PATTERNS, ids=str)
def layer(request: pytest.FixtureRequest) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(D_MODEL, N_HEADS, request.param, MAX_POSITIONS)


def masks(pattern: Pattern, n_positions: int) -> Tensor:
    """(H, T, T)."""
    n_each = N_HEADS // len(pattern.kinds)
    return torch.stack([kind.mask(n_positions) for kind in pattern.kinds for _ in range(n_each)])


def dense_forward(layer: MultiHeadAttention, x: Tensor) -> Tensor:
    """The same layer through the whole T x T scores and the mask that defines its pattern."""
    q, k, v = (y.transpose(1, 2) for y in layer._project(x))
    scores = (q @ k.transpose(-1, -2)) / math.sqrt(layer.d_head)
    scores = scores.masked_fill(~masks(layer.pattern, x.shape[1]), -math.inf)
    return layer.project_out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("n_positions", [1, 2, 5, 6, 7, 8, 9, 16, 23, 40])
def test_equals_dense_mask(layer: MultiHeadAttention, n_positions: int):
    x = torch.randn(2, n_positions, D_MODEL)
    assert_equal(layer(x), dense_forward(layer, x))


@pytest.mark.parametrize("n_positions", [7, 23, 40])
def test_gradients_equal_dense_mask(layer: MultiHeadAttention, n_positions: int):
    x = torch.randn(2, n_positions, D_MODEL, requires_grad=True)
    weight = torch.randn(2, n_positions, D_MODEL)
    actual = torch.autograd.grad((layer(x) * weight).sum(), [x, layer.project_in.weight])
    expected = torch.autograd.grad((dense_forward(layer, x) * weight).sum(), [x, layer.project_in.weight])
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_bidirectional_sees_everything():
    torch.manual_seed(0)
    layer = MultiHeadAttention(D_MODEL, N_HEADS, Dense(causal=False), MAX_POSITIONS)
    x = torch.randn(2, 9, D_MODEL, requires_grad=True)
    assert_equal(layer(x), dense_forward(layer, x))
    (gradient,) = torch.autograd.grad(layer(x)[0, 0].sum(), x)
    assert (gradient[0].abs().sum(-1) > 0).all()
    assert not gradient[1].any()
    with pytest.raises(InputError, match="causal"):
        layer.init_cache(1)


def test_bfloat16_autocast_is_close(layer: MultiHeadAttention):
    x = torch.randn(2, 37, D_MODEL)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x), atol=0.02, rtol=0.05)


@pytest.mark.parametrize("n_positions", [1, 7, 20, 33])
def test_causality_by_gradients(layer: MultiHeadAttention, n_positions: int):
    allowed = masks(layer.pattern, n_positions).any(0)
    allowed |= torch.eye(n_positions, dtype=torch.bool)  # every output depends on its own query
    x = torch.randn(1, n_positions, D_MODEL, requires_grad=True)
    out = layer(x)
    weight = torch.randn(D_MODEL)
    for i in range(n_positions):
        (gradient,) = torch.autograd.grad((out[0, i] * weight).sum(), x, retain_graph=True)
        reached = gradient[0].abs().sum(-1) > 0
        # With a single key a query does not matter: its weight is 1 whatever it asks.
        reached[i] = True
        assert torch.equal(reached, allowed[i]), f"position {i}"


@pytest.mark.parametrize("n_prefill", [1, 5, 6, 7, 8, 13, 16, 39, 40])
def test_cached_equals_uncached(layer: MultiHeadAttention, n_prefill: int):
    x = torch.randn(2, MAX_POSITIONS, D_MODEL)
    expected = layer(x)
    cache = layer.init_cache(2)
    out = [layer.prefill(x[:, :n_prefill], cache)]
    for i in range(n_prefill, MAX_POSITIONS):
        out.append(layer.step(x[:, i : i + 1], cache, torch.tensor([i, i])))
    assert_equal(torch.cat(out, 1), expected)


def test_rows_at_different_positions(layer: MultiHeadAttention):
    x = torch.randn(3, MAX_POSITIONS, D_MODEL)
    expected = layer(x)
    starts = [3, 17, 8]
    cache = layer.init_cache(3)
    layer.prefill(torch.randn(3, MAX_POSITIONS, D_MODEL), cache)  # what another piece left behind must not be seen
    for row, start in enumerate(starts):
        assert_equal(
            layer.prefill(x[row : row + 1, :start], cache, slice(row, row + 1)), expected[row : row + 1, :start]
        )
    positions, rows = torch.tensor(starts), torch.arange(3)
    for _ in range(MAX_POSITIONS - max(starts)):
        out = layer.step(x[rows, positions][:, None], cache, positions)
        assert_equal(out[:, 0], expected[rows, positions])
        positions = positions + 1


def test_a_step_can_be_repeated(layer: MultiHeadAttention):
    # A row that waits for others is stepped with anything, and stepped again at the same position when its turn comes.
    x = torch.randn(1, MAX_POSITIONS, D_MODEL)
    expected = layer(x)
    cache = layer.init_cache(1)
    layer.prefill(x[:, :1], cache)
    for i in range(1, MAX_POSITIONS):
        layer.step(torch.randn(1, 1, D_MODEL), cache, torch.tensor([i]))
        assert_equal(layer.step(x[:, i : i + 1], cache, torch.tensor([i]))[:, 0], expected[:, i])


def test_cache_shapes_are_fixed_and_small():
    layer = MultiHeadAttention(D_MODEL, N_HEADS, Fixed(block=16, n_summary=2), max_positions=256)
    cache = layer.init_cache(3, torch.float16)
    assert cache.n_rows == 3
    assert [tuple(k.shape) for k in cache.keys] == [(3, 1, 2, 16, 8), (3, 1, 2, 2 + 16 * 2, 8)]
    pointers = [k.data_ptr() for k in cache.keys]
    layer.prefill(torch.randn(3, 100, D_MODEL), cache)
    layer.step(torch.randn(3, 1, D_MODEL), cache, torch.tensor([100] * 3))
    assert [k.data_ptr() for k in cache.keys] == pointers


def test_half_precision_cache_is_close(layer: MultiHeadAttention):
    x = torch.randn(1, 20, D_MODEL)
    cache = layer.init_cache(1, torch.bfloat16)
    layer.prefill(x[:, :19], cache)
    out = layer.step(x[:, 19:], cache, torch.tensor([19]))
    torch.testing.assert_close(out[:, 0], layer(x)[:, 19], atol=0.02, rtol=0.05)


def test_dropout_only_in_training():
    torch.manual_seed(0)
    layer = MultiHeadAttention(D_MODEL, N_HEADS, Fixed(block=8, n_summary=2), MAX_POSITIONS, dropout=0.5)
    x = torch.randn(1, 20, D_MODEL)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert_equal(layer(x), dense_forward(layer, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((30, 4, Dense(), 8), "multiple of n_heads, got 30 and 4"),
        ((30, 3, Fixed(8, 2), 8), "even for the fixed pattern, got 3"),
        ((12, 4, Dense(), 8), "d_head must be even"),
    ],
)
def test_bad_shapes(arguments: tuple, message: str):
    with pytest.raises(InputError, match=message):
        MultiHeadAttention(*arguments)


def test_too_long_a_sequence(layer: MultiHeadAttention):
    with pytest.raises(InputError, match="40 positions, got 41"):
        layer(torch.zeros(1, 41, D_MODEL))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(layer: MultiHeadAttention):
    x = torch.randn(2, MAX_POSITIONS, D_MODEL)
    expected = layer(x)
    layer.cuda()
    cache = layer.init_cache(2, device="cuda")
    out = [layer.prefill(x[:, :13].cuda(), cache)]
    for i in range(13, MAX_POSITIONS):
        out.append(layer.step(x[:, i : i + 1].cuda(), cache, torch.tensor([i, i], device="cuda")))
    torch.testing.assert_close(torch.cat(out, 1).cpu(), expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(layer(x.cuda()).cpu(), expected, atol=1e-4, rtol=1e-3)


def test_with_normalised_queries_and_keys_only_directions_count():
    torch.manual_seed(0)
    layer = MultiHeadAttention(16, 2, qk_norm=True)
    x = torch.randn(1, 9, 16)
    expected = layer(x)
    with torch.no_grad():
        layer.project_in.weight[:32] *= 7  # queries and keys
    torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        assert layer.qk_gain is not None
        layer.qk_gain *= 2
    assert not torch.allclose(layer(x), expected, atol=1e-3)
