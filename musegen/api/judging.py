"""Muse measured: in nats on held-out pieces, by what it writes beside real pieces, and by what rankings pick of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musegen import registry
from musegen.api.arguments import MAX_CANDIDATES, MAX_SEED, whole
from musegen.api.models import DEFAULT_MODEL, critic_folder, muse, styles_of
from musegen.api.ordering import (
    DEFAULT_GUIDANCE,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_P,
    Order,
    new_piece,
    sampling_of,
    sampling_of_wishes,
)
from musegen.errors import DataError, InputError, UnknownNameError
from musegen.music import vocabulary as v

if TYPE_CHECKING:
    import numpy as np

    from musegen.music.corpus import Corpus
    from musegen.music.grid import GridScore
    from musegen.music.ngram import NGram
    from musegen.music.reference import Reference
    from musegen.music.requests import Request

PathLike = str | os.PathLike[str]
OnProgress = Callable[[str, int, int], None]

_MAX_PIECES = 1_000_000
_N_NAMED = 8  # pieces at least of each composer that is to be named
_N_GAPS = 64  # of each kind
_N_WISHES = 48  # pieces that are asked for a key and a density: each of 24 keys twice


def evaluate_muse(
    data: PathLike | None = None,
    *,
    model: str = DEFAULT_MODEL,
    split: str = "valid",
    max_pieces: int | None = None,
    written: int | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    top_p: float = DEFAULT_TOP_P,
    guidance: float = DEFAULT_GUIDANCE,
    seed: int = 1,
    write_reference: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures a Muse in nats on held-out pieces, and what it writes beside real pieces.

    Args:
        data: shards that `prepare_data` made; None for what can be told by the reference in the model's folder: all but
            the nats, and how long the longest copies are.
        model: a trained model.
        split: "train", "valid" or "test".
        max_pieces: how many pieces of it are scored in nats, always the same ones; None for all.
        written: how many pieces of 16 bars are written; None for as many as there are real ones, 0, which needs data,
            for none. They have the labels of the real pieces in their shares; so that there are 8 of each composer
            whom the classifier knows, some more are written, for it alone; and 48 that are asked for a key and a
            density, to see whether they have it.
        temperature, top_p, guidance: how they are drawn, as in `compose`.
        seed: of everything drawn, 0 or more.
        write_reference: keep what the data says of real pieces in the model's folder.
        on_progress: called with what is done, how much of it, and of how much.

    Returns:
        What was measured, and as lists of rows the figures: of models, labels and blocks in nats (see `music.metrics`),
        what `music.judging.judge` gives, as "wishes" what `music.judging.wishes_kept` does, and from data as "gaps"
        what `music.gap_metrics.evaluate` does.

    Raises:
        InputError: there is no such split or model, a number is out of range, or something needs data.
        DataError: the shards or the reference cannot be used.
        CheckpointError: the model is damaged.
    """
    from musegen.music.corpus import SPLITS, Corpus

    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    needy = {"write_reference": write_reference, "max_pieces": max_pieces is not None, "written 0": written == 0}
    if data is None and any(needy.values()):
        raise InputError(f"data is None; {next(name for name in needy if needy[name])} needs shards")
    n_written = None if written is None else whole("written", written, 0, _MAX_PIECES)
    order = Order(temperature=temperature, top_p=top_p, guidance=guidance, model=model)
    seed, styles = whole("seed", seed, 0, MAX_SEED), styles_of(model)
    corpus = None if data is None else Corpus(Path(data))
    from musegen.music import gap_metrics
    from musegen.music.metrics import BASELINES, evaluate, fit_baseline

    report: dict[str, Any] = {"model": model}
    baselines = {name: fit_baseline(corpus, order) for name, order in BASELINES.items()} if corpus else {}
    found = None
    if n_written != 0 or write_reference:
        try:
            found = _reference(corpus, baselines, model, split, seed, on_progress)
        except DataError as error:
            if n_written is not None or write_reference or not corpus:
                raise
            report["not_judged"] = str(error)  # there are still nats to tell
    if found and write_reference:
        found[0].save(registry.checkpoint_folder(model) / registry.REFERENCE)
    if corpus:
        options = {"split": split, "max_pieces": max_pieces, "fitted": baselines, "on_progress": on_progress}
        report |= evaluate(muse(model), styles, corpus, **options)
    if found and n_written != 0:
        drawn = {"temperature": temperature, "top_p": top_p, "guidance": guidance, "seed": seed}
        report |= {**drawn, **_judged(*found, order, n_written, seed, on_progress)}
        if corpus:
            tell = None if on_progress is None else partial(on_progress, "gaps")
            sampling = sampling_of_wishes(order)
            report["gaps"] = gap_metrics.evaluate(muse(model), corpus, split, _N_GAPS, sampling, seed, tell)
    return report


def _reference(
    corpus: "Corpus | None",
    baselines: "Mapping[str, NGram]",
    model: str,
    split: str,
    seed: int,
    on_progress: OnProgress | None,
) -> "tuple[Reference, np.ndarray | None]":
    """Returns what real pieces are like, and the moves of the training pieces, if there is a corpus."""
    from musegen.music.copies import joined
    from musegen.music.judging import BASELINE, write_ngram
    from musegen.music.reference import Reference, build, known_moves

    if corpus is None:
        kept = Reference.load(registry.checkpoint_folder(model) / registry.REFERENCE)
        if kept.split != split:
            raise InputError(f"split is {split}; the reference of {model} has {kept.split}, and others need shards")
        return kept, None

    def baseline(labels: list[str]) -> "list[GridScore]":
        tell = None if on_progress is None else partial(on_progress, f"{BASELINE}'s pieces")
        return write_ngram(baselines[BASELINE], _requests(labels, model, seed), sampling_of(Order()), seed, tell)

    known = known_moves(corpus, on_progress)
    return build(corpus, split, known, baseline, on_progress), joined(known)


def _judged(
    reference: "Reference",
    known: "np.ndarray | None",
    order: Order,
    n_written: int | None,
    seed: int,
    on_progress: OnProgress | None,
) -> dict[str, Any]:
    """Returns what `evaluate_muse` tells of pieces that the model writes."""
    from musegen.music import judging

    real = reference.real.labels
    labels = judging.spread(real, n_written or len(real))
    n_likened, styles = len(labels), styles_of(order.model)
    if reference.classifier:
        labels += judging.missing(labels, [name for name in reference.classifier.labels if name in styles], _N_NAMED)
    tell = None if on_progress is None else partial(on_progress, "bars")
    requests = _requests(labels, order.model, seed)
    wishes = _requests(judging.spread(real, _N_WISHES), order.model, seed, wishful=True)
    grids = judging.write(muse(order.model), requests + wishes, sampling_of(order), seed, tell)
    judged = judging.judge(grids[: len(labels)], labels, n_likened, reference, known, seed, on_progress)
    return {**judged, "wishes": judging.wishes_kept(grids[len(labels) :], wishes)}


def _requests(labels: Sequence[str], model: str, seed: int, wishful: bool = False) -> "list[Request]":
    """Returns an order of 16 bars for each label as `compose` would take it, of instruments and meter of its style.

    If it is wishful, each has a key and a density as well, all of them alike often.
    """
    from musegen.music.reference import N_BARS

    known = styles_of(model)
    orders = (
        Order(
            label if label in known else None,
            bars=N_BARS,
            key=v.KEYS[place % len(v.KEYS)] if wishful else None,
            density=v.DENSITIES[place % len(v.DENSITIES)] if wishful else None,
            seed=seed + place,
            model=model,
        )
        for place, label in enumerate(labels)
    )
    return [new_piece(order, all_play=False) for order in orders]


def evaluate_ranking(
    data: PathLike,
    *,
    model: str = DEFAULT_MODEL,
    split: str = "valid",
    windows: int = 96,
    candidates: int = 8,
    seed: int = 1,
    out: PathLike | None = None,
    n_workers: int | None = None,
) -> dict[str, Any]:
    """Measures whether what a ranking picks among candidates is nearer to real pieces than a random pick.

    Args:
        data: shards that `prepare_data` made.
        model: a trained Muse.
        split: "train", "valid" or "test": whose windows give the headers, and whose pieces are the real ones.
        windows: how many windows, 2 to 1,000,000.
        candidates: how many are written for each, 2 to 64.
        seed: of everything drawn, 0 or more.
        out: a folder that keeps what is written, so that it can be gone on with; None for a temporary one.
        n_workers: processes; None for one a core.

    Returns:
        What was measured, and as "choices" the rows of `music.rank_metrics.evaluate`.

    Raises:
        InputError: there is no such split or model, or a number is out of range.
        DataError: the shards cannot be used.
        CheckpointError: the model is damaged, or its critic is one of other weights.
    """
    import tempfile

    from musegen.music import rank_metrics
    from musegen.music.corpus import SPLITS, Corpus

    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    n_windows, seed = whole("windows", windows, 2, _MAX_PIECES), whole("seed", seed, 0, MAX_SEED)
    candidates = whole("candidates", candidates, 2, MAX_CANDIDATES)
    styles_of(model)
    corpus, sampling = Corpus(Path(data)), sampling_of(Order())
    real, real_labels = rank_metrics.real_pieces(corpus, split)
    with tempfile.TemporaryDirectory() as temporary:
        written, labels = rank_metrics.write_candidates(
            corpus,
            split,
            registry.checkpoint_folder(model),
            critic_folder(model),
            Path(temporary if out is None else out),
            sampling=sampling,
            n_windows=n_windows,
            n_candidates=candidates,
            seed=seed,
            n_workers=n_workers,
        )
    choices = {**written.scores, rank_metrics.HISTOGRAMS: rank_metrics.nearness(corpus, written, labels, seed)}
    return {
        "model": model,
        "split": split,
        "n_windows": n_windows,
        "candidates": candidates,
        "n_real": len(real_labels),
        "seed": seed,
        "choices": rank_metrics.evaluate(written, choices, rank_metrics.Real(real, real_labels, seed), seed),
    }
