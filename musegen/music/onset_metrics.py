"""How well held and repeated notes are told apart, on the cells where the grid does not say: repeated pitches.

Each predictor gives a probability that a note begins in each cell. Nats are the mean of -log p of what is so; accuracy,
precision and recall are those of begun notes, predicted where the probability is above a half.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musegen.music.chorales import N_VOICES, Mask
from musegen.music.onset_task import CONDITIONS, Example
from musegen.music.onsets import BEGINS, UNKNOWN, Onsets, repeats

Floats = NDArray[np.float64]
Predict = Callable[[Example, tuple[int, ...]], Floats]  # a piece and the voices known to p (T, V)

_ADDED, _SHARE = 0.5, 0.05  # to every count of held notes, and the share of that which is added to begun ones
_N_PLACES = 24  # sixteenths of a bar that are told apart


def evaluate(
    predictors: dict[str, Predict],
    examples: Sequence[Example],
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Measures predictors with nothing known, and with the onsets of the soprano known (on the other voices).

    Args:
        predictors: by name.
        examples: pieces to measure on.
        on_progress: called with a predictor, how many pieces are done with it, and of how many.

    Returns:
        A row for each condition and predictor: "known", "predictor", "nats", and "accuracy", "precision", "recall" and
        "f1" in 0 to 1 (0 where nothing was predicted), and "n", the cells.
    """
    rows: list[dict[str, Any]] = []
    total = len(CONDITIONS) * len(examples)
    for name, predict in predictors.items():
        for place, (condition, voices) in enumerate(CONDITIONS.items()):
            found = []
            for index, example in enumerate(examples):
                doubt = in_doubt(example, voices)
                found.append((predict(example, voices)[doubt], example.onsets[doubt]))
                if on_progress:
                    on_progress(name, place * len(examples) + index + 1, total)
            p, onsets = (np.concatenate(column) for column in zip(*found, strict=True))
            rows.append({"known": condition, "predictor": name, **_figures(p, onsets)})
    return sorted(rows, key=lambda row: list(CONDITIONS).index(row["known"]))


def in_doubt(example: Example, voices: tuple[int, ...]) -> Mask:
    """Returns the cells whose onset is not plain from the grid, of voices that are not known: (T, V) bool."""
    known = example.known_voices(voices)
    return repeats(torch.from_numpy(example.cells)[None])[0].numpy() & (known == UNKNOWN)


def _figures(p: Floats, onsets: Mask) -> dict[str, float | int]:
    chosen = p > 0.5
    hits = int((chosen & onsets).sum())
    precision, recall = hits / max(int(chosen.sum()), 1), hits / max(int(onsets.sum()), 1)
    return {
        "nats": -float(np.log(np.where(onsets, p, 1 - p)).mean()),
        "accuracy": float((chosen == onsets).mean()),
        "precision": precision,
        "recall": recall,
        "f1": 2 * hits / max(int(chosen.sum()) + int(onsets.sum()), 1),
        "n": len(p),
    }


# --- Predictors


def network(model: Onsets) -> Predict:
    """Returns the predictions of a model in eval mode."""
    device = model.firsts.device

    @torch.no_grad()
    def predict(example: Example, voices: tuple[int, ...]) -> Floats:
        arrays = (example.cells, example.known_voices(voices), example.places, example.bars)
        logits = model(*(torch.from_numpy(array).to(device)[None] for array in arrays))
        return logits[0].double().sigmoid().cpu().numpy()

    return predict


def share(train: Sequence[Example]) -> Predict:
    """Returns predictions from counting alone: how often a repeated pitch of the training pieces begins a note.

    That is rare, so that no note is ever predicted to begin.
    """
    onsets = np.concatenate([example.onsets[in_doubt(example, ())] for example in train])
    return lambda example, voices: np.full(example.cells.shape, onsets.mean())


def table(train: Sequence[Example]) -> Predict:
    """Returns predictions from a table, counted on the training pieces for what is known in each condition.

    Its entries are the voice, the place in the bar, and which of the other voices begin a note here for certain.
    """
    counts: dict[tuple[int, ...], Floats] = {}
    for voices in CONDITIONS.values():
        counts[voices] = np.full((2, N_VOICES, _N_PLACES, 2**N_VOICES), _ADDED)
        counts[voices][1] *= _SHARE
        for example in train:
            doubt = in_doubt(example, voices)
            entries = [entry[doubt] for entry in _entries(example, voices)]
            np.add.at(counts[voices], (example.onsets[doubt].astype(int), *entries), 1)

    def predict(example: Example, voices: tuple[int, ...]) -> Floats:
        held, begun = (counts[voices][kind][_entries(example, voices)] for kind in (0, 1))
        return begun / (held + begun)

    return predict


def _entries(example: Example, voices: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    """Returns the voice, the place in the bar, and which other voices begin here for certain, of each cell (T, V)."""
    shape = example.cells.shape
    certain = (example.onsets & ~in_doubt(example, ())) | (example.known_voices(voices) == BEGINS)
    bits = 1 << np.arange(N_VOICES)
    others = (certain * bits).sum(1, keepdims=True) - certain * bits
    voice = np.broadcast_to(np.arange(N_VOICES), shape)
    place = np.broadcast_to(np.minimum(example.places, _N_PLACES - 1)[:, None], shape)
    return voice, place, others
