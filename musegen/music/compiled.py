"""Muse's steps in C (`step.c`), where the package was built with a compiler: one call a step, fewer bytes a weight."""

import ctypes
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musegen.core.decode import check_room
from musegen.core.sparsity import Dense
from musegen.core.transformer import Block
from musegen.errors import InputError
from musegen.music.muse import Muse

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
"""How the matrices are kept, in the order of `step.c`. The cache is float32 beside float32, bfloat16 beside less."""

_SOURCE = Path(__file__).with_name("step.c")
_LANES, _BLOCK = 16, 64  # as in `step.c`
_SHARE = 4  # rows: with fewer, a thread costs more than it does
_BUILDS = {"AVX512": "avx512", "AVX2": "avx2"}  # by what torch calls the processor


def library_file(capability: str | None = None) -> Path:
    """Returns the file that `step.c` is compiled to, which need not be there.

    Args:
        capability: for which processor, in torch's words; None for this one.
    """
    build = _BUILDS.get(capability or torch.backends.cpu.get_cpu_capability(), "plain")
    return _SOURCE.with_name(f"step-{build}.so")


@cache
def library(capability: str | None = None) -> ctypes.CDLL | None:
    """Returns what `step.c` was compiled to; None where it was not, or was another file then.

    Args:
        capability: as in `library_file`.
    """
    try:
        loaded = ctypes.CDLL(str(library_file(capability)))
        fingerprint = hashlib.sha256(_SOURCE.read_bytes()).hexdigest().encode()
        compiled_from = (ctypes.c_char * (len(fingerprint) + 1)).in_dll(loaded, "muse_source").value
    except (OSError, ValueError):  # what was compiled before there were fingerprints has none
        return None
    if compiled_from != fingerprint:
        return None
    pointer = ctypes.c_void_p
    loaded.muse_step.argtypes = [pointer, ctypes.c_int64, pointer, pointer, pointer]
    loaded.muse_step.restype = None
    return loaded


def can_compile(model: Muse) -> bool:
    """Returns whether there is a compiled step, and it can do this model."""
    config, weight = model.config, model.head.weight
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and config.sparsity == Dense()
    fits = not (config.d_model // config.n_heads % _LANES or config.context % _LANES)
    return is_plain and fits and library() is not None


class CompiledEngine:
    """Decoding in C: an `Engine` of `core.decode`. Prompts are read by torch, in float32.

    Many rows are shared out among threads, which changes none of them.

    Args:
        model: in eval mode; see `can_compile`.
        n_rows: sequences side by side.
        precision: how the matrices and the cache are kept.

    Attributes:
        positions: (B,) int64, how many inputs each row holds.
    """

    def __init__(self, model: Muse, n_rows: int, precision: Precision = "float32"):
        if not can_compile(model):
            raise InputError("there is no compiled step for this model, or on this machine")
        self.model = model.eval()
        self.positions = np.zeros(n_rows, dtype=np.int64)
        config = model.config
        self._blocks = list(cast(Iterable[Block], model.blocks))
        self._embed = model.inputs.embed.weight.detach().numpy()
        self._factors, self._firsts = model.inputs.factors.numpy(), model.inputs.firsts.numpy()
        dtype = torch.float32 if precision == "float32" else torch.bfloat16
        d_head = config.d_model // config.n_heads
        lanes = (n_rows, config.n_heads)
        self._keys = [torch.zeros(*lanes, config.context // _LANES, d_head, _LANES, dtype=dtype) for _ in self._blocks]
        self._values = [torch.zeros(*lanes, config.context, d_head, dtype=dtype) for _ in self._blocks]
        self._logits = torch.empty(n_rows, len(model.head.weight))
        self._memory = _Memory(PRECISIONS.index(precision))
        n_shares = max(1, min(torch.get_num_threads(), n_rows // _SHARE))
        self._shares = self._describe(n_rows, n_shares, dtype)
        self._threads = ThreadPoolExecutor(n_shares - 1) if n_shares > 1 else None
        loaded = library()
        assert loaded is not None
        self._step = loaded.muse_step

    @property
    def max_positions(self) -> int:
        """The number of inputs that a row can hold."""
        return self.model.config.context

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        """Starts `rows` anew with inputs (R, T, 1 + K); returns the logits (R, V) of what follows."""
        x = self.model.inputs(inputs)
        n_blocks = -(-inputs.shape[1] // _LANES)
        for block, keys, values in zip(self._blocks, self._keys, self._values, strict=True):
            filled = block.init_cache(len(inputs))
            x = block.prefill(x, filled)
            [made_keys], [made_values] = filled.keys, filled.values  # (R, 1, H, T, D)
            blocked = made_keys[:, 0].unflatten(2, (-1, _LANES)).transpose(3, 4)
            keys[rows, :, :n_blocks] = blocked[:, :, :n_blocks].to(keys.dtype)
            values[rows] = made_values[:, 0].to(values.dtype)
        self.positions[rows] = inputs.shape[1]
        return self.model.head(self.model.norm(x[:, -1]))

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        """Appends one input (B, 1 + K) to rows that are `active` (B,); returns the logits (B, V) of what follows.

        Raises:
            InputError: an active row is full.
        """
        check_room(self.positions, active.numpy(), self.max_positions)
        [rows] = np.nonzero(active.numpy())
        tokens = inputs.numpy()[rows]
        parts = np.concatenate([self._factors[tokens[:, 0]], tokens[:, 1:] + self._firsts], axis=1)
        x = self._embed[parts].sum(1)
        n_shares = max(1, min(len(self._shares), len(rows) // _SHARE))
        shares = [(share, rows[i::n_shares], x[i::n_shares]) for i, share in enumerate(self._shares[:n_shares])]
        beside = [self._threads.submit(self._step_share, *share) for share in shares[1:]] if self._threads else []
        self._step_share(*shares[0])
        for share in beside:
            share.result()
        self.positions += active.numpy()
        return self._logits

    def _step_share(self, share: "_Model", rows: NDArray[np.int64], x: NDArray[np.float32]) -> None:
        """Steps some rows: C lets go of Python meanwhile."""
        self._memory.kept[share.x].numpy()[: len(rows)] = x
        rows = np.ascontiguousarray(rows)
        made = np.empty((len(rows), self._logits.shape[1]), dtype=np.float32)
        where = (rows.ctypes.data, self.positions.ctypes.data, made.ctypes.data)
        self._step(ctypes.addressof(share), len(rows), *where)
        self._logits.numpy()[rows] = made

    def _describe(self, n_rows: int, n_shares: int, dtype: torch.dtype) -> "list[_Model]":
        """Returns the model as C sees it, with buffers of its own for each share of the rows."""
        model, config, memory = self.model, self.model.config, self._memory
        n_hidden = self._blocks[0].mlp.expand.out_features
        layers = [memory.layer(*parts) for parts in zip(self._blocks, self._keys, self._values, strict=True)]
        rotary = self._blocks[0].attention.rotary
        width = config.d_model
        memory.layers = (_Layer * len(layers))(*layers)
        fixed = (
            width, n_hidden, config.n_heads, config.context, config.n_layers,
            memory.kind, 0 if dtype == torch.float32 else 1, self._blocks[0].mlp.activation == "gelu",
            ctypes.addressof(memory.layers), memory.norm(model.norm), memory.matrix(model.head),
            memory.of(rotary.cos), memory.of(rotary.sin),
        )  # fmt: skip
        sizes = [(n_rows, size) for size in (width, width, 3 * width, width, n_hidden)] + [(1, config.context)]
        return [_Model(*fixed, *(memory.of(torch.empty(size)) for size in sizes)) for _ in range(n_shares)]


class _Memory:
    """What C points at: it must stay as long as the engine does."""

    def __init__(self, kind: int):
        self.kind, self.kept = kind, {}
        self.layers: Any = None

    def of(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        tensor = tensor.detach().contiguous()
        self.kept[tensor.data_ptr()] = tensor
        return tensor.data_ptr()

    def norm(self, norm: torch.nn.LayerNorm) -> "_Norm":
        return _Norm(self.of(norm.weight), self.of(norm.bias))

    def matrix(self, linear: torch.nn.Linear) -> "_Matrix":
        weight, scale = linear.weight.detach(), None
        if PRECISIONS[self.kind] == "bfloat16":
            weight = weight.bfloat16()
        elif PRECISIONS[self.kind] == "int8":  # each row on a scale of its own
            scale = (weight.abs().amax(1) / 127).clamp(min=1e-12)
            weight = (weight / scale[:, None]).round().to(torch.int8)
        blocks = _filled(weight).unflatten(0, (-1, _BLOCK)).transpose(1, 2)
        beside = (None if vector is None else self.of(_filled(vector)) for vector in (scale, linear.bias))
        return _Matrix(self.of(blocks), *beside, *linear.weight.shape)

    def layer(self, block: Block, keys: Tensor, values: Tensor) -> "_Layer":
        attention, mlp = block.attention, block.mlp
        linears = (attention.project_in, attention.project_out, mlp.expand, mlp.project_out)
        return _Layer(
            self.norm(block.norm_attention), self.norm(block.norm_mlp), *(self.matrix(linear) for linear in linears),
            self.of(attention.qk_gain), self.of(keys), self.of(values),
        )  # fmt: skip


def _filled(outputs: Tensor) -> Tensor:
    """Returns (N, ...) with zeros behind up to a multiple of the block."""
    return torch.cat([outputs, outputs.new_zeros(-len(outputs) % _BLOCK, *outputs.shape[1:])])


class _Norm(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("weight", "bias")]


class _Matrix(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "bias")),
        *((name, ctypes.c_int64) for name in ("n", "c")),
    ]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, _Norm) for name in ("before_attention", "before_mlp")),
        *((name, _Matrix) for name in ("in_", "out", "expand", "contract")),
        *((name, ctypes.c_void_p) for name in ("gain", "keys", "values")),
    ]


_COUNTS = ("width", "n_hidden", "n_heads", "context", "n_layers")
_KINDS = ("kind", "cache_kind", "is_gelu")
_BUFFERS = ("cos", "sin", "x", "normed", "qkv", "attended", "hidden", "scores")


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (*_COUNTS, *_KINDS)),
        ("layers", ctypes.c_void_p),
        ("last", _Norm),
        ("head", _Matrix),
        *((name, ctypes.c_void_p) for name in _BUFFERS),
    ]
