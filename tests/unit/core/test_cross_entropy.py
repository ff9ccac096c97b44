"""The fused loss of a linear layer against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from musegen.core.cross_entropy import linear_cross_entropy


def _gradients(loss, x, weight):
    return torch.autograd.grad(3 * loss, (x, weight))


@pytest.mark.parametrize("n_rows", [1, 1024, 2500])
def test_loss_and_gradients_are_those_of_torch(n_rows):
    torch.manual_seed(0)
    x = torch.randn(n_rows, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(31, 12, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 31, (n_rows,))
    expected = F.cross_entropy(x @ weight.T, targets)
    loss = linear_cross_entropy(x, weight, targets)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for ours, theirs in zip(_gradients(loss, x, weight), _gradients(expected, x, weight), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_autocast_makes_the_products_and_nothing_else_smaller():
    torch.manual_seed(0)
    x, weight = torch.randn(300, 16, requires_grad=True), torch.randn(40, 16, requires_grad=True)
    targets = torch.randint(0, 40, (300,))
    expected = F.cross_entropy(x @ weight.T, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(x, weight, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    for ours, theirs in zip(_gradients(loss, x, weight), _gradients(expected, x, weight), strict=True):
        assert ours.dtype == torch.float32
        assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999


def test_without_gradients_the_same_loss():
    torch.manual_seed(0)
    x, weight, targets = torch.randn(1500, 8), torch.randn(9, 8), torch.randint(0, 9, (1500,))
    expected = F.cross_entropy(x @ weight.T, targets)
    assert linear_cross_entropy(x, weight, targets).item() == pytest.approx(expected.item(), rel=1e-5)
    with torch.no_grad():
        loss = linear_cross_entropy(x, weight.requires_grad_(), targets)
    assert not loss.requires_grad
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
