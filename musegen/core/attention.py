"""Multi-head self-attention with a sparsity pattern, rotary positions and a key-value cache."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegen.core.position import Rotary
from musegen.core.sparsity import Dense, Pattern, scaled_dot_product
from musegen.errors import InputError

_QK_GAIN = 1.6  # to begin with: a head of 64 can look at one key alone


@dataclass(frozen=True)
class Cache:
    """Keys and values of the positions that a layer may still look at, one pair of tensors for each kind of heads.

    Their shape is fixed when the cache is made: (n_rows, n_lanes, H, n_slots, D), with H the heads of that kind.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def n_rows(self) -> int:
        """Number of sequences that the cache holds."""
        return self.keys[0].shape[0]


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention.

    Args:
        d_model: width of the input and output, a multiple of `n_heads`.
        n_heads: number of heads, even for the fixed and strided patterns.
        pattern: which positions each head sees.
        max_positions: the longest sequence.
        dropout: share of the attention weights that are dropped while training, 0 to 1.
        qk_norm: give queries and keys one length, learned for each head (Henry et al. 2020).

    Raises:
        InputError: if the numbers do not fit together.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        pattern: Pattern | None = None,
        max_positions: int = 1024,
        dropout: float = 0.0,
        qk_norm: bool = False,
    ):
        super().__init__()
        self.pattern = pattern or Dense()
        if d_model % n_heads:
            raise InputError(f"d_model must be a multiple of n_heads, got {d_model} and {n_heads}")
        if n_heads % len(self.pattern.kinds):
            raise InputError(f"n_heads must be even for the {self.pattern.name} pattern, got {n_heads}")
        self.n_heads = n_heads
        self.d_head = d_model // n_heads
        self.max_positions = max_positions
        self.dropout = dropout
        self.qk_gain = nn.Parameter(torch.full((n_heads,), _QK_GAIN)) if qk_norm else None
        self.rotary = Rotary(self.d_head, max_positions)
        self.project_in = nn.Linear(d_model, 3 * d_model, bias=False)
        self.project_out = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over whole sequences: (B, T, C) -> (B, T, C), with T at most `max_positions`."""
        return self._attend(*self._project(x))

    def init_cache(self, n_rows: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Cache:
        """Make an empty cache for `n_rows` sequences.

        Raises:
            InputError: if the pattern is not causal.
        """
        if self.pattern == Dense(causal=False):
            raise InputError("a cache needs a causal pattern, got Dense(causal=False)")
        kinds = self.pattern.kinds
        n_heads = self.n_heads // len(kinds)
        shapes = [(n_rows, kind.n_lanes, n_heads, kind.n_slots(self.max_positions), self.d_head) for kind in kinds]
        keys, values = ([torch.zeros(shape, dtype=dtype, device=device) for shape in shapes] for _ in range(2))
        return Cache(tuple(keys), tuple(values))

    def prefill(self, x: Tensor, cache: Cache, rows: slice = slice(None)) -> Tensor:
        """Attend over whole sequences from position 0 and leave their keys and values in the cache.

        Args:
            x: (R, T, C).
            cache: changed in place; what the rows held before is forgotten.
            rows: the R rows of the cache that are filled.

        Returns:
            (R, T, C), the same as `forward`.
        """
        q, k, v = self._project(x)
        n_kinds = len(self.pattern.kinds)
        for kind, keys, values, k_kind, v_kind in zip(
            self.pattern.kinds, cache.keys, cache.values, k.chunk(n_kinds, 2), v.chunk(n_kinds, 2), strict=True
        ):
            kept = kind.kept(x.shape[1]).to(x.device)
            lane, slot = kind.lane(kept), kind.slot(kept, keys.shape[3])
            # Indexing by two tensors around a slice puts the indexed dimension first: (n, R, H, D).
            keys[rows][:, lane, :, slot] = k_kind[:, kept].transpose(0, 1).to(keys.dtype)
            values[rows][:, lane, :, slot] = v_kind[:, kept].transpose(0, 1).to(values.dtype)
        return self._attend(q, k, v)

    def step(self, x: Tensor, cache: Cache, positions: Tensor) -> Tensor:
        """Attend one token further in every row of the cache.

        A step at the same position again replaces what the step before stored.

        Args:
            x: (B, 1, C), one token a row.
            cache: changed in place.
            positions: (B,) int64, the position of each row's token, 0 to max_positions - 1; they may differ.

        Returns:
            (B, 1, C).
        """
        q, k, v = self._project(x, positions)
        n_kinds = len(self.pattern.kinds)
        row = torch.arange(x.shape[0], device=x.device)
        outputs = []
        for i, (kind, keys, values) in enumerate(zip(self.pattern.kinds, cache.keys, cache.values, strict=True)):
            q_kind, k_kind, v_kind = (y.chunk(n_kinds, 2)[i] for y in (q, k, v))
            lane, slot = kind.lane(positions), kind.slot(positions, keys.shape[3])
            keys[row, lane, :, slot] = k_kind[:, 0].to(keys.dtype)
            values[row, lane, :, slot] = v_kind[:, 0].to(values.dtype)
            many = kind.n_lanes > 1
            seen_k, seen_v = (keys[row, lane], values[row, lane]) if many else (keys[:, 0], values[:, 0])
            mask = kind.visible(positions, keys.shape[3])[:, None, None]
            out = scaled_dot_product(q_kind.transpose(1, 2), seen_k.to(q.dtype), seen_v.to(q.dtype), mask=mask)
            outputs.append(out.transpose(1, 2))
        return self.project_out(torch.cat(outputs, dim=2).flatten(2))

    def _project(self, x: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> queries, keys and values (B, T, H, D), queries and keys rotated."""
        if x.shape[1] > self.max_positions:
            raise InputError(f"a sequence may have {self.max_positions} positions, got {x.shape[1]}")
        qkv = self.project_in(x).unflatten(-1, (3, self.n_heads, self.d_head))
        qk, v = qkv.split([2, 1], dim=2)
        if self.qk_gain is not None:
            qk = F.rms_norm(qk, (self.d_head,)) * self.qk_gain.to(qk.dtype)[:, None]
        q, k = self.rotary(qk, positions).unbind(2)
        return q, k, v.squeeze(2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, T, H, D) each -> (B, T, C)."""
        kinds = self.pattern.kinds
        dropout = self.dropout if self.training else 0.0
        heads = zip(kinds, *(x.chunk(len(kinds), dim=2) for x in (q, k, v)), strict=True)
        outputs = [kind.attend(q_kind, k_kind, v_kind, dropout) for kind, q_kind, k_kind, v_kind in heads]
        return self.project_out(torch.cat(outputs, dim=2).flatten(2))
