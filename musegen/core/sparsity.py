"""The sparsity patterns of the Sparse Transformer, computing no more than they see (Child et al. 2019, section 4.3).

A pattern names the kinds of heads that share a layer's heads evenly. A kind of heads is defined by its dense `mask`. It
computes the same over a whole sequence without ever forming the T x T scores (`attend`: training and prefill) and one
token at a time through a cache of a fixed number of slots (`slot`, `visible`).

    Dense                 every earlier position
    Fixed    BlockHeads   the own block of `block` positions
             SummaryHeads the last `n_summary` positions of every earlier block, and position 0
    Strided  BandHeads    the last `stride` positions
             StrideHeads  every `stride`-th position back

Shapes: q, k, v and outputs of `attend` are (B, T, H, D).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from musegen.errors import InputError, UnknownNameError

_QUERIES = 256  # of causal attention by products, at a time


def scaled_dot_product(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Softmax attention by the fastest way for the device and dtype.

    Args:
        q: (N, H, Tq, D); k, v: (N, H, Tk, D).
        mask: bool, broadcastable to (N, H, Tq, Tk), True where a query may look; None looks everywhere.
        causal: query i looks at keys 0..i (with Tq equal to Tk and no mask).
        dropout: share of the weights that are dropped, 0 to 1.

    Returns:
        (N, H, Tq, D).
    """
    # On a CPU the fused kernel is slower in bfloat16 than plain products, while the scores are small.
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        if causal and q.shape[-2] <= 32 * _QUERIES:
            return _causal_products(q, k, v, dropout)
        if not causal and k.shape[-2] <= 512:
            return _products(q * (1 / math.sqrt(q.shape[-1])), k, v, mask, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)


def _causal_products(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Causal attention by products that leave out most of what a query may not see."""
    q = q * (1 / math.sqrt(q.shape[-1]))
    mask = _causal(min(_QUERIES, q.shape[-2])).to(q.device)
    outputs = []
    for start in range(0, q.shape[-2], _QUERIES):
        here = q[..., start : start + _QUERIES, :]
        end = start + here.shape[-2]
        own = mask[: here.shape[-2], : here.shape[-2]]
        outputs.append(_products(here, k[..., :end, :], v[..., :end, :], own, dropout))
    return torch.cat(outputs, dim=-2) if len(outputs) > 1 else outputs[0]


def _products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Softmax attention of queries that are scaled already; the mask is that of the last keys."""
    scores = q @ k.transpose(-1, -2)
    if mask is not None:
        last = scores[..., -mask.shape[-1] :]
        last += torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -math.inf)
    weights = scores.softmax(-1)
    return (F.dropout(weights, dropout) if dropout else weights) @ v


def _blocks(x: Tensor, size: int) -> Tensor:
    """(B, T, H, D) -> (B, ceil(T / size), size, H, D), the end padded with zeros."""
    if missing := -x.shape[1] % size:
        x = F.pad(x, (0, 0, 0, 0, 0, missing))
    return x.unflatten(1, (-1, size))


def _causal(n_positions: int) -> Tensor:
    return torch.ones(n_positions, n_positions, dtype=torch.bool).tril()


class Heads(ABC):
    """One kind of heads: what they see, over a whole sequence and through a cache.

    The cache of a row has `n_lanes` lanes of `n_slots` slots, each for a key and its value. A query looks at one lane.
    """

    @property
    def n_lanes(self) -> int:
        """Number of lanes of a row."""
        return 1

    @abstractmethod
    def mask(self, n_positions: int) -> Tensor:
        """(T, T) bool, True where the query of the row may look at the key of the column."""

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        """Attend over whole sequences, (B, T, H, D) each."""

    @abstractmethod
    def n_slots(self, max_positions: int) -> int:
        """Number of slots of a lane."""

    def kept(self, n_positions: int) -> Tensor:
        """(n,) int64, the positions whose keys a cache holds after `n_positions` tokens, no two of them in one slot."""
        return torch.arange(n_positions)

    def lane(self, positions: Tensor) -> Tensor:
        """The lanes that `positions` (n,) write to and look at."""
        return torch.zeros_like(positions)

    @abstractmethod
    def slot(self, positions: Tensor, n_slots: int) -> Tensor:
        """The slots that `positions` (n,) write to."""

    def visible(self, positions: Tensor, n_slots: int) -> Tensor:
        """(B, n_slots) bool, the slots that `positions` (B,) look at, once their own key is stored."""
        return torch.arange(n_slots, device=positions.device) <= positions[:, None]


@dataclass(frozen=True)
class DenseHeads(Heads):
    """Heads that see every position up to their own, or every position if not `causal`."""

    causal: bool = True

    def mask(self, n_positions: int) -> Tensor:
        return _causal(n_positions) if self.causal else torch.ones(n_positions, n_positions, dtype=torch.bool)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        return scaled_dot_product(q, k, v, causal=self.causal, dropout=dropout).transpose(1, 2)

    def n_slots(self, max_positions: int) -> int:
        return max_positions

    def slot(self, positions: Tensor, n_slots: int) -> Tensor:
        return positions


@dataclass(frozen=True)
class BlockHeads(Heads):
    """Heads that see their own block of `block` positions up to themselves."""

    block: int

    def mask(self, n_positions: int) -> Tensor:
        position = torch.arange(n_positions)
        return _causal(n_positions) & (position[:, None] // self.block == position // self.block)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        n_rows, n_positions = q.shape[:2]
        if n_positions <= self.block:
            return DenseHeads().attend(q, k, v, dropout)
        q, k, v = (_blocks(x, self.block).flatten(0, 1) for x in (q, k, v))  # (B n_blocks, block, H, D)
        return DenseHeads().attend(q, k, v, dropout).unflatten(0, (n_rows, -1)).flatten(1, 2)[:, :n_positions]

    def n_slots(self, max_positions: int) -> int:
        return min(self.block, max_positions)

    def kept(self, n_positions: int) -> Tensor:
        return torch.arange((n_positions - 1) // self.block * self.block, n_positions)

    def slot(self, positions: Tensor, n_slots: int) -> Tensor:
        return positions % self.block

    def visible(self, positions: Tensor, n_slots: int) -> Tensor:
        # Slots behind the own one still hold the block before.
        return super().visible(positions % self.block, n_slots)


@dataclass(frozen=True)
class SummaryHeads(Heads):
    """Heads that see the last `n_summary` positions of every earlier block, and position 0.

    Position 0 is seen from everywhere, so that no query is left without a key.
    """

    block: int
    n_summary: int

    def mask(self, n_positions: int) -> Tensor:
        position = torch.arange(n_positions)
        earlier = position[:, None] // self.block > position // self.block
        return (earlier & (position % self.block >= self.block - self.n_summary)) | (position == 0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        n_positions = q.shape[1]
        k, v = self._summaries(k), self._summaries(v)
        block_of_query = torch.arange(n_positions, device=q.device) // self.block
        mask = self.visible(block_of_query * self.block, k.shape[2])
        return scaled_dot_product(q.transpose(1, 2), k, v, mask=mask, dropout=dropout).transpose(1, 2)

    def _summaries(self, x: Tensor) -> Tensor:
        """(B, T, H, D) -> (B, H, 1 + n_summary n_earlier_blocks, D)."""
        n_earlier = (x.shape[1] - 1) // self.block
        ends = x[:, : n_earlier * self.block].unflatten(1, (n_earlier, self.block))[:, :, -self.n_summary :]
        return torch.cat([x[:, :1], ends.flatten(1, 2)], dim=1).transpose(1, 2)

    def n_slots(self, max_positions: int) -> int:
        # Position 0, the summaries of the blocks, and a last slot, never visible, for the keys that nobody looks at.
        return 2 + math.ceil(max_positions / self.block) * self.n_summary

    def kept(self, n_positions: int) -> Tensor:
        positions = torch.arange(n_positions)
        return positions[(positions == 0) | (positions % self.block >= self.block - self.n_summary)]

    def slot(self, positions: Tensor, n_slots: int) -> Tensor:
        place = positions % self.block - (self.block - self.n_summary)
        slots = torch.where(place < 0, n_slots - 1, 1 + positions // self.block * self.n_summary + place)
        return torch.where(positions == 0, 0, slots)

    def visible(self, positions: Tensor, n_slots: int) -> Tensor:
        slots = torch.arange(n_slots, device=positions.device)
        return slots <= (positions // self.block * self.n_summary)[:, None]


@dataclass(frozen=True)
class BandHeads(Heads):
    """Heads that see the last `stride` positions, their own included."""

    stride: int

    def mask(self, n_positions: int) -> Tensor:
        position = torch.arange(n_positions)
        return _causal(n_positions) & (position[:, None] - position < self.stride)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        n_rows, n_positions = q.shape[:2]
        if n_positions <= self.stride:
            return DenseHeads().attend(q, k, v, dropout)
        q, k, v = (_blocks(x, self.stride) for x in (q, k, v))  # (B, n_blocks, stride, H, D)
        # A query of a block looks at most into the block before it.
        k, v = (torch.cat([F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1], x], dim=2) for x in (k, v))
        query = torch.arange(q.shape[1] * self.stride, device=q.device).view(q.shape[1], self.stride, 1)
        key = query[:, :1] + torch.arange(-self.stride, self.stride, device=q.device)
        mask = (key >= 0) & (key <= query) & (query - key < self.stride)  # (n_blocks, stride, 2 stride)
        mask = mask.expand(n_rows, -1, -1, -1).flatten(0, 1)[:, None]
        q, k, v = (x.flatten(0, 1).transpose(1, 2) for x in (q, k, v))
        out = scaled_dot_product(q, k, v, mask=mask, dropout=dropout).transpose(1, 2)
        return out.unflatten(0, (n_rows, -1)).flatten(1, 2)[:, :n_positions]

    def n_slots(self, max_positions: int) -> int:
        return min(self.stride, max_positions)

    def kept(self, n_positions: int) -> Tensor:
        return torch.arange(max(0, n_positions - self.stride), n_positions)

    def slot(self, positions: Tensor, n_slots: int) -> Tensor:
        return positions % n_slots


@dataclass(frozen=True)
class StrideHeads(Heads):
    """Heads that see the positions i, i - stride, i - 2 stride, ..."""

    stride: int

    def mask(self, n_positions: int) -> Tensor:
        position = torch.arange(n_positions)
        return _causal(n_positions) & ((position[:, None] - position) % self.stride == 0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        n_rows, n_positions = q.shape[:2]
        # The positions of one residue class are a short causal sequence of their own.
        q, k, v = (
            _blocks(x, self.stride).transpose(1, 2).flatten(0, 1) for x in (q, k, v)
        )  # (B stride, n_blocks, H, D)
        out = DenseHeads().attend(q, k, v, dropout)
        return out.unflatten(0, (n_rows, -1)).transpose(1, 2).flatten(1, 2)[:, :n_positions]

    @property
    def n_lanes(self) -> int:
        return self.stride

    def n_slots(self, max_positions: int) -> int:
        return math.ceil(max_positions / self.stride)

    def lane(self, positions: Tensor) -> Tensor:
        return positions % self.stride

    def slot(self, positions: Tensor, n_slots: int) -> Tensor:
        return positions // self.stride

    def visible(self, positions: Tensor, n_slots: int) -> Tensor:
        return super().visible(positions // self.stride, n_slots)


@dataclass(frozen=True)
class Dense:
    """Every head sees every earlier position (or every position, if not `causal`)."""

    causal: bool = True
    name: ClassVar[str] = "dense"

    @property
    def kinds(self) -> tuple[Heads, ...]:
        """The kinds of heads, each with an even share of the layer's heads."""
        return (DenseHeads(self.causal),)


@dataclass(frozen=True)
class Fixed:
    """Fixed attention: half the heads see their block, half the summary positions of the blocks before.

    Args:
        block: positions in a block (l in the paper), at least 2.
        n_summary: positions at the end of a block that later blocks see (c in the paper), 1 to block - 1.
    """

    block: int = 128
    n_summary: int = 8
    name: ClassVar[str] = "fixed"

    def __post_init__(self):
        if not 1 <= self.n_summary < self.block:
            raise InputError(f"n_summary must be between 1 and block - 1 = {self.block - 1}, got {self.n_summary}")

    @property
    def kinds(self) -> tuple[Heads, ...]:
        """The kinds of heads, each with an even share of the layer's heads."""
        return (BlockHeads(block=self.block), SummaryHeads(block=self.block, n_summary=self.n_summary))


@dataclass(frozen=True)
class Strided:
    """Strided attention: half the heads see the last `stride` positions, half every `stride`-th position back.

    Args:
        stride: l in the paper, at least 1; near the square root of the sequence length it is cheapest.
    """

    stride: int = 128
    name: ClassVar[str] = "strided"

    def __post_init__(self):
        if self.stride < 1:
            raise InputError(f"stride must be at least 1, got {self.stride}")

    @property
    def kinds(self) -> tuple[Heads, ...]:
        """The kinds of heads, each with an even share of the layer's heads."""
        return (BandHeads(stride=self.stride), StrideHeads(stride=self.stride))


Pattern = Dense | Fixed | Strided


def parse(name: str, **settings: Any) -> Pattern:
    """Make a pattern from its name and settings.

    Args:
        name: "dense", "fixed" or "strided".
        settings: the fields of that pattern (`block` and `n_summary`, or `stride`).

    Raises:
        UnknownNameError: if there is no such pattern.
        InputError: if a setting is not one of the pattern's, or out of range.
    """
    patterns: dict[str, type[Pattern]] = {pattern.name: pattern for pattern in (Dense, Fixed, Strided)}
    if name not in patterns:
        raise UnknownNameError("sparsity pattern", name, patterns)
    known = [field.name for field in fields(patterns[name])]
    if wrong := [setting for setting in settings if setting not in known]:
        raise InputError(f"the {name} pattern has the settings {', '.join(known)}; got {', '.join(wrong)}")
    return patterns[name](**settings)
