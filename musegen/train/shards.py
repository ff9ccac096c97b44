"""Prepared data on disk: records and their arrays, in memory-mapped shards.

A finished folder holds

    index.json          format, version, the caller's `meta`, the shards, and the items that failed with their reasons
    records.jsonl       one line a record: what the caller wants to know without opening an array
    spans-<array>.npy   (records, 3) int64: shard, offset and length of that array; shard -1 where a record has none
    shard-<n>-<key>/    one chunk of items: <array>.npy, all records of the chunk end to end, and chunk.json

A shard is written once, under a name that hashes the content of its items, the work and `meta`. A preparation
that was killed finds its finished shards by that name and goes on with the rest. Nothing is ever unpickled.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from musegen.errors import DataError, MusegenError
from musegen.train.atomic import new_file, new_folder, write_json, write_text

FORMAT = "musegen-shards"
VERSION = 1

Item = str | Path
Record = dict[str, Any]
Work = Callable[[Item], tuple[Record, Mapping[str, np.ndarray]]]


@dataclass(frozen=True)
class Failure:
    """An item that could not be prepared, and why."""

    item: str
    reason: str


def write_shard(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays into a new folder `path`, in one step.

    Raises:
        DataError: an array is not plain numbers.
    """
    with new_folder(path) as folder:
        _write_arrays(folder, arrays)


def open_shard(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one shard, memory-mapped and read-only.

    Raises:
        DataError: a file is missing, damaged or would have to be unpickled.
    """
    return {file.stem: _open_array(file) for file in sorted(path.glob("*.npy"))}


class Shards:
    """A finished folder: `records`, and the arrays that belong to each.

    Attributes:
        meta: what the caller gave to `prepare`, such as the hash of a vocabulary.
        records: one dict a record, in the order of the items.
        spans: for each array name, (records, 3) int64 of shard, offset and length; shard -1 where a record has none.
        failures: the items that were left out.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        index = _read_index(folder)
        self.meta: dict[str, Any] = index["meta"]
        self.failures = [Failure(**failure) for failure in index["failures"]]
        self._shards: list[str] = index["shards"]
        self.spans = {name: _open_array(folder / f"spans-{name}.npy") for name in index["arrays"]}
        with open(folder / "records.jsonl", encoding="utf-8") as lines:
            self.records: list[Record] = [json.loads(line) for line in lines]
        self._open = lru_cache(maxsize=None)(self._open_uncached)

    def __len__(self) -> int:
        return len(self.records)

    def lengths(self, name: str) -> np.ndarray:
        """How long array `name` of each record is: (records,) int64."""
        return self._spans_of(name)[:, 2]

    def array(self, i: int, name: str) -> np.ndarray:
        """Array `name` of record `i`: a read-only view into its memory-mapped shard.

        Raises:
            DataError: no such array, or record `i` has none.
        """
        shard, offset, length = self._spans_of(name)[i].tolist()
        if shard < 0:
            raise DataError(f"{self.folder}: record {i} has no array {name!r}")
        return self._open(shard, name)[offset : offset + length]

    def _spans_of(self, name: str) -> np.ndarray:
        if name not in self.spans:
            raise DataError(f"{self.folder} has no array {name!r}; it has {', '.join(sorted(self.spans)) or 'none'}")
        return self.spans[name]

    def _open_uncached(self, shard: int, name: str) -> np.ndarray:
        return _open_array(self.folder / self._shards[shard] / f"{name}.npy")


def open_shards(folder: str | Path) -> Shards:
    """Open a folder that `prepare` finished.

    Raises:
        DataError: it is missing, unfinished, damaged or of another version.
    """
    return Shards(Path(folder))


def prepare(
    items: Sequence[Item],
    work: Work,
    out: str | Path,
    *,
    meta: Mapping[str, Any] | None = None,
    n_workers: int | None = None,
    chunk: int = 64,
    console: Console | None = None,
) -> Shards:
    """Run `work` over all items on all cores and write the results into shards.

    `work(item)` returns a JSON-able record and named one-dimensional arrays. An item for which it raises is noted in
    `failures` and left out. Call it again after an interruption: finished chunks are not done twice. An item that names
    a file is known by the file's bytes, any other item by itself.

    Args:
        items: what to prepare; the order is kept.
        work: a function of a module (workers are spawned, not forked), or a `functools.partial` of one.
        out: the folder; made if missing.
        meta: kept in the index and part of every chunk's key: put in it all that changes what `work` does.
        n_workers: processes; 1 works inside this one. Default: one per core.
        chunk: items a shard, at least 1.
        console: where progress goes; default standard error.

    Raises:
        DataError: `chunk` or `n_workers` is below 1, `out` is no folder, or a result cannot be stored.
    """
    n_workers = (os.cpu_count() or 1) if n_workers is None else n_workers
    for name, number in (("chunk", chunk), ("workers", n_workers)):
        if number < 1:
            raise DataError(f"{name} is {number}; allowed are whole numbers from 1")
    out, meta = Path(out), dict(meta or {})
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"out is {out}, which is a file or inside one; allowed is a folder") from None
    jobs = [
        _Job(number, [os.fspath(item) for item in items[start : start + chunk]], work, out, meta)
        for number, start in enumerate(range(0, len(items), chunk))
    ]
    names: list[str] = [""] * len(jobs)
    with _progress(console) as progress:
        bar = progress.add_task("preparing", total=len(items))
        for job, name in _run_jobs(jobs, n_workers):
            names[job.number] = name
            progress.advance(bar, len(job.items))
    _write_index(out, names, meta)
    return Shards(out)


@dataclass(frozen=True)
class _Job:
    number: int
    items: list[str]
    work: Work
    out: Path
    meta: dict[str, Any]


def _run_jobs(jobs: list[_Job], n_workers: int) -> Iterator[tuple[_Job, str]]:
    if n_workers == 1:
        for job in jobs:
            yield job, _run_job(job)
        return
    left = {job.number: job for job in jobs}
    with _pool(min(n_workers, len(jobs) or 1)) as pool:
        futures = {pool.submit(_run_job, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                job = futures[future]
                try:
                    name = future.result()
                except BrokenProcessPool:
                    break
                yield left.pop(job.number), name
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # A worker died outright (a crash in native code, or memory ran out) and took the pool with it: each chunk that is
    # left gets a pool of its own, and one that kills it again goes through an item at a time, so that one item is lost.
    for job in left.values():
        try:
            with _pool(1) as pool:
                name = pool.submit(_run_job, job).result()
        except BrokenProcessPool:
            name = _run_job_by_item(job)
        yield job, name


def _run_job(job: _Job) -> str:
    """Prepare one chunk unless it is there already; gives the name of its shard."""
    name = _shard_name(job)
    if not (job.out / name / "chunk.json").exists():
        results = [_run_item(job.work, item) for item in job.items]
        _write_chunk(job, name, results)
    return name


def _run_job_by_item(job: _Job) -> str:
    results = []
    for item in job.items:
        with _pool(1) as pool:
            try:
                results.append(pool.submit(_run_item, job.work, item).result())
            except BrokenProcessPool:
                results.append(Failure(item, "the worker process died on it"))
    name = _shard_name(job)
    _write_chunk(job, name, results)
    return name


def _pool(n_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn"))


def _shard_name(job: _Job) -> str:
    work = getattr(job.work, "func", job.work)
    extra = [repr(getattr(job.work, part, None)) for part in ("args", "keywords")]
    key = hashlib.sha256()
    identity = [FORMAT, VERSION, work.__module__, work.__qualname__, extra, job.meta, job.items]
    key.update(json.dumps(identity, sort_keys=True, default=str).encode())
    for item in job.items:
        path = Path(item)
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:  # a name too long for a path, or not readable: `work` will say so
            content = b""
        key.update(hashlib.sha256(content).digest())
    return f"shard-{job.number:05d}-{key.hexdigest()[:16]}"


def _run_item(work: Work, item: str) -> tuple[Record, dict[str, np.ndarray]] | Failure:
    try:
        record, arrays = work(item)
        checked = {name: _check_array(name, np.asarray(array)) for name, array in arrays.items()}
        json.dumps(record, allow_nan=False)
    except MusegenError as error:  # its message says all
        return Failure(item, str(error))
    except Exception as error:
        return Failure(item, f"{type(error).__name__}: {error}")
    return record, checked


def _check_array(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "biuf" or not name.isidentifier():
        what = f"{array.ndim}-D {array.dtype}"
        raise DataError(f"array {name!r} is {what}; allowed: one-dimensional numbers under an identifier")
    return array


def _write_chunk(job: _Job, name: str, results: list[tuple[Record, dict[str, np.ndarray]] | Failure]) -> None:
    parts: dict[str, list[np.ndarray]] = {}
    records: list[Record] = []
    lengths: list[dict[str, int]] = []
    failures: list[dict[str, str]] = []
    for item, result in zip(job.items, results, strict=True):
        if isinstance(result, Failure):
            failures.append(vars(result))
            continue
        record, arrays = result
        wrong = [key for key in arrays if key in parts and parts[key][0].dtype != arrays[key].dtype]
        if wrong:
            came, before = arrays[wrong[0]].dtype, parts[wrong[0]][0].dtype
            failures.append({"item": item, "reason": f"array {wrong[0]!r} is {came}, others are {before}"})
            continue
        records.append(record)
        lengths.append({key: len(array) for key, array in arrays.items()})
        for key, array in arrays.items():
            parts.setdefault(key, []).append(array)
    with new_folder(job.out / name) as folder:
        _write_arrays(folder, {key: np.concatenate(part) for key, part in parts.items()})
        chunk = {"records": records, "lengths": lengths, "failures": failures}
        (folder / "chunk.json").write_text(json.dumps(chunk, ensure_ascii=False), encoding="utf-8")


def _write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise DataError(f"array {name!r} holds Python objects; allowed: numbers")
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _write_index(out: Path, shards: list[str], meta: dict[str, Any]) -> None:
    """Join the chunks into one index, and remove shards that belong to another preparation."""
    (out / "index.json").unlink(missing_ok=True)  # while the parts change there is no finished folder
    chunks = [json.loads((out / name / "chunk.json").read_text(encoding="utf-8")) for name in shards]
    arrays = sorted({name for chunk in chunks for lengths in chunk["lengths"] for name in lengths})
    for name in arrays:
        with new_file(out / f"spans-{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, _spans(chunks, name), allow_pickle=False)
    records = [json.dumps(record, ensure_ascii=False) + "\n" for chunk in chunks for record in chunk["records"]]
    write_text(out / "records.jsonl", "".join(records))
    for folder in out.glob("shard-*"):
        if folder.name not in shards:
            shutil.rmtree(folder)
    failures = [failure for chunk in chunks for failure in chunk["failures"]]
    index = {"format": FORMAT, "version": VERSION, "meta": meta, "arrays": arrays}
    write_json(out / "index.json", {**index, "shards": shards, "failures": failures})


def _spans(chunks: list[dict[str, Any]], name: str) -> np.ndarray:
    rows = []
    for shard, chunk in enumerate(chunks):
        offset = 0
        for lengths in chunk["lengths"]:
            length = lengths.get(name, -1)
            rows.append((-1, 0, 0) if length < 0 else (shard, offset, length))
            offset += max(length, 0)
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{no_shards(folder)}; prepare them first") from None
    except OSError as error:
        raise DataError(f"{folder / 'index.json'} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{folder / 'index.json'} cannot be read: {error}") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT or index.get("version") != VERSION:
        found = f"{index.get('format')} {index.get('version')}" if isinstance(index, dict) else type(index).__name__
        raise DataError(f"{folder / 'index.json'} is {found}; allowed: {FORMAT} {VERSION}; prepare the data again")
    return index


def no_shards(folder: Path) -> str | None:
    """Returns why a folder cannot be one that `prepare` finished: it is missing, a file, or has no index; else None."""
    if not folder.exists():
        return f"folder {folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is a file; allowed is a folder"
    return None if (folder / "index.json").exists() else f"{folder} holds no finished shards (no index.json)"


def _open_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; prepare the data again") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _progress(console: Console | None) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console or Console(stderr=True))
