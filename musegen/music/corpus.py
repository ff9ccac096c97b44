"""A folder of MIDI made into token shards, and those shards read back with their labels and splits."""

import csv
import hashlib
import json
import os
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console

from musegen.errors import DataError
from musegen.midi.instruments import DRUMS
from musegen.midi.score import Score
from musegen.music import vocabulary as v
from musegen.music.grid import INSTRUMENT, ONSET, PITCH, GridScore, QuantiseReport, quantise
from musegen.music.tokenizer import decode, encode
from musegen.train.atomic import write_json
from musegen.train.shards import Shards, open_shards, prepare

SUFFIXES = (".mid", ".midi")
SPLITS = ("train", "valid", "test")
_PREPARATION = 1  # raise it when the same file is to give other shards
_HELD_OUT = 0.04  # share of a label's pieces in each of valid and test
_LEAST_WORKS = 10  # of a label that can spare some
_SKETCH_SIZE = 64
_SHINGLE = 12  # intervals in a row: long enough that two works hardly ever share one


@dataclass(frozen=True)
class Piece:
    """A piece as it lies in the shards: see `tokenizer.Body`, with each bar's meter and tempo level."""

    tokens: np.ndarray
    bar_starts: np.ndarray
    meters: np.ndarray
    tempos: np.ndarray

    @property
    def n_bars(self) -> int:
        """How many bars it has."""
        return len(self.meters)


def prepare_file(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what the shards keep of one file: a record of facts, and its tokens, bars and sketch.

    Raises:
        InputError: it cannot be read, or holds no notes.
    """
    score = Score.read(path)
    grid, report = quantise(score)
    if not len(grid.notes):
        raise DataError("no notes")
    body = encode(grid)
    pitched = grid.notes[grid.notes[:, INSTRUMENT] != DRUMS, PITCH]
    record = {
        **asdict(report),
        "n_bars": grid.n_bars,
        "low": int(pitched.min(initial=v.HIGHEST_PITCH)),
        "high": int(pitched.max(initial=v.LOWEST_PITCH)),
        "instruments": list(grid.instruments),
    }
    return {"path": str(path), **record}, {
        "tokens": body.tokens,
        "bar_starts": body.bar_starts.astype(np.int32),
        "meters": grid.meters.astype(np.uint8),
        "tempos": grid.tempos.astype(np.uint8),
        "sketch": sketch(grid),
    }


def sketch(grid: GridScore) -> np.ndarray:
    """Returns up to 64 hashes that editions of one work share: the smallest of all hashes of 12 intervals in a row.

    The intervals run through the notes by onset and pitch, each (onset, pitch) once and without drums, so that
    transposition, dynamics, tempo, meter and the division into tracks do not matter. Pieces for drums alone have none.
    """
    notes = np.unique(grid.notes[grid.notes[:, INSTRUMENT] != DRUMS][:, [ONSET, PITCH]], axis=0)
    intervals = np.diff(notes[:, 1]) + 128
    if len(intervals) < _SHINGLE:
        return np.zeros(0, dtype=np.uint64)
    shingles = np.lib.stride_tricks.sliding_window_view(intervals, _SHINGLE).astype(np.uint64)
    with np.errstate(over="ignore"):
        hashes = np.zeros(len(shingles), dtype=np.uint64)
        for column in shingles.T:
            hashes = (hashes ^ column) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes)[:_SKETCH_SIZE]


def editions(sketches: list[np.ndarray], min_shared: float = 0.25) -> list[int]:
    """Returns each piece's work by number: pieces that share a quarter of their sketches are editions of one work."""
    owners: dict[int, list[int]] = defaultdict(list)
    for index, hashes in enumerate(sketches):
        for value in hashes.tolist():
            owners[value].append(index)
    shared = Counter((a, b) for group in owners.values() for i, a in enumerate(group[:50]) for b in group[i + 1 : 50])
    parent = list(range(len(sketches)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for (a, b), count in shared.items():
        if count >= min_shared * min(len(sketches[a]), len(sketches[b])):
            parent[root(b)] = root(a)
    return [root(index) for index in range(len(sketches))]


def find_files(folder: str | Path) -> dict[Path, str]:
    """Returns the MIDI files of a folder with their labels.

    They come from its manifest.csv (columns path, label) if it has one; otherwise a label is the name of the subfolder
    that the file lies in, or the folder's own.

    Raises:
        DataError: there is no such folder, no file in it, too many labels, or the manifest cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"folder is {folder}, which is not a folder")
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        files = {folder / path: label for path, label in _read_manifest(manifest).items()}
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        files = {path: (path.relative_to(folder).parts[0] if path.parent != folder else folder.name) for path in paths}
    if not files:
        raise DataError(f"folder is {folder}, which holds no {' or '.join(SUFFIXES)} file")
    labels = sorted(set(files.values()))
    if len(labels) > v.N_STYLES:
        raise DataError(f"folder has {len(labels)} labels; allowed are up to {v.N_STYLES}")
    return files


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if rows and not {"path", "label"} <= rows[0].keys():
        raise DataError(f"{path} has the columns {', '.join(rows[0])}; path and label are needed")
    for number, row in enumerate(rows, start=1):
        if not row["path"] or not row["label"]:
            raise DataError(f"{path} has no path or no label in row {number}")
    return {row["path"]: row["label"] for row in rows}


def prepare_corpus(
    folder: str | Path,
    out: str | Path,
    *,
    label: str | None = None,
    n_workers: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Turns a folder of MIDI into token shards under `out` and returns a report of what was read, changed and left out.

    Args:
        folder: where the files are.
        out: where the shards go.
        label: of all files; None for their own (`find_files`).
        n_workers: processes; None for one a core.
        console: where progress is shown.

    Raises:
        DataError: see `find_files`.
    """
    files = find_files(folder)
    files = files if label is None else dict.fromkeys(files, label)
    (Path(out) / "corpus.json").unlink(missing_ok=True)  # it says nothing of the shards that are to come
    meta = {"vocabulary": v.fingerprint(), "preparation": _PREPARATION}
    shards = prepare(list(files), prepare_file, out, meta=meta, n_workers=n_workers, console=console)
    _check_any(shards, folder)
    labels = {str(path): label for path, label in files.items()}
    sketches = [shards.array(i, "sketch") for i in range(len(shards))]
    piece_labels = [labels[record["path"]] for record in shards.records]
    names = [Path(os.path.relpath(record["path"], folder)).as_posix() for record in shards.records]
    works = editions(sketches)
    corpus = {
        "styles": sorted(set(labels.values())),
        "labels": piece_labels,
        "paths": names,
        "works": works,
        "splits": split(names, piece_labels, works),
    }
    write_json(Path(out) / "corpus.json", corpus)
    return summary(Corpus(out))


def split(names: list[str], labels: list[str], works: list[int]) -> list[str]:
    """Returns each piece's split.

    Works are dealt whole, by the hash of their first name: 4 % of a label's pieces to valid and as many to test (at
    least one each where the label has ten works), the rest to train. Works in unusually many editions are in train.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, work in enumerate(works):
        members[work].append(index)
    by_label: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for work, pieces in members.items():
        first = min(pieces, key=lambda index: names[index])
        by_label[labels[first]].append((hashlib.sha256(names[first].encode()).hexdigest(), work))
    splits = ["train"] * len(names)
    for dealt in by_label.values():
        dealt.sort()
        sizes = [len(members[work]) for _, work in dealt]
        wanted = max(round(_HELD_OUT * sum(sizes)), 1) if len(dealt) >= _LEAST_WORKS else 0
        most = max(2 * wanted, 2, sorted(sizes)[len(sizes) // 2])  # a work in dozens of editions would be a whole split
        queue = [members[work] for _, work in reversed(dealt) if len(members[work]) <= most]
        for name in ("valid", "test"):
            taken = 0
            while taken < wanted and queue:
                pieces = queue.pop()
                for index in pieces:
                    splits[index] = name
                taken += len(pieces)
    return splits


class Corpus:
    """Prepared shards with their labels, works and splits.

    Raises:
        DataError: the folder was not prepared, or with another vocabulary, or is damaged.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.shards: Shards = open_shards(folder)
        if self.shards.meta.get("vocabulary") != v.fingerprint():
            raise DataError(f"{folder} was prepared with another vocabulary; prepare the data again")
        try:
            facts = json.loads((self.folder / "corpus.json").read_text(encoding="utf-8"))
            self.styles: list[str] = facts["styles"]
            self.labels: list[str] = facts["labels"]
            self.paths: list[str] = facts["paths"]
            self.works: list[int] = facts["works"]
            self.splits: list[str] = facts["splits"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"{folder} has no usable corpus.json ({reason}); prepare the data again") from None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """Which pieces these are, with which labels and splits: what depends on them is kept under it."""
        files = (self.folder / name for name in ("index.json", "corpus.json"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def piece(self, index: int) -> Piece:
        """Returns one piece; its arrays are views into the shards."""
        return Piece(*(self.shards.array(index, name) for name in ("tokens", "bar_starts", "meters", "tempos")))

    @cached_property
    def n_tokens(self) -> np.ndarray:
        """How many tokens each piece has: (n_pieces,)."""
        return self.shards.lengths("tokens")

    def select(self, split: str, with_beat: bool = True) -> np.ndarray:
        """Returns the indices of a split's pieces, by default without those that keep to no beat."""
        keep = [
            part == split and (record["has_beat"] or not with_beat)
            for part, record in zip(self.splits, self.shards.records, strict=True)
        ]
        return np.flatnonzero(keep)

    def lacks(self, what: str, split: str, advice: str = ", and --split train measures what they have") -> DataError:
        """Returns the error that a split has not what is needed, and what to do."""
        hint = f"; labels of fewer than {_LEAST_WORKS} works hold none out{advice}"
        return DataError(f"{self.folder} has {what} in its {split} split{'' if split == 'train' else hint}")


def summary(corpus: Corpus) -> dict[str, Any]:
    """Returns what a corpus holds and what quantising it changed, as plain numbers."""
    return {
        **_changes(corpus.shards),
        "tokens": int(corpus.n_tokens.sum()),
        "works": len(set(corpus.works)),
        "splits": {name: corpus.splits.count(name) for name in SPLITS},
        "labels": dict(Counter(corpus.labels).most_common()),
    }


def _changes(shards: Shards) -> dict[str, Any]:
    """Returns what quantising changed in all files together."""
    counted = [f.name for f in fields(QuantiseReport) if f.type is int] + ["n_bars"]
    records = shards.records
    shifts = np.array([[record[key] for key in ("n_notes", "mean_shift_ms", "max_shift_ms")] for record in records])
    return {
        "files": len(records) + len(shards.failures),
        "readable": len(records),
        "failures": [asdict(failure) for failure in shards.failures],
        "without_beat": sum(not record["has_beat"] for record in records),
        **{name: sum(record[name] for record in records) for name in counted},
        "mean_shift_ms": float(np.average(shifts[:, 1], weights=shifts[:, 0])),
        "max_shift_ms": float(shifts[:, 2].max()),
    }


def roundtrip_file(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Sends one file through grid, tokens and a score and back: a record of what that changed, and no arrays.

    Raises:
        InputError: it cannot be read, or holds no notes.
    """
    score = Score.read(path)
    grid, report = quantise(score)
    if not len(grid.notes):
        raise DataError("no notes")
    tokens = encode(grid).tokens
    record = {
        **asdict(report),
        "n_bars": grid.n_bars,
        "n_tokens": len(tokens),
        "tokens_are_exact": decode(tokens) == grid,
        "is_idempotent": quantise(grid.to_score())[0] == grid,
    }
    return record, {}


def roundtrip_corpus(
    folder: str | Path, *, n_workers: int | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Sends every file of a folder through grid, tokens and a score and back; returns what that changed in numbers.

    Raises:
        DataError: see `find_files`.
    """
    files = list(find_files(folder))
    with TemporaryDirectory() as out:
        shards = prepare(files, roundtrip_file, out, n_workers=n_workers, console=console)
        _check_any(shards, folder)
        records = shards.records
        return {
            **_changes(shards),
            "n_tokens": sum(record["n_tokens"] for record in records),
            "tokens_are_exact": sum(record["tokens_are_exact"] for record in records),
            "is_idempotent": sum(record["is_idempotent"] for record in records),
        }


def _check_any(shards: Shards, folder: str | Path):
    if not len(shards):
        failure = shards.failures[0]
        n_files = len(shards.failures)
        raise DataError(f"{folder} has {n_files} files, none of them usable; {failure.item}: {failure.reason}")
