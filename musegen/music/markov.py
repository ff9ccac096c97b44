"""Markov baselines of chorales: what counting reaches, to print beside what a model reaches.

Most cells repeat the sixteenth before, so that a small figure is cheap: the previous pitch of a voice and the place in
the beat come down to 0.71 nats a cell on the JSB chorales.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musegen.music.chorales import N_CLASSES, N_VOICES, STEPS_PER_BEAT, Grid, Mask

BASELINES = ("unigram", "previous_pitch", "previous_pitch_and_place_in_beat")
_ADDED = 0.1  # to every count
_ADDED_DRAWING = 1e-6  # only so that a class that was never left has somewhere to go


def markov_nats(train: Sequence[Grid], pieces: Sequence[Grid]) -> dict[str, float]:
    """Returns -log p of a cell in nats, by baseline: each voice by itself, counted on the training pieces.

    These are chronological figures: the product over a piece's cells is its probability.

    Args:
        train: cells (T, V) to count.
        pieces: cells (T, V) to predict.
    """
    return {name: _nats(train, pieces, name) for name in BASELINES}


def markov_draw(train: Sequence[Grid], cells: Grid, free: Mask, rng: np.random.Generator) -> Grid:
    """Fills in free cells from the past of their own voice alone: what writing without harmony sounds like.

    Args:
        train: cells (T, V) to count.
        cells: (T, V).
        free: (T, V) bool: which of them are drawn.
        rng: draws them.

    Returns:
        Cells (T, V); those that are not free as they were.
    """
    p = _table(train, BASELINES[-1], _ADDED_DRAWING)
    drawn, before = cells.copy(), np.full(N_VOICES, N_CLASSES)
    for step in range(len(cells)):
        chances = p[np.arange(N_VOICES), step % STEPS_PER_BEAT, before].cumsum(-1)
        found = (chances < rng.random((N_VOICES, 1)) * chances[:, -1:]).sum(-1)
        drawn[step] = before = np.where(free[step], found, cells[step])
    return drawn


def _nats(train: Sequence[Grid], pieces: Sequence[Grid], baseline: str) -> float:
    p = _table(train, baseline, _ADDED)
    return -float(np.mean(np.concatenate([np.log(p[*_context(c, baseline), c]).ravel() for c in pieces])))


def _table(train: Sequence[Grid], baseline: str, added: float) -> NDArray[np.float64]:
    """Returns the probability of each class by voice, place in the beat and the class before."""
    counts = np.full((N_VOICES, STEPS_PER_BEAT, N_CLASSES + 1, N_CLASSES), added)
    for piece in train:
        np.add.at(counts, (*_context(piece, baseline), piece), 1)
    return counts / counts.sum(-1, keepdims=True)


def _context(piece: Grid, baseline: str) -> tuple[Grid, Grid, Grid]:
    """Returns the voice, the place in the beat and the class before each cell (T, V), 0 where it is not looked at."""
    before = np.vstack([np.full((1, N_VOICES), N_CLASSES), piece[:-1]])
    place = np.broadcast_to(np.arange(len(piece))[:, None] % STEPS_PER_BEAT, piece.shape)
    if baseline == "unigram":
        before = np.zeros_like(before)
    if baseline != "previous_pitch_and_place_in_beat":
        place = np.zeros_like(place)
    return np.broadcast_to(np.arange(N_VOICES), piece.shape), place, before
