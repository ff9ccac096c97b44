"""A small classifier that names the composer of a piece: softmax regression on the histograms of `likeness`.

It is kept small on purpose: what it is taught on is real pieces, and a larger one would know the pieces themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musegen.music.likeness import QUANTITIES, Counts, shares

_N_STEPS = 400
_RATE = 0.1
_PENALTY = 0.002  # on half the squares of the weights
_MOMENTS = (0.9, 0.999)


@dataclass(frozen=True)
class ComposerClassifier:
    """The classifier.

    Args:
        labels: whom it can name.
        weights: (n_inputs, n_labels).
        biases: (n_labels,).
        mean: (n_inputs,) of the inputs that it was taught on.
        scale: (n_inputs,) their deviation.
    """

    labels: list[str]
    weights: np.ndarray
    biases: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, counts: Counts, labels: Sequence[str]) -> "ComposerClassifier":
        """Teaches a classifier: the mean log-probability of the labels, each label with the same weight (Adam).

        Args:
            counts: histograms of the pieces.
            labels: the label of each.
        """
        x = inputs(counts)
        mean = x.mean(0)
        scale = x.std(0) + 0.01  # what hardly ever occurs must not decide
        names = sorted(set(labels))
        truth = np.array([names.index(label) for label in labels])
        wanted = np.eye(len(names))[truth]
        each = (1 / np.bincount(truth) / len(names))[truth][:, None]
        x = np.column_stack([(x - mean) / scale, np.ones(len(x))])
        weights = np.zeros((x.shape[1], len(names)))
        first, second = np.zeros_like(weights), np.zeros_like(weights)
        for step in range(1, _N_STEPS + 1):
            slope = x.T @ (each * (_softmax(x @ weights) - wanted))
            slope[:-1] += _PENALTY * weights[:-1]
            first += (1 - _MOMENTS[0]) * (slope - first)
            second += (1 - _MOMENTS[1]) * (slope**2 - second)
            rate = _RATE * (1 - step / (_N_STEPS + 1)) * np.sqrt(1 - _MOMENTS[1] ** step) / (1 - _MOMENTS[0] ** step)
            weights -= rate * first / (np.sqrt(second) + 1e-8)
        return cls(names, *(a.astype(np.float32) for a in (weights[:-1], weights[-1], mean, scale)))

    def probabilities(self, counts: Counts) -> np.ndarray:
        """Returns how likely each label is (n_pieces, n_labels)."""
        return _softmax((inputs(counts) - self.mean) / self.scale @ self.weights + self.biases)

    def name(self, counts: Counts) -> list[str]:
        """Returns the likeliest label of each piece."""
        return [self.labels[place] for place in self.probabilities(counts).argmax(1)]


def inputs(counts: Counts) -> np.ndarray:
    """Returns what the classifier sees (n_pieces, n_inputs): square roots of shares, so that rare values count."""
    return np.sqrt(np.column_stack([shares(counts[name]) for name in QUANTITIES]))


def confusion(told: Sequence[str], named: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Returns how many pieces of each label (row) were named each label (column); others are left out."""
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for truth, name in zip(told, named, strict=True):
        if truth in labels:
            table[labels.index(truth), labels.index(name)] += 1
    return table


def mean_recall(table: np.ndarray) -> float | None:
    """Returns the share named rightly, as the mean over the labels of a `confusion`; None of an empty one.

    Whoever guesses, and whoever always names the same label, gets 1 of as many as there are labels.
    """
    present = table.sum(1) > 0
    return float((np.diag(table)[present] / table.sum(1)[present]).mean()) if present.any() else None


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)
