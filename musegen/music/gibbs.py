"""Sampling from Coconet: fill in a part of the cells, and rewrite them again and again.

Blocked Gibbs sampling (Huang et al. 2017, section 4): every pass masks some of the free cells, fewer and fewer of them,
and draws all of these anew at once from what is left (Yao et al. 2014). Which ones is either chance, as in the paper,
or what the model was least sure of when it was drawn, and noise that fades (Chang et al. 2022, "MaskGIT", section 3.2):
that needs a quarter of the passes or less. Then the few places are mended where voices run in parallel fifths or
octaves: they are drawn anew, and kept if that left fewer. The passes are an iterator of grids: look at each of them,
stop when you like. Ancestral sampling draws one cell after another, which is exact and slow.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musegen.core.sampling import masked, sample
from musegen.errors import InputError
from musegen.music.chorales import LOWEST, N_CLASSES, OUTSIDE, RANGES, STEPS_PER_BEAT, Grid, Mask, runs, to_grid
from musegen.music.coconet import Coconet
from musegen.music.counterpoint import parallels_into
from musegen.train.recipe import Positive, Range

_ANNEALED = 0.7  # part of the passes over which fewer and fewer cells are masked by chance
_NOISE = 4.0  # nats of noise, at first, in how sure the model is of a cell
_CONTEXT = 32 * STEPS_PER_BEAT  # sixteenths before and behind the cells to be drawn that the model is shown
_N_MASKS = 16  # that the likelihood is estimated from
_MENDING = (1.0, 0.6, 0.4, 0.2)  # shares of the cells around parallels that are drawn anew, one after the other
PASSES_PER_MENDING = len(_MENDING)
_AROUND = STEPS_PER_BEAT  # sixteenths before and behind parallels, at most, that are drawn anew


@dataclass(frozen=True)
class GibbsConfig:
    """How cells are drawn.

    Args:
        n_passes: how often a part of the free cells is drawn anew.
        temperature: above 0; below 1 favours what is likely.
        rests: whether a voice may be silent in a free cell.
        ranges: the lowest and highest MIDI pitch of each voice.
        n_mendings: how often parallels are looked for and drawn anew.
        again: which cells a pass draws anew: "unsure" or "random".
        first_share: share of the free cells that is drawn anew at random at first, 0 to 1.
        last_share: likewise, over the last three tenths of the passes.
    """

    n_passes: Positive = 16
    temperature: Annotated[float, Range(0.0)] = 0.99
    rests: bool = False
    ranges: tuple[tuple[int, int], ...] = RANGES
    n_mendings: Annotated[int, Range(0)] = 6
    again: Literal["unsure", "random"] = "unsure"
    first_share: Annotated[float, Range(0.0, 1.0)] = 0.9
    last_share: Annotated[float, Range(0.0, 1.0)] = 0.1

    def __post_init__(self):
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}")
        if self.n_passes < 1:
            raise InputError(f"n_passes must be 1 or more, got {self.n_passes}")
        if self.n_mendings < 0:
            raise InputError(f"n_mendings must be 0 or more, got {self.n_mendings}")
        if self.again not in ("unsure", "random"):
            raise InputError(f"again must be unsure or random, got {self.again!r}")
        if not 0 <= self.last_share <= self.first_share <= 1:
            given = f"{self.first_share} and {self.last_share}"
            raise InputError(f"first_share and last_share must fall within 1 to 0, got {given}")


def masked_share(done: int, config: GibbsConfig) -> float:
    """Returns the share of free cells that a pass masks, after `done` of `n_passes`.

    At random it falls in a line (section 4.2), of unsure ones as a cosine (MaskGIT, section 3.2).
    """
    part = done / config.n_passes
    if config.again == "unsure":
        return math.cos(math.pi / 2 * part)
    first, last = config.first_share, config.last_share
    return max(last, first - (first - last) * part / _ANNEALED)


def gibbs(model: Coconet, cells: Grid, free: Mask, config: GibbsConfig, seed: int = 0) -> Iterator[Grid]:
    """Fills in the free cells of pieces, and rewrites them pass after pass.

    Args:
        model: in eval mode.
        cells: (B, T, V) classes, with OUTSIDE at the ends of a piece; what free ones hold makes no difference.
        free: (B, T, V) bool: what may be written. All else stays as it is, in every pass.
        config: how cells are drawn.
        seed: of everything drawn.

    Yields:
        Cells (B, T, V) after each of `n_passes` passes, and each of at most `n_mendings` mendings, until there is
        nothing to mend: whole pieces, every free cell in the range of its voice.

    Raises:
        InputError: a free cell is OUTSIDE, or the shapes differ.
    """
    chain = _Chain(model, cells, free, config, seed)
    for done in range(config.n_passes):
        chain.draw(chain.free if done == 0 else chain.choose(done))  # at first nothing is known of what is free
        yield chain.cells.cpu().numpy()
    for _ in range(config.n_mendings):
        if not chain.mend():
            break
        yield chain.cells.cpu().numpy()


def ancestral(model: Coconet, cells: Grid, free: Mask, config: GibbsConfig, seed: int = 0) -> Iterator[Grid]:
    """Fills in the free cells of pieces one by one, in a random order of each piece (section 4, "ancestral sampling").

    Args:
        model: in eval mode.
        cells: (B, T, V), as for `gibbs`.
        free: (B, T, V), as for `gibbs`.
        config: how cells are drawn; of no account is all that tells passes apart.
        seed: of everything drawn.

    Yields:
        Cells (B, T, V) after each cell that a piece was given; the last of them is whole, and only that one. There are
        as many as the piece with most of them has free cells.

    Raises:
        InputError: a free cell is OUTSIDE, or the shapes differ.
    """
    chain = _Chain(model, cells, free, config, seed)
    orders = torch.where(chain.free, chain.uniform(), math.inf).flatten(1).argsort(1)  # (B, T V): free ones first
    left = chain.free.clone()
    n_free = left.flatten(1).sum(1)
    for done in range(int(n_free.max()) if n_free.numel() else 0):
        rows = (done < n_free).nonzero()[:, 0]
        now = torch.zeros_like(left)
        now.view(len(left), -1)[rows, orders[rows, done]] = True
        chain.draw(now, unknown=left)
        left &= ~now
        yield chain.cells.cpu().numpy()


class _Chain:
    """Pieces that are being rewritten, and how sure the model was of each cell.

    Args: as of `gibbs`.
    """

    def __init__(self, model: Coconet, cells: Grid, free: Mask, config: GibbsConfig, seed: int):
        _check(cells, free)
        device = next(model.parameters()).device
        seed = int(np.random.default_rng(seed).integers(2**63))
        self.generator = torch.Generator(device).manual_seed(seed)
        self.model, self.config = model, config
        self.allowed = _allowed(config).to(device)
        self.cells, self.free = torch.from_numpy(cells).to(device), torch.from_numpy(free).to(device)
        self.sure = torch.zeros(free.shape, device=device)  # log p of what each free cell holds, when it was drawn

    def uniform(self) -> Tensor:
        """Returns a number in [0, 1) for each cell."""
        return torch.rand(self.free.shape, generator=self.generator, device=self.free.device)

    def choose(self, done: int) -> Tensor:
        """Returns which cells are drawn anew after so many passes: (B, T, V) bool."""
        share = masked_share(done, self.config)
        if self.config.again == "random":
            return self.free & (self.uniform() < share)
        noise = _NOISE * (1 - done / self.config.n_passes)
        gumbel = -torch.log(-torch.log(self.uniform().clamp(1e-6, 1 - 1e-6)))
        sure = torch.where(self.free, self.sure + noise * gumbel, math.inf).flatten(1)
        rank = sure.argsort(1).argsort(1).view(self.free.shape)
        n_again = (share * self.free.flatten(1).sum(1)).ceil()
        return self.free & (rank < n_again[:, None, None])

    def draw(self, now: Tensor, unknown: Tensor | None = None) -> None:
        """Draws some cells, given all others but those that are unknown (None: but those that are drawn)."""
        if not now.any():
            return
        logits = masked(_logits(self.model, self.cells, now if unknown is None else unknown), self.allowed)[now]
        logits = logits - logits.amax(-1, keepdim=True)  # so that no temperature overflows
        drawn = sample(logits / self.config.temperature, self.generator)
        self.cells = self.cells.clone()
        self.cells[now] = drawn
        self.sure[now] = logits.log_softmax(-1).gather(-1, drawn[:, None])[:, 0]

    def mend(self) -> bool:
        """Draws chords anew between which voices run in parallel, and keeps what has fewer parallels than before.

        Returns:
            Whether there was anything to mend.
        """
        before = self.cells
        near = torch.from_numpy(np.stack([_around_parallels(row) for row in before.cpu().numpy()])).to(before.device)
        now = near[..., None] & self.free
        if not now.any():
            return False
        for share in _MENDING:
            self.draw(now & (self.uniform() < share))
        rows = zip(before.cpu().numpy(), self.cells.cpu().numpy(), near.cpu().numpy(), strict=True)
        kept = np.stack([_with_fewer(old, new, around) for old, new, around in rows])
        self.cells = torch.from_numpy(kept).to(before.device)
        return True


def _around_parallels(cells: Grid) -> Mask:
    """Returns the sixteenths (T,) of chords that parallels lead from or into, a beat of each at most."""
    count, starts = parallels_into(_as_grid(cells))
    around = np.zeros(len(cells), dtype=bool)
    ends = np.append(starts[1:], len(cells))
    for step in np.flatnonzero(count):
        chord = int(np.searchsorted(starts, step))
        around[max(starts[chord - 1], step - _AROUND) : min(ends[chord], step + _AROUND)] = True
    return around


def _with_fewer(old: Grid, new: Grid, around: Mask) -> Grid:
    """Returns cells (T, V) that are new in each run of sixteenths in which they have fewer parallels, and else old."""
    counts = [parallels_into(_as_grid(cells))[0] for cells in (old, new)]
    kept = new.copy()
    for first, last in runs(around):
        before, after = (count[first : last + _AROUND].sum() for count in counts)  # also into what follows
        if after >= before:
            kept[first:last] = old[first:last]
    return kept


def _as_grid(cells: Grid) -> Grid:
    return to_grid(np.where(cells == OUTSIDE, 0, cells))


def log_likelihoods(model: Coconet, cells: Grid, free: Mask, seed: int = 0) -> NDArray[np.float64]:
    """Estimates how likely the model finds what free cells hold, given the others: to rank candidates by.

    That is the mean over orders of the log-probability (Uria et al. 2014, section 3), from some masks whose shares of
    the free cells are spread evenly. Pieces in which the same cells are free share them, so that their differences are
    better known than the figures.

    Args:
        model: in eval mode.
        cells: (B, T, V) classes, with OUTSIDE at the ends of a piece.
        free: (B, T, V) bool: which cells count.
        seed: of the masks.

    Returns:
        (B,) mean of log p of a free cell in nats, at most 0; 0 for a piece without any.

    Raises:
        InputError: a free cell is OUTSIDE, or the shapes differ.
    """
    _check(cells, free)
    device = next(model.parameters()).device
    held, is_free = torch.from_numpy(cells).to(device), torch.from_numpy(free).to(device)
    n_free = is_free.flatten(1).sum(1)
    rng, total = np.random.default_rng(seed), np.zeros(len(cells))
    for share in (np.arange(_N_MASKS) + rng.random(_N_MASKS)) / _N_MASKS:
        order = torch.from_numpy(rng.random(cells.shape[1:])).to(device)
        rank = torch.where(is_free, order, math.inf).flatten(1).argsort(1).argsort(1).view(cells.shape)
        mask = is_free & (rank < ((share * n_free).long() + 1)[:, None, None])
        log_p = _logits(model, held, mask).log_softmax(-1)
        found = torch.where(mask, log_p.gather(-1, torch.where(mask, held, 0)[..., None])[..., 0], 0)
        total += (found.double().flatten(1).sum(1) / mask.flatten(1).sum(1).clamp(min=1)).cpu().numpy()
    return total / _N_MASKS


def _check(cells: Grid, free: Mask) -> None:
    if cells.shape != free.shape:
        raise InputError(f"cells and free must have one shape, got {cells.shape} and {free.shape}")
    if (free & (cells == OUTSIDE)).any():
        raise InputError("a cell outside the piece cannot be free")


def _logits(model: Coconet, cells: Tensor, mask: Tensor) -> Tensor:
    """Returns logits (B, T, V, 47) that mean something at masked cells: of what lies far from all of them, zeros."""
    places = mask.any(2).any(0).nonzero()[:, 0]
    logits = torch.zeros(*cells.shape, N_CLASSES, device=cells.device)
    if not len(places):
        return logits
    start = max(int(places[0]) - _CONTEXT, 0) // STEPS_PER_BEAT * STEPS_PER_BEAT
    end = int(places[-1]) + 1 + _CONTEXT
    end += -end % STEPS_PER_BEAT
    logits[:, start:end] = model.predict(cells[:, start:end], mask[:, start:end])
    return logits


def _allowed(config: GibbsConfig) -> Tensor:
    """Returns which classes each voice may take: (V, 47) bool."""
    allowed = torch.zeros(len(config.ranges), N_CLASSES, dtype=torch.bool)
    for voice, (low, high) in enumerate(config.ranges):
        classes = torch.arange(low, high + 1) - LOWEST + 1
        allowed[voice, classes[(classes >= 1) & (classes < N_CLASSES)]] = True
        if not allowed[voice].any():
            raise InputError(f"ranges must hold a pitch of 36 to 81 for every voice, got {low} to {high}")
    allowed[:, 0] |= config.rests
    return allowed
