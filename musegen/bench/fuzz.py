"""`musegen bench fuzz`: damaged files by the thousand. Each must be read, or refused with a reason."""

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musegen.bench.trial import CRASH, REFUSED, Cases, Outcome, Settings
from musegen.bench.workers import Lost, Workers
from musegen.errors import InputError

OnProgress = Callable[[str, int, int], None]
_COMMAND = (sys.executable, "-X", "faulthandler", "-m", "musegen.bench.trial")


def fuzz(
    n_cases: int,
    settings: Settings,
    *,
    keep: Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Mutates good files, reads each in a worker process, and reports what was read, refused and crashed.

    A crash is an error that is no ScoreFileError, a dead process, a hang, memory over the limit, a temporary file that
    stays, or a score that is not the same after it was written and read again.

    Args:
        n_cases: how many.
        settings: what makes the cases.
        keep: folder for the files that crashed, each with its traceback; it is made when there are any.
        on_progress: called with what is done, how many cases, and of how many.

    Returns:
        Counts, refusals by their reason (numbers and names blanked), the crashes, and the slowest case.

    Raises:
        InputError: a number is out of its range, or there is no such folder.
        MusegenError: the worker processes do not start.
    """
    _check(n_cases, settings)
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    with Workers(_COMMAND, json.dumps(asdict(settings)), _n_cores(), settings.seconds_per_case) as workers:
        for case, answer in workers.answers(n_cases):
            outcomes.append(_lost(case, answer) if isinstance(answer, Lost) else _answered(answer))
            if on_progress:
                on_progress("Fuzzing", len(outcomes), n_cases)
    outcomes.sort(key=lambda outcome: outcome.case)
    crashes = [outcome for outcome in outcomes if outcome.status == CRASH]
    if keep is not None:
        cases = Cases(settings)
        for outcome in crashes:
            _keep(keep, outcome, cases)
    return _report(outcomes, settings, time.perf_counter() - started)


def _check(n_cases: int, settings: Settings) -> None:
    if n_cases < 1:
        raise InputError(f"cases must be 1 or more, got {n_cases}")
    if not 0 <= settings.notation_share <= 1:
        raise InputError(f"notation_share must be 0..1, got {settings.notation_share}")
    if not settings.seconds_per_case > 0:
        raise InputError(f"seconds_per_case must be above 0, got {settings.seconds_per_case}")
    if settings.data is not None and not Path(settings.data).is_dir():
        raise InputError(f"data is {settings.data}, which is not a folder")


def _lost(case: int, lost: Lost) -> Outcome:
    return Outcome(case, CRASH, lost.reason, 0.0, detail=lost.said)


def _answered(line: str) -> Outcome:
    return Outcome(**json.loads(line))


def _keep(folder: Path, outcome: Outcome, cases: Cases) -> None:
    seed = cases[outcome.case]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"case-{outcome.case}{seed.suffix}").write_bytes(seed.data)
    (folder / f"case-{outcome.case}.txt").write_text(f"{outcome.kind}\n{outcome.detail}\n", encoding="utf-8")


def _report(outcomes: list[Outcome], settings: Settings, seconds: float) -> dict[str, Any]:
    refused = Counter(outcome.kind for outcome in outcomes if outcome.status == REFUSED)
    crashes = [outcome for outcome in outcomes if outcome.status == CRASH]
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    return {
        "seed": settings.seed,
        "cases": len(outcomes),
        "read": len(outcomes) - refused.total() - len(crashes),
        "refused": refused.total(),
        "crashes": len(crashes),
        "seconds": round(seconds, 1),
        "slowest": {"case": slowest.case, "seconds": round(slowest.seconds, 3), "suffix": slowest.suffix},
        "refused_by_reason": [{"files": count, "reason": reason} for reason, count in refused.most_common()],
        "crashed": [
            {"case": o.case, "suffix": o.suffix, "kind": o.kind, "detail": o.detail.strip()[-2000:]} for o in crashes
        ],
    }


def _n_cores() -> int:
    """Returns how many cores this process may use."""
    with contextlib.suppress(AttributeError):  # not everywhere can a process be bound to cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
