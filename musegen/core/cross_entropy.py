"""The cross-entropy of a linear layer's outputs, without ever holding all of them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

_ROWS = 1024  # outputs of so many rows stay in a processor's cache, or nearly


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log p(target) in nats, with p the softmax of x weight^T.

    The gradients are made with the loss, a few rows at a time: the (N, V) outputs and what backward would keep of them,
    several times the size of all else in a small model with a large vocabulary, are never written.

    Args:
        x: (N, C), N at least 1.
        weight: (V, C).
        targets: (N,) int64, 0 to V - 1.

    Returns:
        float32 scalar. Its second derivatives are not known.
    """
    if not torch.is_grad_enabled() or not (x.requires_grad or weight.requires_grad):
        parts = zip(x.split(_ROWS), targets.split(_ROWS), strict=True)
        total = sum(torch.nn.functional.cross_entropy((r @ weight.T).float(), t, reduction="sum") for r, t in parts)
        return torch.as_tensor(total) / len(x)
    loss = _LinearCrossEntropy.apply(x, weight, targets)
    assert isinstance(loss, Tensor)
    return loss


class _LinearCrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        with torch.autocast(kind, enabled=False):
            loss, x_grad, weight_grad = _loss_and_gradients(x.to(dtype), weight.to(dtype), targets)
        ctx.save_for_backward(x_grad, weight_grad)
        ctx.dtypes = x.dtype, weight.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x_grad, weight_grad = ctx.saved_tensors
        x_dtype, weight_dtype = ctx.dtypes
        return (x_grad * grads[0]).to(x_dtype), (weight_grad * grads[0]).to(weight_dtype), None


def _loss_and_gradients(x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the mean loss and its gradients in x and weight, the latter in float32."""
    n = len(x)
    loss = x.new_zeros((), dtype=torch.float32)
    x_grad = torch.empty_like(x)
    weight_grad = torch.zeros_like(weight, dtype=torch.float32)
    # The same memory for every part: new pages cost more than the arithmetic.
    outputs = x.new_empty(min(_ROWS, n), len(weight))
    floats = torch.empty_like(outputs, dtype=torch.float32)
    for start in range(0, n, _ROWS):
        rows, target = x[start : start + _ROWS], targets[start : start + _ROWS, None]
        output, p = outputs[: len(rows)], floats[: len(rows)]
        p.copy_(torch.mm(rows, weight.T, out=output))
        loss -= p.gather(1, target).sum()
        highest = p.amax(1, keepdim=True)
        total = p.sub_(highest).exp_().sum(1, keepdim=True)
        loss += (total.log() + highest).sum()
        p.div_(total * n)
        p.scatter_add_(1, target, torch.full_like(total, -1 / n))
        gradient = output.copy_(p)
        torch.mm(gradient, weight, out=x_grad[start : start + _ROWS])
        weight_grad += gradient.T @ rows
    return loss / n, x_grad, weight_grad
