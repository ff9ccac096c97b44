"""Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2)."""

import torch
from torch import Tensor, nn

from musegen.errors import InputError


class Rotary(nn.Module):
    """Rotates pairs of query and key channels by an angle that grows with the position.

    The dot product of a rotated query and a rotated key depends on their distance only. The cosines and sines of every
    position are computed once; they are not saved with the weights.

    Args:
        d_head: channels of one head, even.
        max_positions: number of positions in the table, at least 1.
        base: the longest wavelength is 2 pi `base` positions.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, d_head: int, max_positions: int, base: float = 10000.0):
        super().__init__()
        if d_head % 2:
            raise InputError(f"d_head must be even for a rotary embedding, got {d_head}")
        frequency = base ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
        angle = torch.arange(max_positions, dtype=torch.float32)[:, None] * frequency  # (max_positions, d_head / 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Rotate `x`.

        Args:
            x: (B, T, ..., D), queries or keys of any number of heads.
            positions: (B,) int64, one position a row where T is 1; None stands for 0, 1, ..., T-1 in every row.

        Returns:
            A tensor of the shape and dtype of `x`.
        """
        rows = slice(x.shape[1]) if positions is None else positions
        shape = (1, x.shape[1]) if positions is None else (x.shape[0], 1)
        shape += (1,) * (x.dim() - 3) + (x.shape[-1] // 2,)
        cos, sin = self.cos[rows].to(x.dtype).view(shape), self.sin[rows].to(x.dtype).view(shape)
        even, odd = x.chunk(2, dim=-1)
        return torch.cat([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
