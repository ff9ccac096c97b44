"""Is the piece that a ranking picks nearer to real music than one picked at random?

For each of many held-out windows Muse writes some candidates under one header, and each way to choose picks one of
them. What it picked, over all windows, is set beside the real pieces of the split (`likeness`, `returns`):

    random       any of them: the mean over all candidates in turn
    critic, likelihood
                 the first in the ranking, see `ranking`
    histograms   the one whose histograms are nearest to those of training pieces of its label: a baseline that knows
                 nothing of order, and looks at just what is measured here
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from musegen.core.checkpoint import fingerprint
from musegen.core.sampling import Sampling
from musegen.errors import DataError
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus
from musegen.music.critic import Critic
from musegen.music.excerpts import load_muse, request_for
from musegen.music.generate import Generation
from musegen.music.likeness import (
    QUANTITIES,
    Counts,
    Likeness,
    Quantity,
    counts,
    distance,
    halves,
    mean_shares,
    shares,
)
from musegen.music.ranking import likelihoods, load_critic, verdicts
from musegen.music.reference import N_BARS, windows
from musegen.music.returns import returns
from musegen.train.shards import Item, Record, Shards, prepare

RANDOM, CRITIC, LIKELIHOOD, HISTOGRAMS = "random", "critic", "likelihood", "histograms"

_N_RESAMPLES = 64
_N_SPLITS = 32
_LEAST = 10  # windows that a label needs for histograms of its own
_MOST = 100  # windows of a label that these are made of

Picks = np.ndarray
"""Which candidate is picked for each window: (n_windows,) int64."""


@dataclass(frozen=True)
class Candidates:
    """What was written.

    Args:
        counts: histograms, for each of QUANTITIES (n_windows, n_candidates, n_bins).
        later: how many bars with notes come after one, (n_windows, n_candidates).
        returning: how many of these nearly equal one before them.
        scores: of each ranking, (n_windows, n_candidates).
    """

    counts: dict[str, np.ndarray]
    later: np.ndarray
    returning: np.ndarray
    scores: dict[str, np.ndarray]


# --- Writing


def write_candidates(
    corpus: Corpus,
    split: str,
    muse: Path,
    critic: Path | None,
    out: Path,
    *,
    sampling: Sampling,
    n_windows: int,
    n_candidates: int,
    seed: int,
    n_workers: int | None = None,
    console: Console | None = None,
) -> tuple[Candidates, list[str]]:
    """Writes candidates in the place of held-out windows, a process a core, and measures them.

    Args:
        corpus: where the windows come from.
        split: of which split; one window each of its pieces, more where these are too few.
        muse: the folder of a trained Muse.
        critic: that of its critic; None for none.
        out: a folder. What is already there is not written again.
        sampling: how tokens are drawn.
        n_windows: how many.
        n_candidates: how many are written for each, side by side.
        seed: of everything drawn.
        n_workers: processes; None for one a core.
        console: where progress goes.

    Returns:
        What was written, and the label of each window.

    Raises:
        DataError: no piece of the split has N_BARS bars and a label that Muse knows.
    """
    model, styles = load_muse(muse)
    judge = None if critic is None else load_critic(critic, model)
    known = [int(i) for i in corpus.select(split) if corpus.labels[i] in styles]
    usable = [index for index, _ in windows(corpus, known, 1, np.random.default_rng(seed))]
    if not usable:
        raise corpus.lacks(f"no piece of {N_BARS} bars with a label that the model knows", split)
    order = np.random.default_rng(seed).permutation(usable)
    # Each item is a window: of piece "17", the "0"th time that this piece comes.
    items = [f"{order[place % len(order)]} {place // len(order)}" for place in range(n_windows)]
    work = partial(
        _candidates_of,
        data=str(corpus.folder),
        muse=str(muse),
        critic=None if critic is None else str(critic),
        sampling=sampling,
        n=n_candidates,
        seed=seed,
    )
    meta = {
        "vocabulary": v.fingerprint(),
        "muse": fingerprint(model.state_dict()),
        "critic": judge and fingerprint(judge.state_dict()),
        "corpus": corpus.fingerprint,
    }
    written = prepare(items, work, out, meta=meta, n_workers=n_workers, chunk=1, console=console)
    if written.failures:
        raise DataError(f"{len(written.failures)} windows failed: {written.failures[0].reason}")
    return _gathered(written, n_candidates), [corpus.labels[int(item.split()[0])] for item in items]


def _candidates_of(
    item: Item, data: str, muse: str, critic: str | None, sampling: Sampling, n: int, seed: int
) -> tuple[Record, dict[str, np.ndarray]]:
    """Writes the candidates of a window and measures them (see `train.shards.Work`)."""
    torch.set_num_threads(1)  # there is a process for each core
    piece, nth = map(int, str(item).split())
    corpus, (model, styles) = Corpus(data), load_muse(Path(muse))
    rng = np.random.default_rng([seed, piece, nth])
    window = next(window for _, window in windows(corpus, [piece], 1, rng))
    request = request_for(window, styles.index(corpus.labels[piece]))
    generation = Generation(model, [request] * n, sampling, int(rng.integers(1 << 31)))
    for _ in generation:
        pass
    grids = generation.grids()
    compared = [returns([grid], 0) for grid in grids]
    arrays = {
        **{_key(name): array.ravel() for name, array in counts(grids).items()},
        "later": np.array([one.later for one in compared]),
        "returning": np.array([one.returning for one in compared]),
        LIKELIHOOD: np.array(likelihoods(generation)),
    }
    if critic is not None:
        arrays[CRITIC] = np.array(verdicts(_critic(Path(critic), Path(muse)), model, grids, request.controls))
    return {"piece": piece}, arrays


@cache
def _critic(folder: Path, muse: Path) -> Critic:
    return load_critic(folder, load_muse(muse)[0])


def _key(name: str) -> str:
    return name.replace(" ", "_")


def _gathered(written: Shards, n: int) -> Candidates:
    def stacked(name: str) -> np.ndarray:
        return np.stack([written.array(row, name) for row in range(len(written))])

    histograms = {name: stacked(_key(name)).reshape(len(written), n, -1) for name in QUANTITIES}
    scores = {name: stacked(name) for name in (CRITIC, LIKELIHOOD) if name in written.spans}
    return Candidates(histograms, stacked("later"), stacked("returning"), scores)


# --- Choosing


def nearness(corpus: Corpus, written: Candidates, labels: Sequence[str], seed: int) -> np.ndarray:
    """Returns how near each candidate is to what is usual in its label: (n_windows, n_candidates), 0 the nearest.

    Distances are taken in units of their mean over all candidates, and added up over QUANTITIES. Where there is nothing
    to compare, such as the melodic intervals of drums, a candidate is as far as the mean.
    """
    means = _usual(corpus, labels, seed)
    scores = np.zeros(written.later.shape)
    for name, quantity in QUANTITIES.items():
        histograms = written.counts[name]
        each = shares(histograms.reshape(-1, histograms.shape[-1])).reshape(histograms.shape)
        apart = np.array(
            [
                [distance(one[None], means[label][name][None], quantity) for one in row]
                for row, label in zip(each, labels, strict=True)
            ]
        )
        known = np.isfinite(apart)
        usual = max(float(apart[known].mean()), 1e-12) if known.any() else 1.0
        scores -= np.where(known, apart, usual) / usual
    return scores


def _usual(corpus: Corpus, labels: Sequence[str], seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Returns for each label the mean histograms (n_bins,) of training windows: its own, or all where it has few."""
    rng, train = np.random.default_rng(seed), corpus.select("train")
    own: dict[str, Counts] = {}
    for label in sorted(set(labels)):
        pieces = rng.permutation([int(i) for i in train if corpus.labels[i] == label])[:_MOST].tolist()
        own[label] = counts([grid for _, grid in windows(corpus, pieces, -(-_LEAST // max(len(pieces), 1)), rng)])
    every = {name: np.concatenate([one[name] for one in own.values()]) for name in QUANTITIES}
    n = {label: len(next(iter(one.values()))) for label, one in own.items()}
    taken = {label: one if n[label] >= _LEAST else every for label, one in own.items()}
    return {label: {name: mean_shares(shares(one[name])) for name in QUANTITIES} for label, one in taken.items()}


# --- Measuring


class Real:
    """Real pieces, halved again and again as in `likeness.likeness`.

    Args:
        counts: their histograms.
        labels: their labels.
        seed: of the halving.
    """

    def __init__(self, counts: Counts, labels: Sequence[str], seed: int):
        rng = np.random.default_rng(seed)
        splits = [halves(labels, len(labels) // 2, rng) for _ in range(_N_SPLITS)]
        self._ones: dict[str, np.ndarray] = {}
        self._apart: dict[str, float] = {}
        for name, quantity in QUANTITIES.items():
            each = shares(counts[name])
            self._ones[name] = np.array([mean_shares(each[one]) for one, _ in splits])
            others = np.array([mean_shares(each[other]) for _, other in splits])
            self._apart[name] = _distance(self._ones[name], others, quantity)

    def ratios(self, written: Counts) -> dict[str, float | None]:
        """Returns how far pieces lie from the halves, as a multiple of how far these lie apart (`Likeness.ratio`)."""
        found = {}
        for name, quantity in QUANTITIES.items():
            apart = _distance(self._ones[name], mean_shares(shares(written[name]))[None], quantity)
            found[name] = Likeness(apart, self._apart[name]).ratio
        return found


def real_pieces(corpus: Corpus, split: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns histograms and labels of the real pieces of a split: those of `reference.build`.

    Raises:
        DataError: there are fewer than two.
    """
    found = list(windows(corpus, corpus.select(split).tolist(), 1, np.random.default_rng(0)))
    if len(found) < 2:
        raise corpus.lacks(f"fewer than 2 pieces of {N_BARS} bars", split)
    return counts([grid for _, grid in found]), [corpus.labels[index] for index, _ in found]


def _distance(ones: np.ndarray, others: np.ndarray, quantity: Quantity) -> float:
    """Returns the mean of the distances of sets, each by its mean shares."""
    pairs = zip(*np.broadcast_arrays(ones, others), strict=True)
    return float(np.mean([distance(one[None], other[None], quantity) for one, other in pairs]))


def evaluate(written: Candidates, choices: dict[str, np.ndarray], real: Real, seed: int = 0) -> list[dict[str, Any]]:
    """Sets what each way to choose picks beside real pieces.

    Args:
        written: the candidates.
        choices: the scores (n_windows, n_candidates) by which each way picks the highest.
        real: the real pieces.
        seed: of how windows are drawn again.

    Returns:
        A row for each way, "random" first: its ratios (`Real.ratios`) and their mean, the share of bars that return,
        and beside "random" how much lower the mean is ("gain") with its standard error, over windows drawn again. A
        ratio that there is not is None, and has no part in the mean.
    """
    n_windows, n_candidates = written.later.shape
    rng, everything = np.random.default_rng(seed), np.arange(n_windows)
    ways = {RANDOM: [np.full(n_windows, nth) for nth in range(n_candidates)]}
    ways |= {name: [scores.argmax(1)] for name, scores in choices.items()}
    rows = [_figures(written, picks, real, everything) for picks in ways.values()]
    drawn = [rng.integers(n_windows, size=n_windows) for _ in range(_N_RESAMPLES)]
    means = [[_figures(written, picks, real, each)["mean"] for picks in ways.values()] for each in drawn]
    again = np.array(means, dtype=np.float64)  # NaN for None
    gains = again[:, :1] - again
    for way, row, gain in zip(ways, rows, gains.T, strict=True):
        is_known = way != RANDOM and row["mean"] is not None
        row["gain"] = rows[0]["mean"] - row["mean"] if is_known else None
        row["gain_se"] = float(gain.std(ddof=1)) if is_known else None
    return [{"choice": way, **row} for way, row in zip(ways, rows, strict=True)]


def _figures(written: Candidates, picks: list[Picks], real: Real, rows: np.ndarray) -> dict[str, Any]:
    found = [real.ratios({name: each[rows, one[rows]] for name, each in written.counts.items()}) for one in picks]
    ratios = {name: _mean([each[name] for each in found]) for name in QUANTITIES}
    bars = [sum(int(each[rows, one[rows]].sum()) for one in picks) for each in (written.returning, written.later)]
    return {**ratios, "mean": _mean(list(ratios.values())), "returning": bars[0] / max(bars[1], 1)}


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of those that there are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
