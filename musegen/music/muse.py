"""Muse: a sparse transformer that composes, after MuseNet (Payne 2019) and the Sparse Transformer (Child et al. 2019).

One row of inputs a token: its id and the side features of the state that it leads to (`features`). A fused token enters
as the sum of its factors and leaves through a row of its own: at the output instrument and pitch would otherwise be
independent.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegen.core.attention import Cache
from musegen.core.cross_entropy import linear_cross_entropy
from musegen.core.decode import check_room
from musegen.core.sparsity import Pattern, parse
from musegen.core.transformer import Activation, Block


@dataclass(frozen=True)
class MuseConfig:
    """The shape of a Muse.

    Args:
        d_model: width, a multiple of `n_heads`.
        n_heads: attention heads, even for a sparse pattern.
        n_layers: transformer blocks.
        context: the longest sequence, in tokens.
        pattern: which positions a head sees.
        block: length of a block of the fixed pattern, and the stride of the strided one.
        n_summary: positions at a block's end that later blocks see (fixed).
        dropout: share of attention weights and branch outputs dropped in training.
        qk_norm: whether queries and keys have one length, learned for each head.
        activation: the nonlinearity of the MLPs, "gelu" or "relu2".
    """

    d_model: int = 256
    n_heads: int = 4
    n_layers: int = 6
    context: int = 1024
    pattern: Literal["dense", "fixed", "strided"] = "dense"
    block: int = 128
    n_summary: int = 16
    dropout: float = 0.0
    qk_norm: bool = False
    activation: Activation = "gelu"

    @property
    def sparsity(self) -> Pattern:
        """The pattern with its settings."""
        settings = {
            "dense": {},
            "fixed": {"block": self.block, "n_summary": self.n_summary},
            "strided": {"stride": self.block},
        }
        return parse(self.pattern, **settings[self.pattern])


PRESETS: dict[str, MuseConfig] = {
    "muse-small": MuseConfig(qk_norm=True, activation="relu2"),
    "muse-base": MuseConfig(384, 6, 9, context=2048, pattern="fixed", qk_norm=True, activation="relu2"),
    "musenet": MuseConfig(d_model=1536, n_heads=24, n_layers=72, context=4096, pattern="fixed"),
}


class Inputs(nn.Module):
    """Tokens and side features to vectors: the sum of the factors of the token and of the features' embeddings.

    Args:
        factors: (V, F) int64, the factors of each token, 0 for none.
        feature_sizes: how many values each side feature has.
        d_model: width of the vectors.
    """

    factors: Tensor
    firsts: Tensor

    def __init__(self, factors: Tensor, feature_sizes: tuple[int, ...], d_model: int):
        super().__init__()
        *firsts, n_rows = accumulate(feature_sizes, initial=int(factors.max()) + 1)
        self.embed = nn.EmbeddingBag(n_rows, d_model, mode="sum", padding_idx=0)
        self.register_buffer("factors", factors.to(self.embed.weight.device))
        self.register_buffer("firsts", torch.tensor(firsts), persistent=False)
        nn.init.normal_(self.embed.weight, std=0.5 / math.sqrt(factors.shape[1] + len(feature_sizes)))
        with torch.no_grad():
            self.embed.weight[0].zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T, 1 + K) int64 -> (B, T, C)."""
        parts = torch.cat([self.factors[inputs[..., 0]], inputs[..., 1:] + self.firsts], dim=-1)
        return self.embed(parts.flatten(0, 1)).unflatten(0, inputs.shape[:2])


class Muse(nn.Module):
    """The model.

    Args:
        config: its shape.
        factors: (V, F) int64, the factors of each token, 0 for none.
        feature_sizes: how many values each side feature has.
    """

    def __init__(self, config: MuseConfig, factors: Tensor, feature_sizes: tuple[int, ...]):
        super().__init__()
        self.config = config
        self.inputs = Inputs(factors, feature_sizes, config.d_model)
        self.blocks = nn.ModuleList(
            Block(
                config.d_model,
                config.n_heads,
                config.n_layers,
                config.sparsity,
                config.context,
                config.dropout,
                qk_norm=config.qk_norm,
                activation=config.activation,
            )
            for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, len(factors), bias=False)
        nn.init.normal_(self.head.weight, std=0.5 / math.sqrt(config.d_model))

    def hidden(self, inputs: Tensor) -> Tensor:
        """Returns the normalised hidden states (B, T, C) of inputs (B, T, 1 + K)."""
        x = self.inputs(inputs)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the logits (B, T, V) of the token that follows each position of inputs (B, T, 1 + K)."""
        return self.head(self.hidden(inputs))

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean of `losses`, at a fraction of their cost in training."""
        counted = targets >= 0
        return linear_cross_entropy(self.hidden(inputs)[counted], self.head.weight, targets[counted])

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns -log p(target) in nats for each position.

        Args:
            inputs: (B, T, 1 + K) int64.
            targets: (B, T) int64, the tokens that follow; negative ones are not counted and cost nothing.

        Returns:
            (n,) float32, for the counted positions in order.
        """
        counted = targets >= 0
        return F.cross_entropy(self.head(self.hidden(inputs)[counted]).float(), targets[counted], reduction="none")


class MuseEngine:
    """Decoding with a cache of fixed shape, in plain PyTorch: an `Engine` of `core.decode`.

    Args:
        model: in eval mode.
        n_rows: sequences side by side.

    Attributes:
        positions: (B,) int64, how many inputs each row holds; on the CPU, wherever the model is.
    """

    def __init__(self, model: Muse, n_rows: int):
        self.model = model.eval()
        weight = model.head.weight
        self.device = weight.device
        self.blocks = cast(Iterable[Block], model.blocks)
        self.caches: list[Cache] = [block.init_cache(n_rows, weight.dtype, weight.device) for block in self.blocks]
        self.positions: Tensor = torch.zeros(n_rows, dtype=torch.int64)

    @property
    def max_positions(self) -> int:
        """The number of inputs that a row can hold."""
        return self.model.config.context

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        """Starts `rows` anew with inputs (R, T, 1 + K); returns the logits (R, V) of what follows."""
        x = self.model.inputs(inputs.to(self.device))
        for block, cache in zip(self.blocks, self.caches, strict=True):
            x = block.prefill(x, cache, rows)
        self.positions[rows] = inputs.shape[1]
        return self.model.head(self.model.norm(x[:, -1]))

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        """Appends one input (B, 1 + K) to rows that are `active` (B,); returns the logits (B, V) of what follows.

        Raises:
            InputError: an active row is full.
        """
        check_room(self.positions.numpy(), active.numpy(), self.max_positions)
        x = self.model.inputs(inputs[:, None].to(self.device))
        positions = self.positions.clamp(max=self.max_positions - 1).to(self.device)  # of full rows that rest
        for block, cache in zip(self.blocks, self.caches, strict=True):
            x = block.step(x, cache, positions)
        self.positions += active
        return self.model.head(self.model.norm(x[:, 0]))
