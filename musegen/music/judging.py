"""What Muse writes, judged beside real pieces: pieces are written to order, measured, and set beside a `Reference`."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from musegen.core.sampling import Sampling
from musegen.music import vocabulary as v
from musegen.music.composer_classifier import confusion, mean_recall
from musegen.music.copies import Fingerprints
from musegen.music.generate import Generation
from musegen.music.grammar import MuseGuide
from musegen.music.grid import GridScore
from musegen.music.likeness import QUANTITIES, counts, likeness
from musegen.music.muse import Muse
from musegen.music.ngram import NGram
from musegen.music.reference import OnProgress, Reference, Sample
from musegen.music.requests import Request
from musegen.music.sequences import controls_of
from musegen.music.tokenizer import Bar, collect, encode

BATCH_SIZE = 8
"""Pieces side by side. More of them wait for the longest."""

WRITTEN, BASELINE, REAL, TRAINING = "muse", "5-gram", "real", "training"
"""What is set side by side."""


def spread(labels: Sequence[str], n: int) -> list[str]:
    """Returns so many labels, each with its share of those given."""
    ordered = sorted(labels)
    return [ordered[place * len(ordered) // n] for place in range(n)]


def missing(labels: Sequence[str], wanted: Sequence[str], n: int) -> list[str]:
    """Returns which labels to add so that each one wanted is there `n` times at least."""
    there = Counter(labels)
    return [label for label in wanted for _ in range(n - there[label])]


def write(
    model: Muse,
    requests: Sequence[Request],
    sampling: Sampling,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[GridScore]:
    """Writes a piece for each request, in the order of the requests.

    Args:
        model: in eval mode.
        requests: each with a number of bars.
        sampling: how tokens are drawn.
        seed: of everything drawn.
        on_progress: called with how many bars are done, and of how many.
    """
    # Those that are likely to be about as long are written side by side.
    order = sorted(range(len(requests)), key=lambda place: _length(requests[place]))
    grids: dict[int, GridScore] = {}
    n_bars = sum(request.n_bars or 0 for request in requests)
    n_done = 0
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        generation = Generation(model, [requests[row] for row in rows], sampling, seed + start)
        for _, event in generation:
            if isinstance(event, Bar):
                n_done += 1
                if on_progress:
                    on_progress(n_done, n_bars)
        grids |= dict(zip(rows, generation.grids(), strict=True))
    return [grids[place] for place in range(len(requests))]


def _length(request: Request) -> int:
    controls = request.controls
    ticks = v.METER_TICKS[controls.meter] if controls.meter is not None else v.TICKS_PER_WHOLE
    return (request.n_bars or 0) * int(ticks) * max(len(controls.instruments), 1)


def write_ngram(
    ngram: NGram,
    requests: Sequence[Request],
    sampling: Sampling,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[GridScore]:
    """Writes a piece for each request with an n-gram of bodies, under the same guide as Muse."""
    generator = np.random.default_rng(seed)
    grids = []
    for done, request in enumerate(requests, start=1):
        guide, tokens, goes_on = MuseGuide(request, context=1), [0][:0], True
        while goes_on:
            odds = ngram.distribution(np.array(tokens[-ngram.order :], dtype=np.int64)) * guide.allowed()
            with np.errstate(divide="ignore"):  # what cannot be
                tokens.append(sampling.draw(np.log(odds), generator))
            goes_on = guide.push(tokens[-1]) is not None
        grids.append(collect(guide.events))
        if on_progress:
            on_progress(done, len(requests))
    return grids


def wishes_kept(written: Sequence[GridScore], requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Returns how often pieces have the key and the density that they were asked for, which no rule promises.

    Args:
        written: the pieces.
        requests: what was asked of each.

    Returns:
        A row for each of the two: "wish", "n_pieces" of those in which it can be told, the share that "kept" it, and
        the share "by_chance": of all pairs of what one piece was asked for and what one has. None for shares of none.
    """
    found = [controls_of(encode(grid).tokens.astype(np.int64), None) for grid in written]
    rows: list[dict[str, Any]] = []
    for wish in ("key", "density"):
        pairs = [(getattr(r.controls, wish), getattr(has, wish)) for r, has in zip(requests, found, strict=True)]
        told = np.array([pair for pair in pairs if None not in pair], dtype=np.int64).reshape(-1, 2)
        same = told[:, :1] == told[:, 1]
        shares = (float(same.diagonal().mean()), float(same.mean())) if len(told) else (None, None)
        rows.append({"wish": wish, "n_pieces": len(told), "kept": shares[0], "by_chance": shares[1]})
    return rows


def judge(
    written: Sequence[GridScore],
    labels: Sequence[str],
    n_likened: int,
    reference: Reference,
    known: np.ndarray | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Sets pieces beside real ones.

    Args:
        written: the pieces, of `reference.N_BARS` bars each.
        labels: the label that was told of each.
        n_likened: how many of them, from the first on, have labels in the shares of the real pieces: all figures but
            those of the classifier are of these.
        reference: the real pieces.
        known: the moves of the training pieces (`copies.joined`); without them only copies that are longer than usual
            are looked for.
        seed: of how the real pieces are halved.
        on_progress: called as this goes on.

    Returns:
        Rows of figures: "likeness", "lags", "bars", "copying", and, if there is something to tell, "copies" and
        "composers".
    """
    report = on_progress or (lambda what, done, total: None)
    some = Sample.of(
        written[:n_likened],
        labels[:n_likened],
        known,
        lambda done, total: report("copies in what is written", done, total),
    )
    sets = {WRITTEN: some, BASELINE: reference.baseline, REAL: reference.real}
    there = {name: sample for name, sample in sets.items() if sample is not None}
    judged: dict[str, Any] = {
        "n_written": n_likened,
        "n_real": len(reference.real.labels),
        "likeness": _likeness(there, reference.training, seed),
        "lags": _lags(there),
        "bars": _bars(there),
        "copying": _copying(written[:n_likened], reference.fingerprints),
        "copies": _copies(there) if known is not None else None,
    }
    judged["composers"] = _composers(written, labels, reference)
    return judged


def _likeness(sets: dict[str, Sample], training: np.ndarray, seed: int) -> list[dict[str, Any]]:
    real = sets[REAL]
    found = {
        name: likeness(sample.counts, real.counts, real.labels, seed) for name, sample in sets.items() if name != REAL
    }
    return [
        {
            "quantity": name,
            "unit": quantity.unit,
            "halves": _known(np.mean, found[WRITTEN][name].halves),
            "distance": _known(np.mean, found[WRITTEN][name].distance),
            **{f"{who}_ratio": figures[name].ratio for who, figures in found.items()},
            f"{TRAINING}_median": _known(np.median, ratios),
            f"{TRAINING}_worst": _known(np.max, ratios),
        }
        for (name, quantity), ratios in zip(QUANTITIES.items(), training.T, strict=True)
    ]


def _known(figure: Callable[[np.ndarray], Any], numbers: np.ndarray | float) -> float | None:
    """Returns a figure of those numbers that are known, None where none is."""
    known = np.atleast_1d(numbers)[np.isfinite(np.atleast_1d(numbers))]
    return float(figure(known)) if len(known) else None


def _lags(sets: dict[str, Sample]) -> list[dict[str, Any]]:
    rows = []
    for lag in range(len(sets[REAL].returns.pairs)):
        row: dict[str, Any] = {"lag": lag + 1}
        for name, one in sets.items():
            pairs = int(one.returns.pairs[lag])
            for what in ("equal", "nearly"):
                row[f"{name}_{what}"] = int(getattr(one.returns, what)[lag]) / pairs if pairs else None
        rows.append(row)
    return rows


def _bars(sets: dict[str, Sample]) -> list[dict[str, Any]]:
    return [
        {"of": name, "returning": one.returns.returning_share, "empty": one.returns.empty_share}
        for name, one in sets.items()
    ]


def _copies(sets: dict[str, Sample]) -> list[dict[str, Any]]:
    rows = []
    for name, one in sets.items():
        # Real pieces that are training pieces in another edition are no measure of what is usual.
        copies = one.own_copies if name == REAL else one.copies
        if copies is None or not len(copies):
            continue
        rows.append(
            {
                "of": name,
                "n_pieces": len(copies),
                "median": float(np.median(copies)),
                "95_percent": float(np.percentile(copies, 95)),
                "longest": int(copies.max()),
                "n_left_out": len(one.labels) - len(copies),
            }
        )
    return rows


def _copying(written: Sequence[GridScore], fingerprints: Fingerprints) -> dict[str, int]:
    """Returns how many pieces share longer passages with training pieces than real ones do."""
    found = [fingerprints.longest(grid) for grid in written]
    return {
        "usual": fingerprints.n_notes - 1,
        "surely_found": fingerprints.n_surely_found,
        "n_pieces": len(found),
        "n_copying": sum(n > 0 for n in found),
    }


def _composers(written: Sequence[GridScore], labels: Sequence[str], reference: Reference) -> dict[str, Any] | None:
    classifier = reference.classifier
    if classifier is None:
        return None
    named = classifier.name(counts(written)) if written else []
    table = confusion(labels, named, classifier.labels)
    return {
        "labels": classifier.labels,
        "chance": 1 / len(classifier.labels),
        "real": mean_recall(reference.confusion),
        "n_real": int(reference.confusion.sum()),
        "written": mean_recall(table),
        "n_written": int(table.sum()),
        "real_confusion": reference.confusion.tolist(),
        "written_confusion": table.tolist(),
    }
