"""What Coconet is trained on: crops of chorales with some of their cells masked."""

import dataclasses
import hashlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musegen.errors import DataError
from musegen.midi.formats import MIDI_SUFFIXES, NOTATION_SUFFIXES
from musegen.midi.score import Score
from musegen.music.chorales import (
    N_VOICES,
    OUTSIDE,
    RANGES,
    STEPS_PER_BEAT,
    VOICES,
    Grid,
    Mask,
    read_chorales,
    to_cells,
    transpose,
    transpositions,
    with_ends,
)
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.voices import grid_of
from musegen.train.recipe import Positive, Range
from musegen.train.shards import Item, prepare
from musegen.train.task import OptimizerConfig, Phase, Task

Share = Annotated[float, Range(0.0, 1.0)]

_SUFFIXES = (*MIDI_SUFFIXES, *NOTATION_SUFFIXES, ".abc", ".krn")
_FEW = 64  # files that are read before other processes would have started
_N_NAMED = 5  # scores left out that are named
_HORIZON = 8.0  # cells over which the weight of what follows falls by e, when what follows is masked


@dataclass(frozen=True)
class CoconetTaskConfig:
    """What Coconet is trained on, and how.

    Args:
        data: chorales in the format of Coconet's JSON, with a train and a valid split; or a folder of scores in four
            parts, for which see `read_folder`.
        batch_size: crops a batch.
        n_beats: length of a crop.
        chronological: share of crops in which all that follows some cell is masked.
        requests: share of crops that ask for what users ask for: whole voices, or a span of time.
        n_valid: masks of each piece that validation looks at.
        optimizer: the optimizer.
    """

    data: Path
    batch_size: Positive = 16
    n_beats: Positive = 32
    chronological: Share = 0.0
    requests: Share = 0.0
    n_valid: Positive = 6
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


class CoconetTask(Task):
    """Orderless NADE (Uria et al. 2014; Coconet, section 3.3): any masked cell from any others.

    Args:
        model_config: the model's shape.
        config: data and how it is drawn.

    Raises:
        DataError: the data is missing, wrong, or has nothing to train or to validate on.
    """

    score = "valid_notewise_random"
    prefetch = True

    def __init__(self, model_config: CoconetConfig, config: CoconetTaskConfig):
        self.config = config
        self.model_config = model_config
        splits = read_folder(config.data) if config.data.is_dir() else read_chorales(config.data)
        for name in ("train", "valid"):
            if name not in splits:
                raise DataError(f"{config.data} has no {name} split")
        self.train, self.valid = splits["train"], splits["valid"]
        self.transpositions = [transpositions(grid, RANGES) for grid in self.train]
        n_steps = np.array([len(grid) for grid in self.train], dtype=np.float64)
        self.weights = n_steps / n_steps.sum()
        self.model = Coconet(model_config)
        self.modules: dict[str, nn.Module] = {"coconet": self.model}
        self.phases = (Phase("infilling", ("coconet",), config.optimizer),)

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> tuple[Grid, Mask, NDArray[np.float32]]:
        """Returns cells (B, T, V), which are masked, and the weight of each in the loss; weights sum to 1."""
        n_crops = self.config.batch_size
        cells = np.stack([self._crop(rng) for _ in range(n_crops)])
        mask, weights = np.zeros(cells.shape, dtype=bool), np.zeros(cells.shape)
        # One share in each nth of the range: batches differ less than by n independent draws.
        shares = (rng.permutation(n_crops) + rng.random(n_crops)) / n_crops
        for row in range(n_crops):
            mask[row], weights[row] = self._mask(cells[row], float(shares[row]), rng)
        return cells, mask, (weights / n_crops).astype(np.float32)

    def _crop(self, rng: np.random.Generator) -> Grid:
        """Returns some beats of a piece, transposed: (T, V) cells, with one beat or more of OUTSIDE at its ends."""
        index = int(rng.choice(len(self.train), p=self.weights))
        grid = transpose(self.train[index], int(rng.choice(self.transpositions[index])))
        return crop(to_cells(grid), self.config.n_beats, rng)

    def _mask(self, cells: Grid, share: float, rng: np.random.Generator) -> tuple[Mask, NDArray[np.float64]]:
        kind = rng.random()
        if kind < self.config.chronological:
            return chronological_mask(cells, share)
        requested = kind < self.config.chronological + self.config.requests
        mask = request_mask(cells, rng) if requested else random_mask(cells, share, rng)
        return mask, mask / max(mask.sum(), 1)

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the mean over crops of the mean -log p of a masked cell, in nats."""
        cells, mask, weights = batch
        return (self.model.losses(cells, mask) * weights[mask]).sum(), {"items": float(len(cells))}

    def validate(self) -> dict[str, float]:
        """Returns nats a cell of the whole held-out pieces, for fixed masks.

        Random order is estimated as in `orderings`; chronological order from as many cells as there are masks.
        """
        rng = np.random.default_rng(0)
        totals, n_cells = np.zeros(2), 0
        for grid, shares in zip(self.valid, spread_shares(len(self.valid), self.config.n_valid, rng), strict=True):
            cells = with_ends(to_cells(grid))
            random = np.stack([random_mask(cells, float(share), rng) for share in shares])
            found = self._nats(cells, random, random / random.sum((1, 2), keepdims=True))
            later = [chronological_mask(cells, float(share)) for share in shares]
            first = np.stack([weights == weights.max() for _, weights in later])
            totals += grid.size * np.array([found, self._nats(cells, np.stack([mask for mask, _ in later]), first)])
            n_cells += grid.size
        return {self.score: totals[0] / n_cells, "valid_notewise_chronological": totals[1] / n_cells}

    def _nats(self, cells: Grid, masks: Mask, weights: NDArray[Any]) -> float:
        """Returns the mean over masks (M, T, V) of the weighted sum of -log p."""
        rows = torch.from_numpy(cells).expand(len(masks), -1, -1).to(self.device)
        mask = torch.from_numpy(masks).to(self.device)
        losses = self.model.losses(rows, mask).double()
        return float((losses * torch.from_numpy(weights).to(self.device)[mask]).sum()) / len(masks)

    def checkpoint_config(self) -> dict[str, Any]:
        """Returns what a checkpoint says of itself: its shape, the voices and their ranges."""
        voices = {voice: list(limits) for voice, limits in zip(VOICES, RANGES, strict=True)}
        return {"family": "coconet", "model": dataclasses.asdict(self.model_config), "voices": voices}


def read_folder(folder: Path, n_workers: int | None = None) -> dict[str, list[Grid]]:
    """Reads the scores of a folder and of those inside it; what is no four-part music is named in a warning.

    A tenth of them, one at least, is held out. Which ones depends on what is in them alone, so that copies of one score
    are never on both sides.

    Args:
        folder: score files of any format that `Score.read` knows.
        n_workers: processes; None for one a core, or for this one alone if there are few files.

    Returns:
        Grids (T, 4) of "train" and "valid".

    Raises:
        DataError: fewer than two different scores can be used.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no score files; their names end in one of {', '.join(_SUFFIXES)}")
    one = 1 if len(files) < _FEW else None
    with TemporaryDirectory() as made:
        shards = prepare(files, read_grid, made, n_workers=one if n_workers is None else n_workers)
        grids = [np.array(shards.array(index, "grid")).reshape(-1, N_VOICES) for index in range(len(shards))]
    reasons = [f"{Path(failure.item).name}: {failure.reason}" for failure in shards.failures]
    different = {hashlib.sha256(grid.tobytes()).hexdigest(): grid for grid in grids}
    if len(different) < 2:
        why = f"; {reasons[0]}" if reasons else ""
        raise DataError(f"{folder} must hold two different scores in four parts or more, got {len(different)}{why}")
    if reasons:
        named = "; ".join(reasons[:_N_NAMED]) + ("; ..." if len(reasons) > _N_NAMED else "")
        warnings.warn(f"{len(reasons)} of {len(files)} scores are left out: {named}", stacklevel=2)
    ordered = [different[key] for key in sorted(different)]
    n_valid = max(1, len(ordered) // 10)
    return {"train": ordered[n_valid:], "valid": ordered[:n_valid]}


def read_grid(item: Item) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads the grid of one score: the work of `prepare`."""
    return {}, {"grid": grid_of(Score.read(item)).astype(np.int64).ravel()}


def crop(cells: Grid, n_beats: int, rng: np.random.Generator) -> Grid:
    """Returns `n_beats` beats of a piece with its ends; of a shorter one all, at a random place among OUTSIDE."""
    cells = with_ends(cells)
    n_missing = n_beats - len(cells) // STEPS_PER_BEAT
    start = int(rng.integers(abs(n_missing) + 1)) * STEPS_PER_BEAT
    if n_missing <= 0:
        return cells[start : start + n_beats * STEPS_PER_BEAT]
    behind = n_missing * STEPS_PER_BEAT - start
    return np.pad(cells, ((start, behind), (0, 0)), constant_values=OUTSIDE)


def random_mask(cells: Grid, share: float, rng: np.random.Generator) -> Mask:
    """Masks a uniformly random subset of a piece's n cells.

    Args:
        cells: (T, V); those OUTSIDE are never masked.
        share: in [0, 1); uniform, it makes the number of masked cells uniform in 1 to n.
        rng: draws the subset.

    Returns:
        (T, V) bool.
    """
    inside = np.flatnonzero(cells != OUTSIDE)
    mask = np.zeros(cells.size, dtype=bool)
    mask[rng.choice(inside, int(share * len(inside)) + 1, replace=False)] = True
    return mask.reshape(cells.shape)


def spread_shares(n_pieces: int, n_masks: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws the shares of cells to mask: (n_pieces, n_masks), each piece one in each nth of the range.

    In each of these the pieces spread evenly: nearly all is masked in a few of them, where a cell costs three times the
    mean, and independent draws would say more of how many these are than of the model.
    """
    places = rng.permuted(np.tile(np.arange(n_pieces), (n_masks, 1)), axis=1).T
    within = (places + rng.random(places.shape)) / n_pieces
    return (np.arange(n_masks) + within) / n_masks


def chronological_mask(cells: Grid, share: float) -> tuple[Mask, NDArray[np.float64]]:
    """Masks a cell and all that follow in time, voices of one time in their order.

    Returns:
        The mask (T, V), and weights (T, V) that sum to 1 and fall over the cells that follow.
    """
    inside = np.flatnonzero(cells != OUTSIDE)  # in order: time, then voice
    later = inside[int(share * len(inside)) :]
    mask, weights = np.zeros(cells.size, dtype=bool), np.zeros(cells.size)
    mask[later] = True
    weights[later] = np.exp(-np.arange(len(later)) / _HORIZON)
    return mask.reshape(cells.shape), (weights / weights.sum()).reshape(cells.shape)


def request_mask(cells: Grid, rng: np.random.Generator) -> Mask:
    """Masks what users ask for: one to three whole voices, or a span of time in one to four voices."""
    mask = np.zeros(cells.shape, dtype=bool)
    inside = (cells != OUTSIDE).any(axis=1)
    steps = np.flatnonzero(inside)
    is_span = rng.random() < 0.5
    voices = rng.choice(N_VOICES, int(rng.integers(1, N_VOICES + is_span)), replace=False)
    if is_span:
        ends = np.sort(rng.integers(0, len(steps) + 1, 2))
        steps = steps[ends[0] : max(ends[1], ends[0] + 1)] if ends[0] < len(steps) else steps[-1:]
    mask[np.ix_(steps, voices)] = True
    return mask & (cells != OUTSIDE)
