"""What real pieces are like, kept in a small file, so that what a model writes can be judged without the corpus.

Windows of held-out pieces are measured in three ways: histograms (`likeness`), bars that return (`returns`), and the
longest passage that each shares with the training pieces (`copies`). Beside them stand pieces that a 5-gram wrote, a
classifier of composers that was taught on the training pieces (`composer_classifier`), and fingerprints of the passages
of the training pieces that are longer than held-out pieces share with them: whoever has those copies.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from musegen.errors import DataError
from musegen.music import vocabulary as v
from musegen.music.composer_classifier import ComposerClassifier, confusion
from musegen.music.copies import Fingerprints, joined, longest_copies, moves
from musegen.music.corpus import Corpus, Piece
from musegen.music.grid import GridScore
from musegen.music.likeness import QUANTITIES, counts, likeness
from musegen.music.returns import Returns, returns
from musegen.train.atomic import new_file

N_BARS = 16
"""How many bars a window has, and a piece that is to be judged."""

N_COMPOSERS = 12
"""How many labels the classifier knows: those with most training pieces."""

N_DRAWS = 16
"""How often training pieces are drawn, to tell how far other real music lies from the real pieces."""

_FORMAT = 2
_N_LAGS = N_BARS - 1
_WINDOWS_A_LABEL = 400  # that the classifier is taught on, about
_WINDOWS_A_PIECE = 8  # held-out ones that it is tried on, at most
_EDITION = (0.25, 64)  # who shares such a share of its notes, and so many, is a training piece in another edition

OnProgress = Callable[[str, int, int], None]
"""Takes what is done, how much of it, and of how much."""


@dataclass(frozen=True)
class Sample:
    """Some pieces, measured.

    Args:
        labels: the label of each.
        counts: the histograms of each, see `likeness.counts`.
        returns: their bars compared.
        notes: how many notes of each can be copied: those without drums, once at an onset.
        copies: how many notes the longest passage has that each shares with a training piece; None for not measured.
    """

    labels: list[str]
    counts: dict[str, np.ndarray]
    returns: Returns
    notes: np.ndarray
    copies: np.ndarray | None

    @classmethod
    def of(
        cls,
        grids: Sequence[GridScore],
        labels: Sequence[str],
        known: np.ndarray | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> "Sample":
        """Measures pieces; passages are looked for in `known` (`copies.joined`) if it is given."""
        rows = [moves(grid) for grid in grids]
        copies = None if known is None else longest_copies(rows, known, on_progress)
        notes = np.array([len(row) + 1 for row in rows], dtype=np.int64)
        return cls(list(labels), counts(grids), returns(grids, _N_LAGS), notes, copies)

    @property
    def own_copies(self) -> np.ndarray | None:
        """The copies of the pieces that are no training pieces in another edition."""
        if self.copies is None:
            return None
        share, least = _EDITION
        return self.copies[(self.copies < least) | (self.copies < share * self.notes)]


@dataclass(frozen=True)
class Reference:
    """What pieces are judged by.

    Args:
        split: whose pieces are the real ones.
        real: a window of each of them.
        baseline: pieces of a 5-gram; None for none.
        training: (N_DRAWS, n_quantities) how far as many training pieces, drawn anew each time, lie from the real ones
            in each of QUANTITIES, as a multiple of what two halves of these do (`likeness.Likeness.ratio`), or NaN.
        classifier: of composers; None where there are fewer than two.
        confusion: (n_composers, n_composers) how many held-out windows of each (row) it names each (column).
        fingerprints: the passages of the training pieces, longer by a note than the real ones share at most.
    """

    split: str
    real: Sample
    baseline: Sample | None
    training: np.ndarray
    classifier: ComposerClassifier | None
    confusion: np.ndarray
    fingerprints: Fingerprints

    def save(self, path: Path) -> None:
        """Writes the file, or replaces the one that is there, in one step."""
        arrays: dict[str, np.ndarray] = {
            "confusion": self.confusion.astype(np.int32),
            "training": self.training,
        }
        facts: dict[str, Any] = {"format": _FORMAT, "vocabulary": v.fingerprint(), "split": self.split}
        facts["fingerprint_notes"] = self.fingerprints.n_notes
        arrays |= {f"fingerprints/{name}": getattr(self.fingerprints, name) for name in _FINGERPRINTS}
        for name, sample in (("real", self.real), ("baseline", self.baseline)):
            if sample is not None:
                arrays |= {f"{name}/{key}": array for key, array in _arrays(sample).items()}
                facts[name] = sample.labels
        if self.classifier:
            facts["composers"] = self.classifier.labels
            arrays |= {key: getattr(self.classifier, key) for key in _CLASSIFIER}
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        data = safetensors.numpy.save(contiguous, {"reference": json.dumps(facts)})
        with new_file(path) as temporary:
            temporary.write_bytes(data)

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Reads the file.

        Raises:
            DataError: it is missing, damaged, or was made by another version.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["reference"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts["format"] != _FORMAT or facts["vocabulary"] != v.fingerprint():
                raise DataError(f"{path} was made by another version of musegen; make it again with --write-reference")
            return cls._of(facts, arrays)
        except DataError:  # a ValueError too, but one that says all
            raise
        except FileNotFoundError:
            raise DataError(f"there is no {path}; give the data, or make it with --write-reference") from None
        except (OSError, SafetensorError, ValueError, LookupError, TypeError) as error:
            raise DataError(f"{path} is no usable reference: {type(error).__name__}: {error}") from None

    @classmethod
    def _of(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Reference":
        """Returns what a file holds."""
        baseline, composers = facts.get("baseline"), facts.get("composers")
        return cls(
            facts["split"],
            _sample(facts["real"], arrays, "real"),
            None if baseline is None else _sample(baseline, arrays, "baseline"),
            arrays["training"],
            ComposerClassifier(composers, *(arrays[key] for key in _CLASSIFIER)) if composers else None,
            arrays["confusion"].astype(np.int64),
            Fingerprints(int(facts["fingerprint_notes"]), *(arrays[f"fingerprints/{name}"] for name in _FINGERPRINTS)),
        )


_CLASSIFIER = ("weights", "biases", "mean", "scale")
_FINGERPRINTS = ("low", "high")
_LAGS = ("pairs", "equal", "nearly")
_NUMBERS = ("bars", "empty", "later", "returning")


def _arrays(sample: Sample) -> dict[str, np.ndarray]:
    kept = {**sample.counts, "notes": sample.notes.astype(np.int32)}
    for name in _LAGS + _NUMBERS:
        kept[f"returns/{name}"] = np.atleast_1d(getattr(sample.returns, name)).astype(np.int32)
    return kept if sample.copies is None else {**kept, "copies": sample.copies.astype(np.int32)}


def _sample(labels: list[str], arrays: dict[str, np.ndarray], name: str) -> Sample:
    own = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
    counted: dict[str, Any] = {key: own[f"returns/{key}"].astype(np.int64) for key in _LAGS}
    counted |= {key: int(own[f"returns/{key}"][0]) for key in _NUMBERS}
    copies = own["copies"].astype(np.int64) if "copies" in own else None
    histograms, notes = {key: own[key] for key in QUANTITIES}, own["notes"].astype(np.int64)
    return Sample(labels, histograms, Returns(**counted), notes, copies)


# --- From a corpus


def grid_of(piece: Piece) -> GridScore:
    """Returns the grid score of a piece: `tokenizer.decode` of its tokens, in NumPy."""
    tokens = piece.tokens.astype(np.int64)
    is_bar = tokens == v.BAR
    is_wait = (tokens >= v.WAIT.first) & (tokens < v.WAIT.first + v.WAIT.size)
    elapsed = np.cumsum(np.where(is_wait, tokens - v.WAIT.first + 1, 0))
    place = np.flatnonzero((tokens >= v.NOTE.first) & (tokens < v.NOTE.first + v.NOTE.size))
    length = np.flatnonzero((tokens >= v.LENGTH.first) & (tokens < v.LENGTH.first + v.LENGTH.size))
    bar = np.cumsum(is_bar)[place] - 1
    bar_ticks = np.cumsum(v.METER_TICKS[piece.meters]) - v.METER_TICKS[piece.meters]
    onset = bar_ticks[bar] + elapsed[place] - elapsed[is_bar][bar]
    instrument, pitch = np.divmod(tokens[place] - v.NOTE.first, v.N_PITCHES)
    duration, velocity = np.divmod(tokens[length] - v.LENGTH.first, len(v.VELOCITIES))
    ticks = np.array(v.DURATIONS)[duration] + v.TICKS_PER_WHOLE * (length - place - 1)
    notes = np.column_stack([onset, instrument, pitch + v.LOWEST_PITCH, ticks, velocity])
    return GridScore(piece.meters, piece.tempos, notes)


def windows(
    corpus: Corpus, indices: Sequence[int], most: int, rng: np.random.Generator
) -> Iterator[tuple[int, GridScore]]:
    """Yields (index, N_BARS bars) of pieces, at most so many of each, that do not overlap and have notes.

    Left out are pieces that are shorter, and those that count bars of a quarter or less: they do not know their meter.
    """
    for index in indices:
        piece = corpus.piece(int(index))
        knows_meter = v.METER_TICKS[np.bincount(piece.meters).argmax()] > v.TICKS_PER_QUARTER if piece.n_bars else False
        if piece.n_bars < N_BARS or not knows_meter:
            continue
        grid, start = grid_of(piece), int(rng.integers(0, piece.n_bars % N_BARS + 1))
        for place in rng.permutation(piece.n_bars // N_BARS)[:most]:
            window = grid.bars(start + N_BARS * int(place), start + N_BARS * (int(place) + 1))
            if len(window.notes):
                yield int(index), window


def known_moves(corpus: Corpus, on_progress: OnProgress | None = None) -> list[np.ndarray]:
    """Returns the `copies.moves` of each training piece with a beat."""
    train = corpus.select("train")
    rows = []
    for done, index in enumerate(train, start=1):
        rows.append(moves(grid_of(corpus.piece(int(index)))))
        if on_progress and (done % 100 == 0 or done == len(train)):
            on_progress("training pieces read", done, len(train))
    return rows


def build(
    corpus: Corpus,
    split: str,
    known: Sequence[np.ndarray],
    baseline: Callable[[list[str]], list[GridScore]] | None = None,
    on_progress: OnProgress | None = None,
) -> Reference:
    """Measures the real pieces of a split; the same ones at every call.

    Args:
        corpus: where they come from.
        split: "train", "valid" or "test".
        known: `known_moves` of the corpus.
        baseline: writes a piece of a baseline for each label of the real windows.
        on_progress: called as this goes on.

    Raises:
        DataError: fewer than two pieces of the split have N_BARS bars.
    """
    report = on_progress or (lambda what, done, total: None)
    found = list(windows(corpus, corpus.select(split).tolist(), 1, np.random.default_rng(0)))
    if len(found) < 2:
        raise corpus.lacks(f"fewer than 2 pieces of {N_BARS} bars", split)
    labels = [corpus.labels[index] for index, _ in found]
    places = joined(known)
    real = Sample.of([grid for _, grid in found], labels, places, partial(report, "copies in real pieces"))
    assert real.own_copies is not None
    training = _training(corpus, real, report)
    classifier, table = _classifier(corpus, split, report)
    written = None if baseline is None else Sample.of(baseline(labels), labels, places)
    fingerprints = Fingerprints.of(known, max(int(real.own_copies.max(initial=0)), 1) + 1)
    return Reference(split, real, written, training, classifier, table, fingerprints)


def _training(corpus: Corpus, real: Sample, report: OnProgress) -> np.ndarray:
    """Returns how far training pieces with the labels of the real ones lie from these: see `Reference.training`."""
    train, rows = corpus.select("train"), []
    for draw in range(N_DRAWS):
        rng = np.random.default_rng(draw)
        own: dict[str, list[int]] = {}
        for index in rng.permutation(train).tolist():
            own.setdefault(corpus.labels[index], []).append(index)
        drawn = {label: windows(corpus, indices, 1, rng) for label, indices in own.items()}
        found = [next(drawn[label], None) for label in real.labels if label in drawn]
        grids = [window for _, window in filter(None, found)]
        ratios = likeness(counts(grids), real.counts, real.labels, draw) if grids else {}
        rows.append([ratios[name].ratio if name in ratios else None for name in QUANTITIES])
        report("training pieces compared", draw + 1, N_DRAWS)
    return np.array(rows, dtype=np.float64)


def _classifier(corpus: Corpus, split: str, report: OnProgress) -> tuple[ComposerClassifier | None, np.ndarray]:
    """Returns a classifier of the labels with most training pieces, and its confusion on windows of a split."""
    train = corpus.select("train")
    names = sorted(name for name, _ in Counter(corpus.labels[i] for i in train).most_common(N_COMPOSERS))
    grids, told, rng = [], [], np.random.default_rng(0)
    for done, name in enumerate(names, start=1):
        own = [int(i) for i in train if corpus.labels[i] == name]
        taken = list(windows(corpus, own, -(-_WINDOWS_A_LABEL // len(own)), rng))
        grids += [grid for _, grid in taken]
        told += [name] * len(taken)
        report("composers learned", done, len(names))
    if len(set(told)) < 2:
        return None, np.zeros((0, 0), dtype=np.int64)
    classifier = ComposerClassifier.fit(counts(grids), told)
    held_out = [int(i) for i in corpus.select(split) if corpus.labels[i] in classifier.labels]
    tried = list(windows(corpus, held_out, _WINDOWS_A_PIECE, rng))
    named = classifier.name(counts([grid for _, grid in tried]))
    return classifier, confusion([corpus.labels[index] for index, _ in tried], named, classifier.labels)
