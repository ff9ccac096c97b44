"""The time that live playing goes by, injected so that tests and simulations bring their own."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only ever grow, from an origin of its own."""

    def now(self) -> float:
        """Returns the time in seconds."""
        ...

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Waits until the condition, whose lock is held, is notified, at most so many seconds."""
        ...


class SystemClock:
    """The computer's own monotonic clock."""

    def now(self) -> float:
        return time.perf_counter()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(seconds)


class SimulatedClock:
    """A clock that stands still until it is told to go on: hours pass in as long as the work in them takes.

    Args:
        seconds: where it starts.
    """

    def __init__(self, seconds: float = 0.0):
        self._seconds = seconds

    def now(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Goes on by so many seconds, 0 or more."""
        self._seconds += max(seconds, 0.0)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        self.advance(seconds)
