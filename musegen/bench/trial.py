"""One case of a fuzz run: a mutated file is read, written and read again; and the process that goes through many.

`python -m musegen.bench.trial` is a worker: it takes its settings as a line of JSON on its standard input, then the
number of a case a line, and answers each with a line of JSON. It is started by `bench.workers`.
"""

import contextlib
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musegen.bench.mutations import mutated
from musegen.bench.seeds import MIDI_SUFFIXES, Seed, built_in, of_folder
from musegen.errors import InputError, ScoreFileError
from musegen.midi.score import MAX_TICKS, Score

OK, REFUSED, CRASH = "ok", "refused", "crash"


@dataclass(frozen=True)
class Settings:
    """What makes the cases of a run, and what a worker may use.

    Args:
        seed: any whole number; case i is made from (seed, i).
        data: a folder with good files to mutate, or None for built-in ones alone.
        notation_share: of the cases, how many mutate notation instead of MIDI, 0..1.
        seconds_per_case: after which a case is a hang; reading notation gives up a little earlier.
        memory_bytes: of address space a worker may take beside what it has at its start.
    """

    seed: int = 1
    data: str | None = None
    notation_share: float = 0.01
    seconds_per_case: float = 10.0
    memory_bytes: int = 2 << 30


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Args:
        case: its number.
        status: `OK`, `REFUSED` or `CRASH`.
        kind: the reason of a refusal with numbers and names blanked, or what crashed; empty if it was read.
        seconds: how long reading, writing and reading again took.
        suffix: of the file, such as ".mid".
        detail: a traceback or the like; empty if nothing crashed.
    """

    case: int
    status: str
    kind: str
    seconds: float
    suffix: str = ""
    detail: str = ""


class Cases:
    """The files of a fuzz run: case i is always the same for the same settings and data.

    Args:
        settings: see there.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        found = of_folder(Path(settings.data)) if settings.data else []
        good: list[Seed | Path] = [*built_in(), *found]
        self._midi = [seed for seed in good if _suffix(seed) in MIDI_SUFFIXES]
        self._notation = [seed for seed in good if _suffix(seed) not in MIDI_SUFFIXES]

    def __getitem__(self, case: int) -> Seed:
        rng = random.Random(f"{self._settings.seed}:{case}")
        pool = self._notation if rng.random() < self._settings.notation_share else self._midi
        seed, other = _loaded(rng.choice(pool)), _loaded(rng.choice(pool))
        return mutated(seed, rng, [seed, other])


def _suffix(seed: Seed | Path) -> str:
    return seed.suffix.lower()


def _loaded(seed: Seed | Path) -> Seed:
    return seed if isinstance(seed, Seed) else Seed(_suffix(seed), seed.read_bytes())


# Judging --------------------------------------------------------------------------------------------------------------


def tried(case: int, seed: Seed, folder: Path) -> Outcome:
    """Reads a file; what is accepted is written as MIDI and must be the same notes when it is read again.

    Args:
        case: its number.
        seed: the file.
        folder: an empty folder for it, in which nothing else may be left.
    """
    path = folder / f"case{seed.suffix}"
    path.write_bytes(seed.data)
    started = time.perf_counter()
    status, kind, detail = _judged(path)
    seconds = time.perf_counter() - started
    path.unlink(missing_ok=True)
    left = sorted(entry.name for entry in folder.iterdir())
    if left and status != CRASH:
        status, kind, detail = CRASH, "a temporary file is left behind", ", ".join(left)
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            entry.unlink()
    return Outcome(case, status, kind, seconds, seed.suffix, detail)


def _judged(path: Path) -> tuple[str, str, str]:
    try:
        score = Score.read(path)
        kind = _round_trip(score, path.with_name("again.mid"), path.suffix not in MIDI_SUFFIXES)
    except ScoreFileError as error:
        if error.path != path or "\n" in str(error) or not str(error).startswith(f"{path}: "):
            return CRASH, "an error that does not name the file on one line", str(error)
        return REFUSED, blanked(error.reason), ""
    except Exception as error:  # whatever else it is, it is what a fuzz run looks for
        return CRASH, f"{type(error).__name__} in {_place(error)}", traceback.format_exc()
    return (CRASH, kind, "") if kind else (OK, "", "")


def _round_trip(score: Score, path: Path, is_notation: bool) -> str:
    """Returns what is wrong with a score after it was written and read again; nothing if all is well."""
    try:
        score.write(path)
        again = Score.read(path)
    except InputError as error:
        # A note may start at the last tick of a score, and its end is then too late for a MIDI file, as documented.
        return "" if score.end_ticks > MAX_TICKS else f"round trip: {blanked(str(error).removeprefix(f'{path}: '))}"
    finally:
        path.unlink(missing_ok=True)
    if not np.array_equal(_notes(score), _notes(again)):
        return "round trip: other notes"
    # Notation knows no channels, which the MIDI file then has.
    return "" if again == score or is_notation else "round trip: the same notes, but other events"


def _notes(score: Score) -> np.ndarray:
    """Returns all notes in a canonical order, with their program and whether they are drums: (n_notes, 6)."""
    parts = [
        np.stack([*t.notes.columns(), t.programs_of(t.notes.start_ticks), np.full(len(t.notes), t.is_drum)], axis=1)
        for t in score.tracks
    ]
    notes = np.concatenate([np.zeros((0, 6), np.int64), *parts])
    return notes[np.lexsort(notes.T[::-1])]


def _place(error: BaseException) -> str:
    """Names the innermost place in musegen that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}musegen{os.sep}" in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].name}"


def blanked(reason: str) -> str:
    """Returns a reason with its numbers and names blanked, so that like reasons are one kind."""
    reason = re.sub(r"""(["'])(?:\\.|(?!\1).)*\1""", "'…'", reason)
    reason = re.sub(r"\b(0x[0-9a-fA-F]+|\d[\d,]*(\.\d+)?(e[+-]?\d+)?)", "N", reason)
    return reason[:160]


# Worker ---------------------------------------------------------------------------------------------------------------


def _limit_memory(n_bytes: int) -> None:
    """Lets this process take so many bytes of address space more, where the system can say so."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        taken = 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (taken + n_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(lines: Sequence[str] | Any = sys.stdin) -> None:
    """Answers cases until its input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a library prints is not an answer.
    numbers = iter(lines)
    settings = Settings(**json.loads(next(numbers)))
    cases = Cases(settings)
    os.environ["MUSEGEN_MAX_READ_SECONDS"] = str(max(1, int(0.7 * settings.seconds_per_case)))
    warnings.simplefilter("error", RuntimeWarning)  # NumPy's word for a number that came out wrong
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tempfile.tempdir = os.environ["TMPDIR"] = name
        _limit_memory(settings.memory_bytes)
        print("ready", file=answers, flush=True)
        for number in numbers:
            outcome = tried(int(number), cases[int(number)], folder)
            print(json.dumps(asdict(outcome)), file=answers, flush=True)


if __name__ == "__main__":
    main()
