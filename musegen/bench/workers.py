"""Processes that each take one case after the other, and are replaced when they die or hang."""

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from musegen.errors import MusegenError

_START_SECONDS = 120  # a worker imports its libraries first, perhaps on a busy machine
_LOOK_SECONDS = 0.1
_SAID_BYTES = 4000


@dataclass(frozen=True)
class Lost:
    """What there is instead of an answer when a worker died, or was ended because it took too long.

    Args:
        reason: "hang", or how it died.
        said: the end of what it wrote to its standard error.
    """

    reason: str
    said: str


_Answers = queue.Queue[tuple[int, str | Lost] | MusegenError | None]


class Workers:
    """Sends numbers to processes, a line each, and yields the lines that they answer.

    Args:
        command: starts a worker, which takes a line of settings, says "ready", and answers each line with a line.
        settings: the first line.
        n_workers: how many at a time.
        seconds_per_case: after which a worker is ended.
    """

    def __init__(self, command: Sequence[str], settings: str, n_workers: int, seconds_per_case: float):
        self._desks = [_Desk(list(command), settings, seconds_per_case) for _ in range(n_workers)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for desk in self._desks:
            desk.close()

    def answers(self, n_cases: int) -> Iterator[tuple[int, str | Lost]]:
        """Yields the cases 0..n_cases - 1, as they are done, each with its answer or how its worker was lost.

        Raises:
            MusegenError: a worker does not start.
        """
        cases, taking, answers = iter(range(n_cases)), threading.Lock(), _Answers()
        for desk in self._desks:
            desk.open(cases, taking, answers)
        n_working = len(self._desks)
        while n_working:
            for desk in self._desks:
                desk.end_if_late()
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=_LOOK_SECONDS)
                if isinstance(answer, MusegenError):
                    raise answer
                if answer is None:
                    n_working -= 1
                else:
                    yield answer


class _Desk:
    """One worker, and the thread that serves it."""

    def __init__(self, command: list[str], settings: str, seconds_per_case: float):
        self._command, self._settings, self._seconds_per_case = command, settings, seconds_per_case
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._lock = threading.Lock()  # over what follows: the thread that looks after late workers reads it too
        self._process: subprocess.Popen[str] | None = None
        self._due_seconds: float | None = None
        self._is_late = self._is_closed = False
        self._thread: threading.Thread | None = None

    def open(self, cases: Iterator[int], taking: threading.Lock, answers: _Answers) -> None:
        """Begins to take cases."""
        self._thread = threading.Thread(target=self._work, args=(cases, taking, answers), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the worker, and waits for the thread."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                _kill(self._process)
        if self._thread is not None:
            self._thread.join()
        if self._process is not None:
            _end(self._process)
        self._said.close()

    def end_if_late(self) -> None:
        """Ends a worker whose answer is overdue; the thread that waits for it then sees the end of its output."""
        with self._lock:
            if self._due_seconds is not None and time.monotonic() > self._due_seconds and self._process is not None:
                self._is_late, self._due_seconds = True, None
                _kill(self._process)

    def _work(self, cases: Iterator[int], taking: threading.Lock, answers: _Answers) -> None:
        try:
            while not self._is_closed:
                with taking:
                    case = next(cases, None)
                if case is None:
                    break
                if self._process is None:
                    self._start()
                answers.put((case, self._asked(str(case), self._seconds_per_case)))
        except MusegenError as error:
            answers.put(error)
        finally:
            answers.put(None)

    def _start(self) -> None:
        self._said.seek(0)
        self._said.truncate()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with self._lock:
            if self._is_closed:
                return
            # In a session of its own, so that its own children end with it.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
            )
        ready = self._asked(self._settings, _START_SECONDS)
        if isinstance(ready, Lost) and not self._is_closed:
            last = (ready.said.strip().splitlines() or ["it said nothing"])[-1]
            raise MusegenError(f"a worker process does not start ({ready.reason}): {last}")

    def _asked(self, line: str, seconds: float) -> str | Lost:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return Lost("closed", "")
        with self._lock:
            self._due_seconds = time.monotonic() + seconds
        answer = ""
        with contextlib.suppress(OSError, ValueError):  # it died between two lines, or says what is no text
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        with self._lock:
            self._due_seconds = None
        return answer if answer.endswith("\n") else self._lost(process)

    def _lost(self, process: subprocess.Popen[str]) -> Lost:
        _end(process)
        reason = "hang" if self._is_late else f"the process died: {_how(process.returncode)}"
        with self._lock:
            self._process, self._is_late = None, False
        self._said.seek(0)
        return Lost(reason, self._said.read().decode(errors="replace")[-_SAID_BYTES:])


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _end(process: subprocess.Popen[str]) -> None:
    """Waits for a worker's end after it said its last, or ends it."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
    _kill(process)  # and what it may have started
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
