"""The pre-norm transformer block (Radford et al. 2019; Child et al. 2019, section 5.2)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegen.core.attention import Cache, MultiHeadAttention
from musegen.core.sparsity import Pattern

Activation = Literal["gelu", "relu2"]


class MLP(nn.Module):
    """Two linear layers with a nonlinearity between them.

    Args:
        d_model: width of the input and output.
        d_hidden: width between the layers.
        dropout: share of the outputs that are dropped while training, 0 to 1.
        activation: GELU, or the square of ReLU (So et al. 2021, "Primer").
    """

    def __init__(self, d_model: int, d_hidden: int, dropout: float = 0.0, activation: Activation = "gelu"):
        super().__init__()
        self.expand = nn.Linear(d_model, d_hidden)
        self.project_out = nn.Linear(d_hidden, d_model)
        self.dropout = dropout
        self.activation: Activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = self.expand(x)
        x = self.project_out(F.gelu(x) if self.activation == "gelu" else F.relu(x).square())
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    The output projections start smaller by 1 / sqrt(2 n_layers), so that the sum of all residual branches starts at the
    same size whatever the depth.

    Args:
        d_model: width of the input and output.
        n_heads: number of heads.
        n_layers: number of blocks in the model that this one is part of.
        pattern: which positions each head sees; None is dense and causal.
        max_positions: the longest sequence.
        dropout: share of the attention weights and branch outputs that are dropped while training, 0 to 1.
        mlp_ratio: width of the MLP's hidden layer over `d_model`.
        qk_norm: see `MultiHeadAttention`.
        activation: see `MLP`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_layers: int,
        pattern: Pattern | None = None,
        max_positions: int = 1024,
        dropout: float = 0.0,
        mlp_ratio: int = 4,
        qk_norm: bool = False,
        activation: Activation = "gelu",
    ):
        super().__init__()
        self.norm_attention = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads, pattern, max_positions, dropout, qk_norm)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.mlp = MLP(d_model, mlp_ratio * d_model, dropout, activation)
        self.dropout = dropout
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear):
                scale = 1 / math.sqrt(2 * n_layers) if name.endswith("project_out") else 1.0
                nn.init.normal_(layer.weight, std=0.5 * scale / math.sqrt(layer.in_features))
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequences, (B, T, C) -> (B, T, C)."""
        return self._finish(x, self.attention(self.norm_attention(x)))

    def init_cache(self, n_rows: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Cache:
        """Make an empty cache for `n_rows` sequences."""
        return self.attention.init_cache(n_rows, dtype, device)

    def prefill(self, x: Tensor, cache: Cache, rows: slice = slice(None)) -> Tensor:
        """Whole sequences from position 0, (R, T, C) -> (R, T, C), whose keys and values go to `rows` of the cache."""
        return self._finish(x, self.attention.prefill(self.norm_attention(x), cache, rows))

    def step(self, x: Tensor, cache: Cache, positions: Tensor) -> Tensor:
        """One token a row, (B, 1, C) -> (B, 1, C), at `positions` (B,) int64, which may differ."""
        return self._finish(x, self.attention.step(self.norm_attention(x), cache, positions))

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + F.dropout(attended, self.dropout, self.training)
        return x + self.mlp(self.norm_mlp(x))
