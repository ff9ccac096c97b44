"""How Muse is decoded: the fastest engine for a model and a machine.

A step of a small model on a CPU reads every weight once and does little with it: it is bound by how fast memory is
read, and by what each call costs. Where the package was built with a compiler, a step is one call and reads fewer bytes
(`compiled`). Otherwise NumPy multiplies a matrix by one row faster than a linear layer of torch, and its calls cost a
fraction of torch's.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from musegen.core.decode import Engine, check_room
from musegen.core.sparsity import Dense
from musegen.core.transformer import Block
from musegen.errors import InputError
from musegen.music.compiled import CompiledEngine, can_compile
from musegen.music.muse import Muse, MuseEngine

_INT8_WIDTH = 32
_RMS_EPS = np.finfo(np.float32).eps  # torch's default

Floats = NDArray[np.float32]


def engine_for(model: Muse, n_rows: int) -> Engine:
    """Returns the fastest engine. Where it is compiled weights are kept in 8 bits, for less than 0.001 nats a token.

    `musegen bench decode` measures both.

    Args:
        model: in eval mode.
        n_rows: sequences side by side.
    """
    if can_compile(model):
        return CompiledEngine(model, n_rows, "int8")
    weight = model.head.weight
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and model.config.sparsity == Dense()
    return (NumpyEngine if is_plain else MuseEngine)(model, n_rows)


class Matrix:
    """The weight (N, C) of a linear layer without bias, as it is."""

    def __init__(self, weight: Tensor):
        self._weight = _array(weight)

    def __call__(self, x: Floats) -> Floats:
        """(B, C) -> (B, N). In this order BLAS reads the weight once, whatever B is."""
        return (self._weight @ x.T).T


class Int8Matrix(Matrix):
    """The weight of a linear layer in 8 bits, each row on a scale of its own; what it multiplies is bfloat16."""

    def __init__(self, weight: Tensor):
        if weight.shape[1] % _INT8_WIDTH:  # torch would read behind the end of a row
            raise InputError(f"8 bits need widths that are multiples of {_INT8_WIDTH}, got {weight.shape[1]}")
        scales = (weight.detach().abs().amax(1) / 127).clamp(min=1e-12).bfloat16()
        self._int8 = (weight.detach() / scales.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
        self._scales = scales

    def __call__(self, x: Floats) -> Floats:
        """(B, C) -> (B, N)."""
        rows = torch.from_numpy(np.ascontiguousarray(x)).bfloat16()
        made = torch._weight_int8pack_mm(rows, self._int8, self._scales)  # type: ignore[attr-defined]
        return made.float().numpy()


class NumpyEngine(MuseEngine):
    """Steps in NumPy, on the weights of the model and the caches that torch fills from prompts.

    Args:
        model: dense, in float32, on the CPU, in eval mode.
        n_rows: sequences side by side.
        int8: read the matrices in 8 bits, a quarter of the bytes; see `Int8Matrix`.
    """

    def __init__(self, model: Muse, n_rows: int, int8: bool = False):
        super().__init__(model, n_rows)
        self._embed, self._factors = _array(model.inputs.embed.weight), _array(model.inputs.factors)
        matrix = Int8Matrix if int8 else Matrix
        self._firsts, self._head = _array(model.inputs.firsts), matrix(model.head.weight)
        self._norm = _Norm(model.norm)
        self._blas = _blas()
        self._layers = [
            _Layer(block, _array(cache.keys[0])[:, 0], _array(cache.values[0])[:, 0], matrix)
            for block, cache in zip(self.blocks, self.caches, strict=True)
        ]

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        """Appends one input (B, 1 + K) to rows that are `active` (B,); returns the logits (B, V) of what follows.

        Raises:
            InputError: an active row is full.
        """
        check_room(self.positions.numpy(), active.numpy(), self.max_positions)
        with self._blas.limit(limits=1):
            return self._step(inputs.numpy(), active)

    def _step(self, tokens: NDArray[np.int64], active: Tensor) -> Tensor:
        parts = np.concatenate([self._factors[tokens[:, 0]], tokens[:, 1:] + self._firsts], axis=1)
        x = self._embed[parts].sum(1)
        positions = np.minimum(self.positions.numpy(), self.max_positions - 1)
        for layer in self._layers:
            x = layer.step(x, positions)
        self.positions += active
        return torch.from_numpy(self._head(self._norm(x)))


@cache
def _blas() -> ThreadpoolController:
    """Returns NumPy's BLAS: for one row, a second thread costs it more in waiting than it saves."""
    return ThreadpoolController().select(internal_api="openblas")


class _Norm:
    """Layer normalisation (Ba et al. 2016)."""

    def __init__(self, norm: torch.nn.LayerNorm):
        self._weight, self._bias, self._eps = _array(norm.weight), _array(norm.bias), np.float32(norm.eps)

    def __call__(self, x: Floats) -> Floats:
        """(B, C) -> (B, C)."""
        x = x - x.mean(-1, keepdims=True)
        variance = np.einsum("bc,bc->b", x, x)[:, None] / np.float32(x.shape[-1])
        return x / np.sqrt(variance + self._eps) * self._weight + self._bias


class _Layer:
    """One block of the transformer (`core.transformer.Block.step`).

    Args:
        block: dense, without dropout.
        keys: (B, H, T, D), of the cache; written to.
        values: (B, H, T, D), of the cache; written to.
        matrix: how weights are kept.
    """

    def __init__(self, block: Block, keys: Floats, values: Floats, matrix: type[Matrix]):
        attention, mlp = block.attention, block.mlp
        self._keys, self._values = keys, values
        self._norms = _Norm(block.norm_attention), _Norm(block.norm_mlp)
        self._in, self._out = matrix(attention.project_in.weight), matrix(attention.project_out.weight)
        self._gain = None if attention.qk_gain is None else _array(attention.qk_gain)[:, None]
        self._cos, self._sin = _array(attention.rotary.cos), _array(attention.rotary.sin)
        self._expand = matrix(mlp.expand.weight), _array(mlp.expand.bias)
        self._contract = matrix(mlp.project_out.weight), _array(mlp.project_out.bias)
        self._is_gelu = mlp.activation == "gelu"
        self._rows = np.arange(len(keys))

    def step(self, x: Floats, positions: NDArray[np.int64]) -> Floats:
        """(B, C) at positions (B,) -> (B, C)."""
        x = x + self._out(self._attend(self._norms[0](x), positions))
        expand, bias = self._expand
        hidden = expand(self._norms[1](x)) + bias
        if self._is_gelu:
            hidden = torch.nn.functional.gelu(torch.from_numpy(hidden)).numpy()
        else:
            np.maximum(hidden, 0, out=hidden)
            hidden *= hidden
        contract, bias = self._contract
        return x + contract(hidden) + bias

    def _attend(self, x: Floats, positions: NDArray[np.int64]) -> Floats:
        _, n_heads, _, d_head = self._keys.shape
        qkv = self._in(x).reshape(len(x), 3, n_heads, d_head)
        qk = qkv[:, :2]
        if self._gain is not None:
            length = np.einsum("bkhd,bkhd->bkh", qk, qk)[..., None] / np.float32(d_head)
            qk = qk / np.sqrt(length + _RMS_EPS) * self._gain
        cos, sin = self._cos[positions][:, None, None], self._sin[positions][:, None, None]
        even, odd = qk[..., : d_head // 2], qk[..., d_head // 2 :]
        qk = np.concatenate([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
        self._keys[self._rows, :, positions], self._values[self._rows, :, positions] = qk[:, 1], qkv[:, 2]
        n = int(positions.max()) + 1
        scores = (self._keys[:, :, :n] @ (qk[:, 0] / np.float32(np.sqrt(d_head)))[..., None])[..., 0]
        if (positions != n - 1).any():
            scores[np.broadcast_to(np.arange(n) > positions[:, None, None], scores.shape)] = -np.inf
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        return (scores[:, :, None] @ self._values[:, :, :n]).reshape(len(x), -1)


def _array(tensor: Tensor) -> NDArray[Any]:
    """Returns the memory of a tensor as an array."""
    return tensor.detach().numpy()
