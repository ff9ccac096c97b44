"""How well Muse predicts held-out pieces, beside baselines on the same tokens.

What is scored: of every piece of a split that has a beat, each token of its body (`tokenizer.encode`, from the first
bar line on) and the `end` behind it, exactly once. Headers are given and never scored. Nats a note are all nats, those
of bars, waits, lengths and `end` too, over the number of note tokens.

Muse sees a piece through windows. A window begins at a bar line, behind a header, and names that bar's meter and tempo,
as training windows do; it is as long as the context allows. Its early bars are only read: scored are the tokens behind
those that the window before it scored, and it begins at the first bar line at most half a context before them. So the
first window of a piece is scored whole, and every later token is predicted from about half a context at least. Of bars
longer than half a context, the last half context before the scored tokens is read, behind the header.

Four conditions differ in what a window tells:

    nothing told    The header is `start` alone; position and countdown are unknown. All that Muse has is the past (the
                    side feature of the bar modulo 16 counts past bar lines), as an n-gram has: the number to compare.
    style told      The label of the piece too, if it is one of the model's styles.
    wrong style told  Another label in its place, always the same one for a label: half-way around the sorted labels of
                    what is scored. If the label matters, this costs more than telling nothing. Left out where the model
                    knows no other label.
    controls told   Style, instruments, key, tempo, meter and density of the window, and its position and countdown, as
                    in training. They are read off the very bars that are predicted: this number says how well Muse
                    predicts what it was asked for, and does not compare with the n-grams.

Where the machine is fast in bfloat16, products are computed in it, as in training; that moves no figure by 0.002.

The baselines (`ngram`) are fitted on the bodies of the train split with their `end`; they see each piece from its start
and nothing else of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from musegen.core.device import has_fast_bfloat16
from musegen.errors import InputError
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus, Piece
from musegen.music.features import FEATURES, Place
from musegen.music.muse import Muse
from musegen.music.ngram import NGram
from musegen.music.sequences import controls_of, sequence, window
from musegen.music.tokenizer import Controls

CONDITIONS = ("nothing told", "style told", "wrong style told", "controls told")
BASELINES = {"5-gram": 5, "unigram": 1}
"""Each baseline's name and order."""

_HEADLINE, _RIGHT, _WRONG, _ = CONDITIONS
_BASELINE = "5-gram"
_BAR_LINE = 3  # tokens that open a window: bar, meter, tempo

OnProgress = Callable[[str, int, int], None]
"""Takes what is being scored, how many tokens are done, and of how many."""


def evaluate(
    model: Muse,
    styles: list[str],
    corpus: Corpus,
    split: str = "valid",
    baselines: bool = True,
    max_pieces: int | None = None,
    on_progress: OnProgress | None = None,
    batch_size: int = 8,
    fitted: Mapping[str, NGram] | None = None,
) -> dict[str, Any]:
    """Scores Muse and the baselines on a split; the protocol stands above.

    Args:
        model: in its own precision, on its own device.
        styles: the label of each of its style slots.
        corpus: where the pieces come from, and what the baselines are fitted on.
        split: "train", "valid" or "test".
        baselines: whether to fit and score them.
        max_pieces: how many pieces to score, drawn the same way each time; None for all.
        on_progress: called as tokens are scored.
        batch_size: windows side by side.
        fitted: those of BASELINES that are fitted already.

    Returns:
        What was scored, and rows of figures: a model and condition, a label, a block of tokens each. The rows of labels
        and blocks give Muse with nothing told and the 5-gram, those of labels also Muse with the right and the wrong
        style.

    Raises:
        DataError: the split has no piece with a beat.
        InputError: `max_pieces` is below 1.
    """
    chosen = _choose(corpus, split, max_pieces)
    pieces = [corpus.piece(index) for index in chosen]
    labels = [corpus.labels[index] for index in chosen]
    slots = {style: slot for slot, style in enumerate(styles)}
    wrong = wrong_labels([label for label in labels if label in slots], styles)
    report = on_progress or (lambda what, done, total: None)
    nats: dict[str, np.ndarray] = {}
    for condition in (name for name in CONDITIONS if wrong or name != _WRONG):
        names = [wrong.get(label, "") for label in labels] if condition == _WRONG else labels
        told = [slots.get(name) for name in names]
        scored = muse_losses(model, pieces, told, condition, batch_size, partial(report, condition))
        nats[condition] = np.concatenate(scored)
    for name, order in BASELINES.items() if baselines else ():
        report(name, 0, len(nats[_HEADLINE]))
        baseline = (fitted or {}).get(name) or fit_baseline(corpus, order)
        nats[name] = np.concatenate([baseline.losses(closed(piece)) for piece in pieces])
        report(name, len(nats[name]), len(nats[name]))
    tokens = np.concatenate([closed(piece) for piece in pieces])
    label_of = np.repeat(labels, [len(piece.tokens) + 1 for piece in pieces])
    return {
        "split": split,
        "n_pieces": len(pieces),
        "n_pieces_in_split": len(corpus.select(split)),
        "n_tokens": len(tokens),
        "n_notes": int(_is_note(tokens).sum()),
        "models": _models(nats, tokens),
        "labels": _labels(nats, tokens, label_of, labels),
        "blocks": _blocks(nats, tokens),
    }


def fit_baseline(corpus: Corpus, order: int) -> NGram:
    """Returns an n-gram of so many tokens, counted on the pieces of the train split."""
    return NGram.fit((closed(corpus.piece(int(index))) for index in corpus.select("train")), order)


def wrong_labels(labels: Sequence[str], styles: Sequence[str]) -> dict[str, str]:
    """Returns for each label another one: half-way around those that are there, or around all styles if it is alone.

    Args:
        labels: of what is scored, those that are styles.
        styles: all that the model knows.

    Returns:
        What is told in place of each label; nothing where there is no other.
    """
    known = sorted(set(labels))
    if len(known) == 1:
        known = sorted(set(styles))
    if len(known) < 2:
        return {}
    return {label: known[(place + len(known) // 2) % len(known)] for place, label in enumerate(known)}


def closed(piece: Piece) -> np.ndarray:
    """Returns the tokens of a piece that are scored: its body and `end`."""
    return np.append(piece.tokens, v.END).astype(np.int64)


def muse_losses(
    model: Muse,
    pieces: list[Piece],
    styles: list[int | None],
    condition: str,
    batch_size: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Returns -log p in nats (n_tokens + 1,) of the tokens of each piece and its `end`.

    Args:
        model: left in the mode (training or not) that it is in.
        pieces: each with at least one bar.
        styles: the style slot of each, None for unknown.
        condition: one of CONDITIONS.
        batch_size: windows side by side.
        on_progress: takes how many tokens are done, and of how many.
    """
    nats = [np.full(len(piece.tokens) + 1, np.nan) for piece in pieces]
    windows = (
        (scored, view)
        for piece, style, scored in zip(pieces, styles, nats, strict=True)
        for view in views(piece, style, condition, model.config.context)
    )
    n_done, n_all = 0, sum(map(len, nats))
    was_training = model.training
    model.eval()
    try:
        while batch := list(islice(windows, batch_size)):
            losses = _forward(model, [view for _, view in batch])
            for (scored, view), values in zip(batch, losses, strict=True):
                scored[view.first : view.last] = values
                n_done += len(values)
            if on_progress:
                on_progress(n_done, n_all)
    finally:
        model.train(was_training)
    return nats


@dataclass(frozen=True)
class View:
    """A window of a piece.

    Args:
        tokens: (n,) the header, the bars that are only read, and the tokens that are scored, at the end.
        features: (n, 5) their side features.
        first: index in the piece of the first token that is scored.
        last: the one after the last.
    """

    tokens: np.ndarray
    features: np.ndarray
    first: int
    last: int


def views(piece: Piece, style: int | None, condition: str, context: int) -> Iterator[View]:
    """Yields the windows of a piece, which score each of its tokens and `end` once, in order.

    Args:
        piece: with at least one bar.
        style: its style slot, None for unknown.
        condition: one of CONDITIONS.
        context: inputs at most; a window has one token more, the last of which is only predicted.
    """
    done = 0
    while done <= len(piece.tokens):
        view = _view(piece, done, style, condition, context)
        yield view
        done = view.last


def _view(piece: Piece, done: int, style: int | None, condition: str, context: int) -> View:
    """Returns the window that scores from token `done` on."""
    half = context // 2
    bar = _first_bar(piece, done, half)
    last_bar = min(int(np.searchsorted(piece.bar_starts, done + context + 1)), piece.n_bars)
    body = window(piece, bar, last_bar)
    # A window names a meter and a tempo at its first bar line; the piece names them only where they change.
    n_added = len(body) - int(piece.bar_starts[last_bar] - piece.bar_starts[bar])
    n_read = done - int(piece.bar_starts[bar]) + n_added
    if last_bar == piece.n_bars:
        body = np.append(body, v.END)
    header = _controls(piece, bar, style, condition, context).tokens()
    whole = sequence(header, [(body, Place(bar, piece.n_bars if condition == "controls told" else None))])
    n_skipped = max(n_read - half, 0)
    kept = np.r_[: len(header), len(header) + n_skipped : len(whole.tokens)][: context + 1]
    n_scored = len(kept) - len(header) - n_read + n_skipped
    return View(whole.tokens[kept], whole.features[kept], done, done + n_scored)


def _first_bar(piece: Piece, done: int, half: int) -> int:
    """Returns the first bar that starts at most `half` tokens before `done`, or if none does, the last one before it.

    Its bar line lies before `done` whole: what the window names there is not what the piece does, so it is only read.
    """
    first = int(np.searchsorted(piece.bar_starts, done - half))
    latest = int(np.searchsorted(piece.bar_starts[:-1], done - _BAR_LINE, side="right")) - 1
    return max(min(first, latest), 0)


def _controls(piece: Piece, bar: int, style: int | None, condition: str, context: int) -> Controls:
    """Returns what a condition tells of the bars that fit into a window from `bar` on, and of that bar at least."""
    if condition != "controls told":
        return Controls(style=None if condition == _HEADLINE else style)
    last = int(np.searchsorted(piece.bar_starts, piece.bar_starts[bar] + context, side="right")) - 1
    return controls_of(window(piece, bar, max(last, bar + 1)), style)


def _forward(model: Muse, batch: list[View]) -> list[np.ndarray]:
    """Returns the losses of the scored tokens of each window."""
    size = max(len(view.tokens) for view in batch)
    inputs = np.zeros((len(batch), size, 1 + len(FEATURES)), dtype=np.int64)
    targets = np.full((len(batch), size), -1, dtype=np.int64)
    for row, view in enumerate(batch):
        n = len(view.tokens)
        n_scored = view.last - view.first
        inputs[row, :n, 0], inputs[row, :n, 1:] = view.tokens, view.features
        targets[row, n - n_scored : n] = view.tokens[n - n_scored :]
    device = model.head.weight.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device)):
        losses = model.losses(torch.from_numpy(inputs[:, :-1]).to(device), torch.from_numpy(targets[:, 1:]).to(device))
    return np.split(losses.double().cpu().numpy(), np.cumsum([view.last - view.first for view in batch])[:-1])


def _choose(corpus: Corpus, split: str, max_pieces: int | None) -> list[int]:
    pieces = corpus.select(split)
    if not len(pieces):
        raise corpus.lacks("no piece with a beat", split)
    if max_pieces is not None and max_pieces < 1:
        raise InputError(f"max_pieces is {max_pieces}; allowed are 1 and more, or None for all")
    return np.sort(np.random.default_rng(0).permutation(pieces)[:max_pieces]).tolist()


def _is_note(tokens: np.ndarray) -> np.ndarray:
    return (tokens >= v.NOTE.first) & (tokens < v.NOTE.first + v.NOTE.size)


def _figures(nats: np.ndarray, tokens: np.ndarray) -> dict[str, float | None]:
    n_notes = int(_is_note(tokens).sum())
    return {
        "nats_per_token": float(nats.sum()) / len(tokens),
        "nats_per_note": float(nats.sum()) / n_notes if n_notes else None,
    }


def _models(nats: dict[str, np.ndarray], tokens: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "model": f"muse, {name}" if name in CONDITIONS else name,
            "comparable": name in BASELINES or name == _HEADLINE,
            **_figures(values, tokens),
        }
        for name, values in nats.items()
    ]


def _labels(
    nats: dict[str, np.ndarray], tokens: np.ndarray, label_of: np.ndarray, labels: list[str]
) -> list[dict[str, Any]]:
    rows = []
    for label in sorted(set(labels)):
        here = label_of == label
        row = {"label": label, "n_pieces": labels.count(label), "n_tokens": int(here.sum())}
        row |= _figures(nats[_HEADLINE][here], tokens[here])
        row |= {f"{name} nats_per_token": float(nats[name][here].mean()) for name in (_RIGHT, _WRONG) if name in nats}
        if _BASELINE in nats:
            baseline = _figures(nats[_BASELINE][here], tokens[here])
            row |= {f"{_BASELINE} {key}": value for key, value in baseline.items()}
        rows.append(row)
    return rows


def _blocks(nats: dict[str, np.ndarray], tokens: np.ndarray) -> list[dict[str, Any]]:
    """Returns for each block of the vocabulary its share of the tokens and of Muse's nats; `end` is the special one."""
    rows = []
    for name, block in v.BLOCKS.items():
        here = (tokens >= block.first) & (tokens < block.first + block.size)
        if not here.any():
            continue
        row = {"block": name, "n_tokens": int(here.sum()), "share_of_tokens": float(here.mean())}
        spent = nats[_HEADLINE]
        row |= {"share_of_nats": float(spent[here].sum() / spent.sum()), "nats_per_token": float(spent[here].mean())}
        if _BASELINE in nats:
            row[f"{_BASELINE} nats_per_token"] = float(nats[_BASELINE][here].mean())
        rows.append(row)
    return rows
