"""What a waiting user sees, on stderr and only on a terminal."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress, TaskID

# This module is loaded when the program starts: the user's wait for the first bar counts from here.
_STARTED = time.perf_counter()


class BarProgress:
    """A progress bar that counts bars of music, or nothing where stderr is no terminal.

    Args:
        what: what is being done ("Composing").
        n_bars: bars a piece.
        n_rows: pieces that are written side by side.
    """

    first_bar_seconds: float | None = None
    """From the start of the program to the first bar; None before it."""

    def __init__(self, what: str, n_bars: int, n_rows: int):
        self._what, self._total, self._done = what, n_bars * n_rows, [0] * n_rows
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress = _started("bars")
        if self._progress is not None:
            self._task = self._progress.add_task(self._what, total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _stop(self._progress, error)

    def update(self, row: int, bars_done: int) -> None:
        """Show that piece `row` (from 0) has `bars_done` bars now."""
        self._done[row] = bars_done
        if self.first_bar_seconds is None and bars_done > 0:
            self.first_bar_seconds = time.perf_counter() - _STARTED
            self._what = f"{self._what} (first bar after {self.first_bar_seconds:.1f} s)"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=sum(self._done), description=self._what)


class StageProgress:
    """A progress bar for each of several stages, which begin when they are first heard of.

    Args:
        unit: what is counted ("tokens").
    """

    def __init__(self, unit: str):
        self._unit = unit
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress = _started(self._unit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _stop(self._progress, error)

    def update(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` units of a stage are done."""
        if self._progress is None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage)
        self._progress.update(self._tasks[stage], completed=done, total=total)


class LiveLine:
    """One line about what plays or comes in, which changes in place; nothing where stderr is no terminal."""

    def __init__(self):
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=10, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def status(self, status: Mapping[str, Any]) -> None:
        """Show the state of a `live.session.Session`."""
        if self._live is None:
            return
        words = [f"{'▶' if status['transport'] == 'rolling' else '■'} beat {status['beat']:.1f}"]
        words.append(f"{status['tempo']:.1f} bpm")
        if "bars_ahead" in status:
            words.append(f"{status['bars_ahead']} bars ahead")
        words += [f"{status['n_notes']} notes", f"p99 {status['late_p99_ms']:.1f} ms late"]
        counts = {"late": status["n_late"], "dropped": status["n_dropped"], "underruns": status.get("n_underruns")}
        words += [f"{count} {what}" for what, count in counts.items() if count]
        if status["port"] != "open":
            words.append("the port has gone: waiting for it")
        self._live.update("   ".join(words))

    def messages(self, n_messages: int) -> None:
        """Show how many messages have come in."""
        if self._live is not None:
            self._live.update(f"● {n_messages} messages")


def _started(unit: str) -> "Progress | None":
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    progress.start()
    return progress


def _stop(progress: "Progress | None", error: BaseException | None) -> None:
    if progress is not None:
        progress.live.transient = error is not None  # The error's line stands alone.
        progress.stop()
