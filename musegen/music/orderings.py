"""How well masked cells of chorales are predicted, in nats, over orders in which a piece can be filled in.

A notewise figure is the mean over all cells of whole pieces of -log p of what the cell holds; a framewise one is the
mean over sixteenths of the sum over the four voices. A rest is a class of its own beside the 46 pitches. How long a
piece is, is always known. What else is known differs:

    notewise_random          a uniformly random subset of the cells, of a size uniform in none to all but one
    notewise_chronological   all earlier sixteenths, and in the same one the voices above
    framewise_random         a uniformly random subset of the other sixteenths, of a size uniform in none to all
    framewise_chronological  all earlier sixteenths
    mixture_random           as notewise_random; the probability is a mean over five such subsets

The first two average -log p of the whole piece, over its cells: over all orders, and in the one order. The framewise
ones follow Coconet's published code: the voices of a sixteenth come in random order and see what the model finds
likeliest for the voices before, and not what is true, so that they are no likelihoods. Nor is the mixture, which
follows that code too: averaging a cell's probability before the logarithm flatters. (There rests cost nothing, too.)
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from musegen.music.chorales import N_VOICES, STEPS_PER_BEAT, Grid, Mask, with_ends
from musegen.music.coconet import Coconet

Floats = NDArray[np.float64]
Predict = Callable[[Grid, Mask], Floats]  # cells and masks, (M, T, V) each, to log-probabilities (M, T, V, 47)
OnProgress = Callable[[str, int, int], None]  # of which protocol how much is done, and of how much

PROTOCOLS = ("notewise_random", "notewise_chronological", "framewise_random", "framewise_chronological")
MIXTURE = "mixture_random"
MEANINGS = {
    "notewise_random": "nats a cell, any others known",
    "notewise_chronological": "nats a cell, all earlier ones known",
    "framewise_random": "nats a sixteenth of four voices, any others known",
    "framewise_chronological": "nats a sixteenth of four voices, all earlier ones known",
    MIXTURE: "nats a cell, its probability a mean over five orders",
}
N_CELLS = 6000  # that figures are measured on unless all are asked for

_N_ORDERS = 5  # that the mixture averages over, as in the published code
_N_ROWS = 8  # masks of a piece side by side
_MIN_DIFFERENCES = 64  # between draws of one kind, before a standard error is trusted


@dataclass(frozen=True)
class Figure:
    """A mean in nats.

    Args:
        nats: the mean.
        se: its standard error, from drawing some masks of these pieces and not all; 0 if all were looked at.
        n: predictions that it is the mean of.
    """

    nats: float
    se: float
    n: int


def predictor(model: Coconet) -> Predict:
    """Returns the predictions of a model in eval mode, for whole pieces without their ends."""
    device = next(model.parameters()).device

    def predict(cells: Grid, masks: Mask) -> Floats:
        n_steps = cells.shape[1]
        rows = np.stack([with_ends(row) for row in cells])
        before, behind = STEPS_PER_BEAT, rows.shape[1] - STEPS_PER_BEAT - n_steps
        padded = np.pad(masks, ((0, 0), (before, behind), (0, 0)))
        logits = model.predict(torch.from_numpy(rows).to(device), torch.from_numpy(padded).to(device))
        return logits[:, before : before + n_steps].double().log_softmax(-1).cpu().numpy()

    return predict


def evaluate(
    predict: Predict,
    pieces: Sequence[Grid],
    protocols: Sequence[str] = PROTOCOLS,
    *,
    se: float = 0.003,
    n: int | None = N_CELLS,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, Figure]:
    """Returns the figure of each protocol.

    Args:
        predict: the model.
        pieces: cells (T, V) each.
        protocols: among `PROTOCOLS` and `MIXTURE`.
        se: the standard error that notewise_random is measured to, in nats.
        n: how many cells (a quarter as many frames) the others are measured on, spread evenly over the pieces; None for
            every one: notewise_chronological is then exact.
        seed: of masks and places; the same for every protocol, whichever others are asked for.
        on_progress: called as measuring goes on.
    """
    figures = {}
    for protocol in protocols:
        rng, tell = np.random.default_rng(seed), _teller(protocol, on_progress)
        if protocol == "notewise_random":
            figures[protocol] = notewise_random(predict, pieces, rng, se, tell)
        elif protocol == "notewise_chronological":
            figures[protocol] = notewise_chronological(predict, pieces, rng, n, tell)
        elif protocol == MIXTURE:
            figures[protocol] = mixture_random(predict, pieces, rng, n and n // _N_ORDERS, tell)
        else:
            chronological = protocol == "framewise_chronological"
            figures[protocol] = framewise(predict, pieces, rng, chronological, n and n // N_VOICES, tell)
    return figures


Tell = Callable[[int, int], None]


def _teller(protocol: str, on_progress: OnProgress | None) -> Tell:
    return lambda done, total: on_progress(protocol, done, total) if on_progress else None


# --- Notewise


def notewise_random(
    predict: Predict, pieces: Sequence[Grid], rng: np.random.Generator, se: float, tell: Tell
) -> Figure:
    """Estimates the mean over all orders without bias: k uniform in 1 to n, k random cells masked, mean over these.

    A round draws eight masks of each piece, one with a share of masked cells in each eighth, so that neither pieces nor
    shares add to the error: the standard error is from what differs between rounds within a piece and an eighth. Rounds
    go on until it is `se`.
    """
    sizes = np.array([piece.size for piece in pieces])
    rounds: list[Floats] = []
    n_cells, n_needed = 0, 1 + math.ceil(_MIN_DIFFERENCES / (len(pieces) * _N_ROWS))
    while len(rounds) < n_needed:
        found = np.zeros((len(pieces), _N_ROWS))
        for index, piece in enumerate(pieces):
            shares = (np.arange(_N_ROWS) + rng.random(_N_ROWS)) / _N_ROWS
            masks = np.stack([_random_mask(piece, share, rng) for share in shares])
            nats = _nats(predict(_rows(piece, masks), masks), piece)
            found[index] = (nats * masks).sum((1, 2)) / masks.sum((1, 2))
            n_cells += int(masks.sum())
            tell(len(rounds) * len(pieces) + index + 1, n_needed * len(pieces))
        rounds.append(found)
        if len(rounds) > 1:
            n_needed = max(n_needed, math.ceil(len(rounds) * (_stratified_error(rounds, sizes) / se) ** 2))
    nats = float(np.mean(rounds, axis=(0, 2)) @ sizes / sizes.sum())
    return Figure(nats, _stratified_error(rounds, sizes), n_cells)


def _stratified_error(rounds: Sequence[Floats], sizes: NDArray[np.int64]) -> float:
    """Returns the standard error of the mean of rounds (pieces, shares), in each of which every entry is drawn anew."""
    variances = np.var(rounds, axis=0, ddof=1).sum(1) / (len(rounds) * _N_ROWS**2)
    return float(math.sqrt(variances @ (sizes / sizes.sum()) ** 2))


def random_order(predict: Predict, piece: Grid, rng: np.random.Generator) -> float:
    """Returns the mean -log p of a piece's cells (T, V) along one full random order, one prediction a cell.

    What `notewise_random` estimates is the mean of this over all orders.
    """
    rank = rng.permutation(piece.size).reshape(piece.shape)
    cells = np.argsort(rank, axis=None)
    masks = np.stack([rank >= place for place in range(piece.size)])
    return float(_first_nats(predict, piece, masks, cells).mean())


def notewise_chronological(
    predict: Predict, pieces: Sequence[Grid], rng: np.random.Generator, n: int | None, tell: Tell
) -> Figure:
    """Measures -log p of cells, each after all that are earlier and all above it in the same sixteenth."""
    found: list[float] = []
    total = n or sum(piece.size for piece in pieces)
    for index, cells in _places([piece.size for piece in pieces], n, rng):
        piece = pieces[index]
        place = np.arange(piece.size).reshape(piece.shape)
        found += _first_nats(predict, piece, place >= cells[:, None, None], cells).tolist()
        tell(len(found), total)
    return Figure(float(np.mean(found)), _standard_error(found) if n else 0.0, len(found))


def mixture_random(
    predict: Predict, pieces: Sequence[Grid], rng: np.random.Generator, n: int | None, tell: Tell
) -> Figure:
    """Measures -log of the mean probability of a cell over several random subsets of the others."""
    found: list[float] = []
    total = n or sum(piece.size for piece in pieces)
    for index, cells in _places([piece.size for piece in pieces], n, rng):
        piece = pieces[index]
        for cell in cells:
            masks = np.stack([_random_mask(piece, rng.random(), rng, cell) for _ in range(_N_ORDERS)])
            nats = _first_nats(predict, piece, masks, np.full(_N_ORDERS, cell))
            found.append(-float(np.logaddexp.reduce(-nats) - math.log(_N_ORDERS)))
        tell(len(found), total)
    return Figure(float(np.mean(found)), _standard_error(found), len(found))


# --- Framewise


def framewise(
    predict: Predict,
    pieces: Sequence[Grid],
    rng: np.random.Generator,
    chronological: bool,
    n: int | None,
    tell: Tell,
) -> Figure:
    """Measures the sum over voices of -log p of sixteenths, after all earlier ones or a random subset of the others."""
    found: list[float] = []
    total = n or sum(len(piece) for piece in pieces)
    for index, frames in _places([len(piece) for piece in pieces], n, rng):
        piece = pieces[index]
        for part in _parts(frames):
            if chronological:
                unknown = np.arange(len(piece)) >= part[:, None]
            else:
                column = piece[:, :1]
                unknown = np.stack([_random_mask(column, rng.random(), rng, frame)[:, 0] for frame in part])
            masks = np.repeat(unknown[:, :, None], N_VOICES, axis=2)
            found += _frame_nats(predict, piece, masks, part, rng).tolist()
        tell(len(found), total)
    return Figure(float(np.mean(found)), _standard_error(found), len(found))


def _frame_nats(
    predict: Predict, piece: Grid, masks: Mask, frames: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Returns -log p of one masked frame in each mask (M, T, V): random order, after the likeliest of those before."""
    rows, cells, masks = np.arange(len(frames)), _rows(piece, masks), masks.copy()
    orders = rng.permuted(np.tile(np.arange(N_VOICES), (len(frames), 1)), axis=1)
    nats = np.zeros(len(frames))
    for voices in orders.T:
        log_p = predict(cells, masks)[rows, frames, voices]  # (M, 47)
        nats -= log_p[rows, piece[frames, voices]]
        cells[rows, frames, voices] = log_p.argmax(-1)
        masks[rows, frames, voices] = False
    return nats


# --- Masks and places


def _random_mask(piece: Grid, share: float, rng: np.random.Generator, with_cell: int | None = None) -> Mask:
    """Masks 1 to n of a piece's n cells: a uniformly random subset, or one of those that hold a certain cell."""
    size = int(share * piece.size) + 1
    cells = rng.permutation(piece.size)
    if with_cell is not None:
        cells = np.append(with_cell, cells[cells != with_cell])
    mask = np.zeros(piece.size, dtype=bool)
    mask[cells[:size]] = True
    return mask.reshape(piece.shape)


def _places(sizes: Sequence[int], n: int | None, rng: np.random.Generator) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Gives places spread evenly over pieces of these sizes: an index of a piece, and which of its cells."""
    total = sum(sizes)
    chosen = np.arange(total) if n is None else np.floor((np.arange(n) + rng.random(n)) / n * total).astype(np.int64)
    start = 0
    for index, size in enumerate(sizes):
        inside = chosen[(chosen >= start) & (chosen < start + size)] - start
        if len(inside):
            yield index, inside
        start += size


def _parts(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(places, range(_N_ROWS, len(places), _N_ROWS))


def _rows(piece: Grid, masks: Mask) -> Grid:
    return np.repeat(piece[None], len(masks), axis=0)


def _nats(log_p: Floats, piece: Grid) -> Floats:
    """Returns -log p (M, T, V) of what a piece holds."""
    return -np.take_along_axis(log_p, np.broadcast_to(piece, log_p.shape[:3])[..., None], axis=-1)[..., 0]


def _first_nats(predict: Predict, piece: Grid, masks: Mask, cells: NDArray[np.int64]) -> Floats:
    """Returns -log p of one cell (flat) under each mask (M, T, V)."""
    found = []
    for part in _parts(np.arange(len(masks))):
        nats = _nats(predict(_rows(piece, masks[part]), masks[part]), piece)
        found.append(nats.reshape(len(part), -1)[np.arange(len(part)), cells[part]])
    return np.concatenate(found)


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
