"""Coconet: masked infilling of four-part chorales (Huang et al. 2017, "Counterpoint by Convolution").

Every network here has one interface. In go classes of cells (`chorales`) and which of them are masked; out come logits
over the 47 classes for every cell, of which those at masked cells mean something:

    cells (B, T, V) int64, mask (B, T, V) bool -> logits (B, T, V, 47)

Three of them: the paper's straight stack of convolutions, the separable and dilated one of the Bach Doodle (Huang et
al. 2019), and `Rolls`, which looks at a beat as one column of a piano-roll and mixes convolution with attention over
time.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musegen.core.device import has_fast_bfloat16
from musegen.errors import InputError
from musegen.music.chorales import N_CLASSES, N_PITCHES, N_VOICES, OUTSIDE, STEPS_PER_BEAT
from musegen.train.recipe import Positive, Range

# Time and pitch dilations of a block of the Bach Doodle's network; it has five such blocks.
_DOODLE_BLOCK = ((1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (32, 16))
# Time (in beats) and pitch dilations of the blocks of `Rolls`, in turn. Pitch ones are intervals: thirds, a fourth, an
# octave.
_ROLLS_BLOCKS = ((1, 1), (1, 3), (1, 1), (1, 4), (2, 1), (1, 5), (1, 12))

_NEAR, _FAR, _N_FAR = 16, 160, 12  # beats: distances with a bias each, the last distance told apart, classes in between
# In more beats than a chorale has, attention reaches so many to either side: as many beats at once as in training.
_LONG, _REACH = 160, 32


@dataclass(frozen=True)
class CoconetConfig:
    """The shape of a Coconet.

    Args:
        network: "straight" (the paper's), "doodle" or "rolls".
        n_layers: convolutions of the straight network, blocks of `Rolls`; the Doodle's has 33 layers always.
        n_channels: width.
        n_heads: attention heads of `Rolls`.
        attend_every: blocks of `Rolls` from one that attends to the next.
        dropout: share of a beat's channels that blocks of `Rolls` drop in training, at all pitches alike.
    """

    network: Literal["straight", "doodle", "rolls"] = "rolls"
    n_layers: Annotated[int, Range(3)] = 12
    n_channels: Positive = 64
    n_heads: Positive = 4
    attend_every: Positive = 3
    dropout: Annotated[float, Range(0.0, 1.0, open_high=True)] = 0.0

    def __post_init__(self):
        if self.network == "rolls" and self.n_channels % self.n_heads:
            given = f"{self.n_channels} and {self.n_heads}"
            raise InputError(f"n_channels must be a multiple of n_heads, got {given}")
        if self.network == "straight" and self.n_layers % 2:
            raise InputError(f"n_layers of the straight network must be even, got {self.n_layers}")


PRESETS: dict[str, CoconetConfig] = {
    "coconet-paper": CoconetConfig("straight", n_layers=64, n_channels=128),
    "coconet-doodle": CoconetConfig("doodle", n_layers=33, n_channels=128),
    "coconet-rolls": CoconetConfig(dropout=0.15),
}


# --- Inputs and outputs


def planes(cells: Tensor, mask: Tensor) -> Tensor:
    """Returns the masked piano-rolls and their masks (section 3.1).

    Args:
        cells: (B, T, V) int64; what masked ones hold makes no difference.
        mask: (B, T, V) bool.

    Returns:
        (B, T, P, 2 V) float32: at each pitch, whether each voice is known to sing it, and whether it is masked. Rests
        and what lies outside are zero throughout.
    """
    known = torch.where(mask | (cells == OUTSIDE), 0, cells)
    pitches = torch.arange(1, N_PITCHES + 1, device=cells.device)[:, None]
    sung = known.unsqueeze(2) == pitches  # (B, T, P, V)
    return torch.cat([sung, (mask & (cells != OUTSIDE)).unsqueeze(2).expand_as(sung)], dim=-1).float()


class Head(nn.Module):
    """Channels at each pitch to logits of a rest and of each pitch, for some cells that share the piano-roll.

    Args:
        n_channels: width of the input.
        n_cells: cells at one place in time.
    """

    def __init__(self, n_channels: int, n_cells: int):
        super().__init__()
        self.pitches = nn.Linear(n_channels, n_cells)
        self.rest = nn.Linear(n_channels, n_cells)
        for layer in (self.pitches, self.rest):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, P, C) -> (B, T, n_cells, 1 + P)."""
        return torch.cat([self.rest(x.mean(2, keepdim=True)), self.pitches(x)], dim=2).transpose(2, 3)


# --- The paper's network, and the Bach Doodle's


class ConvNorm(nn.Sequential):
    """A 3 x 3 convolution of the size of its input, and batch normalisation.

    Args:
        n_in: channels of the input.
        n_out: channels of the output.
        dilation: in time and in pitch.
        separable: each channel on its own first, then all channels at each place.
    """

    def __init__(self, n_in: int, n_out: int, dilation: tuple[int, int] = (1, 1), separable: bool = False):
        depth = nn.Conv2d(n_in, n_in if separable else n_out, 3, padding=dilation, dilation=dilation, bias=False)
        layers: list[nn.Module] = [depth]
        if separable:
            layers = [nn.Conv2d(n_in, n_in, 3, padding=dilation, dilation=dilation, groups=n_in, bias=False)]
            layers.append(nn.Conv2d(n_in, n_out, 1, bias=False))
        super().__init__(*layers, nn.BatchNorm2d(n_out))


class Convolutions(nn.Module):
    """A stack of convolutions over (time, pitch) with a residual connection around every two layers (section 3.2).

    Args:
        config: "straight" or "doodle".
    """

    def __init__(self, config: CoconetConfig):
        super().__init__()
        width, separable = config.n_channels, config.network == "doodle"
        dilations = _DOODLE_BLOCK * 5 if separable else ((1, 1),) * (config.n_layers - 2)
        self.first = ConvNorm(2 * N_VOICES, width)
        self.layers = nn.ModuleList(ConvNorm(width, width, dilation, separable) for dilation in dilations)
        self.before_head = ConvNorm(width, width, separable=True) if separable else nn.Identity()
        self.head = Head(width, N_VOICES)

    def forward(self, cells: Tensor, mask: Tensor) -> Tensor:
        """(B, T, V), (B, T, V) -> (B, T, V, 1 + P)."""
        x = F.relu(self.first(planes(cells, mask).permute(0, 3, 1, 2)))  # (B, C, T, P)
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = F.relu(x + second(F.relu(first(x))))
        return self.head(F.relu(self.before_head(x)).permute(0, 2, 3, 1))


# --- Beats as columns of a piano-roll


class BeatConvolution(nn.Module):
    """x + 1 x 1 convolution of gelu(3 x 3 convolution of norm(x)), over beats and pitches.

    The kernel is the matrix of a linear layer, so that the optimizer treats it as one.

    Args:
        n_channels: width.
        dilation: in beats and in semitones.
        dropout: share of a beat's channels that are dropped in training (Tompson et al. 2015, section 3.2).
    """

    def __init__(self, n_channels: int, dilation: tuple[int, int], dropout: float = 0.0):
        super().__init__()
        self.dilation = dilation
        self.dropout = dropout
        self.norm = nn.LayerNorm(n_channels)
        self.kernel = nn.Linear(9 * n_channels, n_channels)
        self.project_out = nn.Linear(n_channels, n_channels)
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, P, C) -> (B, N, P, C)."""
        weight = self.kernel.weight.view(-1, 3, 3, x.shape[-1]).permute(0, 3, 1, 2)
        y = self.norm(x).permute(0, 3, 1, 2)  # (B, C, N, P) as it lies in memory: channels last
        y = F.conv2d(y, weight, self.kernel.bias, padding=self.dilation, dilation=self.dilation)
        y = F.gelu(y.permute(0, 2, 3, 1))
        if self.training and self.dropout:
            B, N, _, C = y.shape
            y = y * F.dropout(y.new_ones(B, N, 1, C), self.dropout)
        return x + self.project_out(y)


class BeatAttention(nn.Module):
    """x + attention over beats, the same at every pitch.

    Queries, keys and values are piano-rolls: a score is the sum over pitches of the products of their channels. Two
    beats with the same notes match, whatever the notes, and what is taken over stays at its pitch. Where to look also
    depends on the distance in beats, through a bias for each head. In very long music only near beats are looked at:
    trained on crops of 64 beats, attention over hundreds of them spreads too thin where most cells are masked.

    Args:
        n_channels: width, a multiple of `n_heads`.
        n_heads: heads.
    """

    def __init__(self, n_channels: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(n_channels)
        self.project_in = nn.Linear(n_channels, 3 * n_channels, bias=False)
        self.project_out = nn.Linear(n_channels, n_channels, bias=False)
        self.embed_distance = nn.Embedding(2 * (_NEAR + _N_FAR), n_heads)
        nn.init.zeros_(self.project_out.weight)
        nn.init.normal_(self.embed_distance.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, P, C) -> (B, N, P, C)."""
        B, N, P, C = x.shape
        qkv = self.project_in(self.norm(x)).view(B, N, P, 3, self.n_heads, -1)
        q, k, v = qkv.permute(3, 0, 4, 1, 2, 5).reshape(3, B, self.n_heads, N, -1).unbind()  # (B, H, N, P D)
        bias = self.embed_distance(_distance_class(N, x.device)).permute(2, 0, 1)
        if N > _LONG:
            beats = torch.arange(N, device=x.device)
            bias = bias.masked_fill((beats - beats[:, None]).abs() > _REACH, -math.inf)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
        y = scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
        y = y.view(B, self.n_heads, N, P, -1).permute(0, 2, 3, 1, 4).reshape(B, N, P, C)
        return x + self.project_out(y)


def _distance_class(n_beats: int, device: torch.device) -> Tensor:
    """Returns the class of the distance from each beat to each other, (N, N): the near ones one by one, on either side.

    Farther ones fall into classes that grow with the distance (Raffel et al. 2020, "T5").
    """
    beats = torch.arange(n_beats, device=device)
    signed = beats - beats[:, None]
    distance = signed.abs()
    far = torch.log(distance.clamp(min=_NEAR) / _NEAR) / math.log(_FAR / _NEAR) * (_N_FAR - 1)
    near_or_far = torch.where(distance < _NEAR, distance, _NEAR + far.long().clamp(max=_N_FAR - 1))
    return near_or_far + (signed > 0) * (_NEAR + _N_FAR)


class Rolls(nn.Module):
    """Beats as columns of a piano-roll: the sixteen cells of a beat are channels, at each of the pitches.

    A quarter of the places that the paper's network computes, each knowing its part of the beat; convolutions relate
    notes near in time at any interval, and attention relates beats at any distance. But for an embedding of the pitch,
    which tells the ranges of the voices, the network commutes with transposition.

    Args:
        config: its shape.
    """

    n_cells = STEPS_PER_BEAT * N_VOICES

    def __init__(self, config: CoconetConfig):
        super().__init__()
        width = config.n_channels
        self.embed_planes = nn.Linear(2 * self.n_cells + 1, width)
        self.embed_pitch = nn.Parameter(torch.randn(N_PITCHES, width) * 0.1)
        self.blocks = nn.ModuleList()
        for layer in range(config.n_layers):
            self.blocks.append(BeatConvolution(width, _ROLLS_BLOCKS[layer % len(_ROLLS_BLOCKS)], config.dropout))
            if layer % config.attend_every == config.attend_every - 1:
                self.blocks.append(BeatAttention(width, config.n_heads))
        self.norm = nn.LayerNorm(width)
        self.head = Head(width, self.n_cells)

    def forward(self, cells: Tensor, mask: Tensor) -> Tensor:
        """(B, T, V), (B, T, V) -> (B, T, V, 1 + P), with T a multiple of 4: whole beats."""
        B, T, V = cells.shape
        rolls = planes(cells, mask).unflatten(1, (-1, STEPS_PER_BEAT))  # (B, N, 4, P, 2 V)
        rolls = rolls.permute(0, 1, 3, 2, 4).flatten(3)  # (B, N, P, 8 V)
        outside = (cells[:, ::STEPS_PER_BEAT, :1, None] == OUTSIDE).expand(-1, -1, N_PITCHES, -1)
        x = self.embed_planes(torch.cat([rolls, outside.float()], dim=-1)) + self.embed_pitch
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).reshape(B, T, V, N_CLASSES)


# --- The model


class Coconet(nn.Module):
    """The model: any of the networks, for pieces of any length.

    Args:
        config: its shape.
    """

    def __init__(self, config: CoconetConfig):
        super().__init__()
        self.config = config
        self.network = Rolls(config) if config.network == "rolls" else Convolutions(config)

    def forward(self, cells: Tensor, mask: Tensor) -> Tensor:
        """Returns the logits of every cell.

        Args:
            cells: (B, T, V) int64: 0 a rest, 1 to 46 the pitches 36 to 81, 47 outside the piece.
            mask: (B, T, V) bool: which cells are unknown.

        Returns:
            (B, T, V, 47) float32.

        Raises:
            InputError: the shapes are wrong.
        """
        if cells.ndim != 3 or cells.shape != mask.shape or cells.shape[2] != N_VOICES:
            given = f"{tuple(cells.shape)} and {tuple(mask.shape)}"
            raise InputError(f"cells and mask must both be (B, T, {N_VOICES}), got {given}")
        T = cells.shape[1]
        missing = (0, 0, 0, -T % STEPS_PER_BEAT)
        cells, mask = F.pad(cells, missing, value=OUTSIDE), F.pad(mask, missing, value=False)
        return self.network(cells, mask)[:, :T].float()

    @torch.no_grad()
    def predict(self, cells: Tensor, mask: Tensor) -> Tensor:
        """Returns the logits without gradients, from products in bfloat16 where the device is fast in it.

        That is faster, and rounds far below the standard errors of `orderings`.

        Args:
            cells: (B, T, V) int64, as in `forward`.
            mask: (B, T, V) bool.

        Returns:
            (B, T, V, 47) float32.

        Raises:
            InputError: the shapes are wrong.
        """
        with torch.autocast(cells.device.type, torch.bfloat16, enabled=has_fast_bfloat16(cells.device)):
            return self(cells, mask)

    def losses(self, cells: Tensor, mask: Tensor) -> Tensor:
        """Returns -log p of what each masked cell holds, in nats: (n,) float32, for the masked cells in order."""
        return F.cross_entropy(self(cells, mask)[mask], cells[mask], reduction="none")
