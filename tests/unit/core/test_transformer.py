"""The transformer block: cached equal to uncached, and how it starts."""

import math

import pytest
import torch

from musegen.core.sparsity import Fixed, Pattern, Strided
from musegen.core.transformer import MLP, Block


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "activation": "relu2"}], ids=str)
@pytest.mark.parametrize("pattern", [None, Fixed(6, 2), Strided(5)], ids=str)
def test_stack_cached_equals_uncached(pattern: Pattern | None, options: dict):
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(Block(16, 2, 3, pattern, max_positions=24, **options) for _ in range(3))
    x = torch.randn(2, 24, 16)
    expected = x
    for block in blocks:
        expected = block(expected)
    caches = [block.init_cache(2) for block in blocks]
    out = x[:, :7]
    for block, cache in zip(blocks, caches, strict=True):
        out = block.prefill(out, cache)
    outs = [out]
    for i in range(7, 24):
        out = x[:, i : i + 1]
        for block, cache in zip(blocks, caches, strict=True):
            out = block.step(out, cache, torch.tensor([i, i]))
        outs.append(out)
    torch.testing.assert_close(torch.cat(outs, 1), expected, atol=1e-5, rtol=1e-5)


def test_residual_outputs_start_smaller_with_depth():
    torch.manual_seed(0)
    shallow, deep = Block(256, 4, n_layers=1), Block(256, 4, n_layers=72)
    for name in ("attention", "mlp"):
        a, b = (getattr(block, name).project_out.weight.std().item() for block in (shallow, deep))
        assert a / b == pytest.approx(math.sqrt(72), rel=0.05)
    assert shallow.mlp.expand.weight.std().item() == pytest.approx(deep.mlp.expand.weight.std().item(), rel=0.05)


def test_builds_on_the_meta_device():
    with torch.device("meta"):
        block = Block(1536, 24, 72, Fixed(128, 8), 4096)
    assert sum(p.numel() for p in block.parameters()) == 12 * 1536**2 + 4 * 1536 + 5 * 1536
    assert block(torch.zeros(1, 300, 1536, device="meta")).shape == (1, 300, 1536)


def test_dropout_only_in_training():
    torch.manual_seed(0)
    block = Block(16, 2, 1, dropout=0.5)
    x = torch.randn(1, 5, 16)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_squared_relu():
    mlp = MLP(3, 5, activation="relu2")
    x = torch.randn(2, 4, 3)
    hidden = mlp.expand(x).clamp(min=0) ** 2
    torch.testing.assert_close(mlp(x), mlp.project_out(hidden))
