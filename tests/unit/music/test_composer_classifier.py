import numpy as np

from musegen.music.composer_classifier import ComposerClassifier, confusion, mean_recall
from musegen.music.likeness import QUANTITIES


def some_counts(rng, peak, n):
    """Histograms of pieces that differ in where their pitch classes lie, and in nothing else."""
    counts = {name: rng.multinomial(400, np.full(q.n_bins, 1 / q.n_bins), n) for name, q in QUANTITIES.items()}
    odds = np.full(12, 1.0)
    odds[peak] = 8
    return counts | {"pitch class": rng.multinomial(400, odds / odds.sum(), n)}


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in QUANTITIES}


def test_it_names_whom_it_was_taught_from_new_pieces():
    rng = np.random.default_rng(0)
    labels = ["a"] * 60 + ["b"] * 40 + ["c"] * 50
    taught = ComposerClassifier.fit(joined([some_counts(rng, *p) for p in ((0, 60), (4, 40), (7, 50))]), labels)
    told = ["a"] * 30 + ["b"] * 30 + ["c"] * 30
    named = taught.name(joined([some_counts(rng, peak, 30) for peak in (0, 4, 7)]))
    assert mean_recall(confusion(told, named, taught.labels)) > 0.8
    by_chance = taught.name(joined([some_counts(rng, peak, 30) for peak in (2, 2, 2)]))
    assert mean_recall(confusion(told, by_chance, taught.labels)) < 0.55


def test_probabilities_add_up():
    rng = np.random.default_rng(1)
    taught = ComposerClassifier.fit(joined([some_counts(rng, 0, 5), some_counts(rng, 6, 5)]), ["x"] * 5 + ["y"] * 5)
    np.testing.assert_allclose(taught.probabilities(some_counts(rng, 0, 3)).sum(1), 1)


def test_confusion_and_recall():
    table = confusion(["a", "a", "b", "other"], ["a", "b", "b", "a"], ["a", "b", "c"])
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert mean_recall(table) == 0.75  # of the labels that are there
    assert mean_recall(np.zeros((2, 2), int)) is None
