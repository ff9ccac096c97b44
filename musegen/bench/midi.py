"""`musegen bench midi`: reading files and making tokens of them beside other libraries, on the same files in one run.

Time is that of one core (process time, this process bound to one), so that what else the machine does counts little.
Every file is read once before it counts, the libraries take turns, and what is reported is the median of the turns.
"""

import contextlib
import gc
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musegen.bench.memory import peak_mebibytes
from musegen.bench.peers import INSTALL, OURS, Peer, readers, tokenizers
from musegen.bench.synthetic import write_corpus
from musegen.errors import InputError
from musegen.midi.formats import MIDI_SUFFIXES
from musegen.midi.score import Score
from musegen.midi.smf.scan import IS_COMPILED

OnProgress = Callable[[str, int, int], None]
N_MADE_UP = 200
N_SLOW_READ = 60  # files for a library that takes a tenth of a second for each
N_TOKENS = 100
_TURNS, _SLOW_TURNS = 5, 3


def compare(
    data: Path | None = None,
    *,
    n_files: int | None = None,
    seed: int = 1,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures musegen and the libraries beside it that are installed.

    Args:
        data: a folder of MIDI files; None makes some up by rule.
        n_files: how many of them, drawn with the seed; None for all. Slow libraries get at most `N_SLOW_READ` of these,
            and tokenizers `N_TOKENS`; musegen is measured again on the same ones.
        seed: of the draw, and of what is made up.
        on_progress: called with what is measured, how many files are done, and of how many.

    Returns:
        What was measured, and as lists of rows the figures of `reading`, `tokens` and `memory`.

    Raises:
        InputError: there is no such folder, it holds no MIDI file, or a number is out of range.
    """
    if n_files is not None and n_files < 1:
        raise InputError(f"files must be 1 or more, got {n_files}")
    with contextlib.ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            paths = [str(path) for path in write_corpus(folder, n_files or N_MADE_UP, seed)]
        else:
            paths = _drawn(data, n_files, seed)
        stack.enter_context(_one_core())
        measure = _Measure(paths, on_progress or (lambda *_: None))
        report = _described(data, seed, measure)
        reading = measure.rows("Reading", readers(), N_SLOW_READ)
        tokens = measure.rows("Making tokens", tokenizers(), N_TOKENS)
        return {**report, "reading": reading, "tokens": tokens, "memory": measure.memory(N_SLOW_READ)}


def verdicts(report: dict[str, Any]) -> list[str]:
    """Returns in sentences how musegen compares with the fastest of the others."""
    lines = []
    for key, what in (("reading", "to read files"), ("tokens", "to make token ids")):
        others = [row for row in report[key] if row["library"] != OURS and row["times_ours"]]
        if others:
            fastest = min(others, key=lambda row: row["times_ours"])
            takes = f"takes {fastest['times_ours']:.2f} times musegen's time"
            lines.append(f"{fastest['library']}, the fastest of the others {what}, {takes}.")
    return lines


def _drawn(folder: Path, n_files: int | None, seed: int) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"data is {folder}, which is not a folder")
    paths = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"data is {folder}, which holds no {' or '.join(MIDI_SUFFIXES)} file")
    random.Random(seed).shuffle(paths)  # The first so many are then a fair sample too.
    return paths[:n_files]


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Binds this process to one core, so that threads of a library do not count as speed."""
    try:
        cores = os.sched_getaffinity(0)
    except AttributeError:  # not on this system
        yield
        return
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _described(data: Path | None, seed: int, measure: "_Measure") -> dict[str, Any]:
    missing = sorted({peer.package for peer in (*readers(), *tokenizers()) if not peer.is_installed})
    return {
        "data": "made up by rule" if data is None else str(data),
        "seed": seed,
        "n_files": len(measure.paths),
        "megabytes": round(sum(measure.sizes.values()) / 1e6, 3),
        "n_notes": sum(measure.notes.values()),
        "turns": _TURNS,
        "turns_of_slow_ones": _SLOW_TURNS,
        "cores": 1,
        "is_compiled": IS_COMPILED,
        "not_installed": f"{', '.join(missing)}: {INSTALL}" if missing else None,
    }


class _Measure:
    """The files of a run, with their sizes and notes as musegen reads them, and what is measured on them."""

    def __init__(self, paths: Sequence[str], on_progress: OnProgress):
        self.paths, self._on_progress = list(paths), on_progress
        self.sizes = {path: os.path.getsize(path) for path in paths}
        self.notes: dict[str, int] = {}
        for path in paths:
            with contextlib.suppress(InputError):
                self.notes[path] = Score.read(path).n_notes

    def rows(self, what: str, peers: Sequence[Peer], n_slow: int) -> list[dict[str, Any]]:
        """Returns a row of figures for each library that is installed, musegen's own first."""
        found = [(peer, peer.load()) for peer in peers if peer.is_installed]
        fast = self._seconds(what, [(p, read) for p, read in found if not p.is_slow], self.paths, _TURNS)
        some = self.paths[:n_slow]
        slow = self._seconds(
            f"{what}, slow", [(p, r) for p, r in found if p.is_slow or p.name == OURS], some, _SLOW_TURNS
        )
        return [self._row(peer, *((slow, some) if peer.is_slow else (fast, self.paths))) for peer, _ in found]

    def memory(self, n_slow: int) -> list[dict[str, Any]]:
        """Returns a row for each library: the memory it takes, and what musegen takes on the same files."""
        rows = []
        kinds = (("readers", "scores", readers()), ("tokenizers", "token ids", tokenizers()))
        todo = [(kind, to, peer) for kind, to, peers in kinds for peer in peers if peer.is_installed]
        ours: dict[tuple[str, int], float | None] = {}
        for done, (kind, to, peer) in enumerate(todo):
            self._on_progress("Memory", done, len(todo))
            paths = self.paths[:n_slow] if peer.is_slow else self.paths
            if (kind, len(paths)) not in ours:
                own = next(own for own in (readers() if kind == "readers" else tokenizers()) if own.name == OURS)
                ours[kind, len(paths)] = peak_mebibytes(own, kind, paths)
            peak = ours[kind, len(paths)] if peer.name == OURS else peak_mebibytes(peer, kind, paths)
            rows.append({"library": peer.name, "to": to, "n_files": len(paths), "peak_mib": peak,
                         "peak_mib_of_ours": ours[kind, len(paths)]})  # fmt: skip
        self._on_progress("Memory", len(todo), len(todo))
        return rows

    def _seconds(
        self, what: str, peers: Sequence[tuple[Peer, Callable[[str], Any]]], paths: Sequence[str], n_turns: int
    ) -> dict[str, np.ndarray]:
        """Returns each peer's seconds for each turn and file, not a number where it refused: (n_turns, n_files)."""
        seconds = {peer.name: np.full((n_turns, len(paths)), np.nan) for peer, _ in peers}
        n_done, n_todo = 0, (n_turns + 1) * len(peers) * len(paths)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for turn in range(-1, n_turns):  # the first one warms up
                order = peers if turn % 2 else peers[::-1]
                for peer, read in order:
                    gc.collect()
                    for index, path in enumerate(paths):
                        taken = _taken_seconds(read, path)
                        if turn >= 0:
                            seconds[peer.name][turn, index] = taken
                    n_done += len(paths)
                    self._on_progress(what, n_done, n_todo)
        return seconds

    def _row(self, peer: Peer, seconds: dict[str, np.ndarray], paths: Sequence[str]) -> dict[str, Any]:
        own, ours = seconds[peer.name], seconds[OURS]
        is_read = np.isfinite(own.sum(axis=0))
        is_common = is_read & np.isfinite(ours.sum(axis=0))
        total = float(np.median(own[:, is_common].sum(axis=1)))
        common = [path for path, is_in in zip(paths, is_common.tolist(), strict=True) if is_in]
        ratios = own[:, is_common].sum(axis=1) / ours[:, is_common].sum(axis=1)
        return {
            "library": peer.name,
            "version": peer.version,
            "n_files": len(paths),
            "refused": int((~is_read).sum()),
            "files_per_second": len(common) / total if common else None,
            "mb_per_second": sum(self.sizes[path] for path in common) / 1e6 / total if common else None,
            "notes_per_second": round(sum(self.notes[path] for path in common) / total) if common else None,
            "times_ours": statistics.median(ratios.tolist()) if common else None,
        }


def _taken_seconds(read: Callable[[str], Any], path: str) -> float:
    """Returns the seconds that reading takes, without letting go of what was read; not a number if it is refused."""
    started = time.process_time()
    try:
        result = read(path)
    except Exception:  # each library has errors of its own
        return float("nan")
    taken = time.process_time() - started
    del result
    return taken
