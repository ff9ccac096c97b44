"""Which notes of a four-part grid are held and which begin anew.

A grid of sixteenths cannot tell: a cell with the pitch of the one before it is a held note or a repeated one. This
network says how likely it is that a note begins in each cell. It sees nothing of absolute pitch, only when voices move,
by how much, and the intervals between them, so that it answers the same in every key; and whatever is known already
(the onsets of a given melody, say). Residual dilated convolutions over time (Yu & Koltun 2016).

    cells (B, T, V), known (B, T, V), places (B, T), bars (B, T), all int64 -> logits (B, T, V)
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from musegen.errors import InputError
from musegen.music.chorales import N_VOICES, OUTSIDE, STEPS_PER_BEAT, Grid, Mask
from musegen.train.recipe import Positive, Range

UNKNOWN, HELD, BEGINS = range(3)  # what is known of a cell

_STATES = 6  # of a cell: outside, a rest, a note that must begin, and a repeated pitch: unknown, held, begun
_LEAP = 12  # semitones: larger steps of a voice count as this one
_RUN = 16  # sixteenths: longer runs of one pitch are not told apart
_PRIOR = -3.0  # log-odds, before anything is learned, that a repeated pitch begins a note: one in twenty does
_PAIRS = tuple(combinations(range(N_VOICES), 2))
_DILATIONS = (1, 2, 4, 8, 16)  # of the blocks in turn


@dataclass(frozen=True)
class OnsetsConfig:
    """The shape of the network.

    Args:
        n_layers: blocks.
        n_channels: width.
        dropout: share of the inputs, and of a block's channels, that are dropped in training.
    """

    n_layers: Positive = 5
    n_channels: Positive = 48
    dropout: Annotated[float, Range(0.0, 1.0, open_high=True)] = 0.3


PRESETS: dict[str, OnsetsConfig] = {"coconet-onsets": OnsetsConfig()}


# --- What a cell is, whatever the network says


def repeats(cells: Tensor) -> Tensor:
    """Returns where a cell has the pitch of the one before it in its voice: (B, T, V) bool. Only these are in doubt."""
    before = F.pad(cells, (0, 0, 1, 0), value=OUTSIDE)[:, :-1]
    return (cells == before) & _sounds(cells)


def _sounds(cells: Tensor) -> Tensor:
    return (cells != 0) & (cells != OUTSIDE)


# --- Inputs


def features(cells: Tensor, known: Tensor, places: Tensor, bars: Tensor) -> Tensor:
    """Returns what the network sees, a class each: (B, T, K) int64, with `FEATURE_SIZES` classes.

    Of each voice its state, the step that it takes, how long it has had its pitch and will have it; of each pair of
    voices the interval, without octaves; of the sixteenth its place in the beat, and which beat of the bar that is.
    """
    repeated, sounds = repeats(cells), _sounds(cells)
    state = torch.where(repeated, 3 + known, torch.where(sounds, 2, (cells == 0).long()))
    before = F.pad(cells, (0, 0, 1, 0), value=OUTSIDE)[:, :-1]
    step = torch.where(sounds & _sounds(before), (cells - before).clamp(-_LEAP, _LEAP), 0) + _LEAP
    changes = ~repeated
    since = _since(changes)
    left = _since(F.pad(changes, (0, 0, 0, 1), value=True)[:, 1:].flip(1)).flip(1)
    first, second = (list(voices) for voices in zip(*_PAIRS, strict=True))
    both = sounds[..., first] & sounds[..., second]
    intervals = torch.where(both, (cells[..., first] - cells[..., second]) % 12, 12)
    beat = places // STEPS_PER_BEAT
    meter = [places % STEPS_PER_BEAT, beat % 2, places == 0, places * 2 == bars, bars - places <= STEPS_PER_BEAT]
    return torch.cat([state, step, since, left, intervals, torch.stack([m.long() for m in meter], dim=-1)], dim=-1)


def _since(changes: Tensor) -> Tensor:
    """Returns how long ago, in sixteenths, the last change (B, T, V) was, up to a longest run."""
    times = torch.arange(changes.shape[1], device=changes.device)[:, None]
    return (times - torch.where(changes, times, 0).cummax(1).values).clamp(max=_RUN)


FEATURE_SIZES = (
    *[_STATES] * N_VOICES,
    *[2 * _LEAP + 1] * N_VOICES,
    *[_RUN + 1] * 2 * N_VOICES,
    *[13] * len(_PAIRS),
    *(STEPS_PER_BEAT, 2, 2, 2, 2),
)


# --- The network


class Block(nn.Module):
    """x + projection of gelu(convolution over time of norm(x)).

    Args:
        n_channels: width.
        dilation: in sixteenths.
        dropout: share of channels dropped in training.
    """

    def __init__(self, n_channels: int, dilation: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(n_channels)
        self.convolution = nn.Conv1d(n_channels, n_channels, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(dropout)
        self.project_out = nn.Linear(n_channels, n_channels)
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """(B, T, C), (B, T, 1) -> (B, T, C). The convolution finds zeros outside the piece, however that is padded."""
        y = self.convolution((self.norm(x) * inside).transpose(1, 2)).transpose(1, 2)
        return x + self.project_out(self.dropout(F.gelu(y)))


class Onsets(nn.Module):
    """The model.

    Args:
        config: its shape.
    """

    firsts: Tensor

    def __init__(self, config: OnsetsConfig):
        super().__init__()
        self.config = config
        firsts = np.cumsum([0, *FEATURE_SIZES[:-1]])
        self.register_buffer("firsts", torch.from_numpy(firsts), persistent=False)
        self.embed = nn.EmbeddingBag(sum(FEATURE_SIZES), config.n_channels, mode="sum")
        nn.init.normal_(self.embed.weight, std=len(FEATURE_SIZES) ** -0.5)
        self.blocks = nn.ModuleList(
            Block(config.n_channels, _DILATIONS[layer % len(_DILATIONS)], config.dropout)
            for layer in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.n_channels)
        self.head = nn.Linear(config.n_channels, N_VOICES)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, _PRIOR)

    def forward(self, cells: Tensor, known: Tensor, places: Tensor, bars: Tensor) -> Tensor:
        """Returns the logit that a note begins in each cell; it means something where a pitch is repeated.

        Args:
            cells: (B, T, V) int64: 0 a rest, 1 to 46 the pitches 36 to 81, 47 outside the piece.
            known: (B, T, V) int64: 0 unknown, 1 held, 2 begins.
            places: (B, T) int64: sixteenths since the bar began.
            bars: (B, T) int64: sixteenths in the bar.

        Returns:
            (B, T, V) float32.

        Raises:
            InputError: the shapes are wrong.
        """
        given = [tuple(tensor.shape) for tensor in (cells, known, places, bars)]
        if cells.ndim != 3 or given != [(*given[0][:2], N_VOICES)] * 2 + [given[0][:2]] * 2:
            shapes = " and ".join(map(str, given))
            raise InputError(f"cells and known must be (B, T, {N_VOICES}), places and bars (B, T), got {shapes}")
        inside = (cells != OUTSIDE).any(-1, keepdim=True)
        ids = features(cells, known, places, bars) + self.firsts
        heard = F.dropout(torch.ones_like(ids, dtype=torch.float32), self.config.dropout, self.training)
        x = self.embed(ids.flatten(0, 1), per_sample_weights=heard.flatten(0, 1)).unflatten(0, ids.shape[:2])
        for block in self.blocks:
            x = block(x, inside)
        return self.head(self.norm(x)).float()

    def losses(self, cells: Tensor, known: Tensor, places: Tensor, bars: Tensor, onsets: Tensor) -> Tensor:
        """Returns -log p in nats of whether a note begins, for the cells in doubt, in order: (n,) float32.

        Args:
            cells, known, places, bars: as in `forward`.
            onsets: (B, T, V) bool: where notes begin.
        """
        doubt = repeats(cells) & (known == UNKNOWN)
        logits = self(cells, known, places, bars)[doubt]
        return F.binary_cross_entropy_with_logits(logits, onsets[doubt].to(logits.dtype), reduction="none")


# --- What users of the model ask


@torch.no_grad()
def begins(model: Onsets, cells: Grid, known: Grid, places: NDArray[np.int64], bars: NDArray[np.int64]) -> Mask:
    """Returns where the notes of a piece begin.

    A cell that sounds begins a note at the start, after a rest and after another pitch. One with the pitch before it
    does if `known` says so, or if that says nothing and the model finds it likelier than not. A rest never does, nor
    what is OUTSIDE.

    Args:
        model: in eval mode.
        cells: (T, 4) classes.
        known: (T, 4): 0 unknown, 1 held, 2 begins; where no pitch is repeated it makes no difference.
        places: (T,) sixteenths since the bar began.
        bars: (T,) sixteenths in the bar.

    Raises:
        InputError: the shapes are wrong.
    """
    device = model.firsts.device
    inputs = [torch.from_numpy(np.ascontiguousarray(array)).to(device)[None] for array in (cells, known, places, bars)]
    likely = model(*inputs) > 0
    row, given = inputs[0], inputs[1]
    decided = torch.where(given == UNKNOWN, likely, given == BEGINS)
    return torch.where(repeats(row), decided, _sounds(row))[0].cpu().numpy()
