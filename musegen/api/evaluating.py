"""The models of chorales measured on held-out ones, beside simple baselines."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musegen.api.arguments import MAX_CANDIDATES, MAX_PASSES, MAX_SEED, whole
from musegen.api.models import DEFAULT_COCONET, DEFAULT_ONSETS, coconet, onsets
from musegen.errors import InputError, UnknownNameError

PathLike = str | os.PathLike[str]
OnProgress = Callable[[str, int, int], None]

_MAX_PIECES = 1_000_000


def evaluate_coconet(
    data: PathLike,
    *,
    model: str = DEFAULT_COCONET,
    split: str = "valid",
    protocols: Sequence[str] | None = None,
    se: float = 0.003,
    exact: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures a Coconet on whole held-out chorales, beside Markov baselines; see `music.orderings` for the protocols.

    Args:
        data: chorales in the format of Coconet's JSON.
        model: a trained model.
        split: "train", "valid" or "test".
        protocols: which to measure; None for those of `music.orderings.PROTOCOLS`.
        se: the standard error in nats that the notewise random figure is measured to, above 0.
        exact: measure the other protocols on every cell or frame and not on some of them.
        on_progress: called with a protocol, how much of it is done, and of how much.

    Returns:
        For each protocol its figure: "nats", the standard error "se" and the number "n" of predictions; the Markov
        baselines, counted on the train split of the same file if it has one; and what was measured.

    Raises:
        InputError: there is no such split, protocol or model.
        DataError: the file cannot be used.
        CheckpointError: the model is damaged.
    """
    from musegen.music import orderings
    from musegen.music.chorales import read_chorales, to_cells
    from musegen.music.markov import markov_nats

    known = (*orderings.PROTOCOLS, orderings.MIXTURE)
    names = list(protocols or orderings.PROTOCOLS)
    for name in names:
        if name not in known:
            raise UnknownNameError("protocol", name, known)
    if not se > 0:
        raise InputError(f"se must be above 0, got {se}")
    network = coconet(model)
    splits = {name: [to_cells(grid) for grid in grids] for name, grids in read_chorales(Path(data)).items()}
    if split not in splits:
        raise UnknownNameError("split", split, splits)
    pieces, n = splits[split], None if exact else orderings.N_CELLS
    predict = orderings.predictor(network)
    figures = orderings.evaluate(predict, pieces, names, se=se, n=n, on_progress=on_progress)
    return {
        "model": model,
        "split": split,
        "n_pieces": len(pieces),
        "n_cells": sum(piece.size for piece in pieces),
        **{name: asdict(figure) for name, figure in figures.items()},
        "baselines": markov_nats(splits["train"], pieces) if "train" in splits else {},
    }


def evaluate_chorales(
    data: PathLike,
    *,
    model: str = DEFAULT_COCONET,
    split: str = "valid",
    max_pieces: int = 40,
    passes: int | None = None,
    candidates: int = 1,
    seed: int = 1,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures what a Coconet writes beside Bach's chorales and Markov voices; see `music.quality` for the figures.

    Args:
        data: chorales in the format of Coconet's JSON; distances and copies are measured to its train split.
        model: a trained model.
        split: "train", "valid" or "test": whose sopranos are harmonised.
        max_pieces: how many of its pieces at most, spread evenly, 1 to 1,000,000; always the same ones.
        passes: how often the voices are rewritten, 1 to 10,000; None for as often as in `harmonize`.
        candidates: how many are written for each piece, of which the likeliest is kept, 1 to 64.
        seed: of everything drawn, 0 or more.
        on_progress: called with what is done, with how much of it, and of how much.

    Returns:
        For Bach, for what was written, and for Markov voices, each figure, None where there is none; and what was
        measured.

    Raises:
        InputError: there is no such split or model, or a number is out of range.
        DataError: the file cannot be used, or has no train split.
        CheckpointError: the model is damaged.
    """
    from musegen.music import quality
    from musegen.music.chorales import STEPS_PER_BEAT, read_chorales
    from musegen.music.gibbs import GibbsConfig

    n_pieces, seed = whole("pieces", max_pieces, 1, _MAX_PIECES), whole("seed", seed, 0, MAX_SEED)
    candidates = whole("candidates", candidates, 1, MAX_CANDIDATES)
    config = GibbsConfig() if passes is None else GibbsConfig(n_passes=whole("passes", passes, 1, MAX_PASSES))
    network, splits = coconet(model), read_chorales(Path(data))
    for name in (split, "train"):
        if name not in splits:
            raise UnknownNameError("split", name, splits)
    pieces = quality.spread(splits[split], n_pieces)
    figures = quality.evaluate(
        network, splits["train"], pieces, config, n_candidates=candidates, seed=seed, on_progress=on_progress
    )
    return {
        "model": model,
        "split": split,
        "n_pieces": len(pieces),
        "n_beats": sum(len(piece) for piece in pieces) // STEPS_PER_BEAT,
        "passes": config.n_passes,
        "candidates": candidates,
        "seed": seed,
        **figures,
    }


def evaluate_onsets(
    data: PathLike,
    *,
    model: str = DEFAULT_ONSETS,
    split: str = "valid",
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures how well held and repeated notes are told apart, beside baselines counted on the train split.

    Args:
        data: a folder that `prepare_chorales` made.
        model: a trained model.
        split: "train" or "valid".
        on_progress: called with what is measured, how much of it is done, and of how much.

    Returns:
        What was measured, and as "figures" the rows of `music.onset_metrics.evaluate`.

    Raises:
        InputError: there is no such split or model.
        DataError: the folder cannot be used.
        CheckpointError: the model is damaged.
    """
    from musegen.music import onset_metrics
    from musegen.music.onset_task import SPLITS, read_examples

    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    predict, examples = onset_metrics.network(onsets(model)), read_examples(Path(data))
    train, measured = examples["train"], examples[split]
    predictors = {model: predict, "table": onset_metrics.table(train), "never": onset_metrics.share(train)}
    return {
        "model": model,
        "split": split,
        "n_pieces": len(measured),
        "figures": onset_metrics.evaluate(predictors, measured, on_progress),
    }
