"""A port, a transport and a scheduler that belong together, and end together whatever happens."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from musegen.errors import PortError
from musegen.live.scheduler import Scheduler

_SWITCH_SECONDS = 0.0005
"""How long Python lets a thread that writes music hold up the one that sends; its usual 5 ms can be heard."""

LOOK_SECONDS = 0.05
"""How often whoever waits looks after what plays."""


class Closable(Protocol):
    """What has an end."""

    def close(self) -> None:
        """Lets go of it."""
        ...


class Session:
    """Plays while it is open. Every way out of the block sends what ends all notes, and closes the ports.

    Args:
        scheduler: what sends.
        also: what to close with it: inputs, a Link session.
        settle_seconds: how long others have, once it is open, to find a new port before anything is played: who
            connects later misses which programs the channels have, and that the clock has started.
    """

    def __init__(self, scheduler: Scheduler, *also: Closable, settle_seconds: float = 0.0):
        self.scheduler = scheduler
        self._also, self._settle_seconds = also, settle_seconds
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self.scheduler.start()
        if self._settle_seconds:
            try:
                time.sleep(self._settle_seconds)
            except BaseException as error:  # Ctrl-C comes here too
                self.__exit__(type(error), error, error.__traceback__)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with _uninterrupted(), ExitStack() as closing:  # all of it, whatever one of them fails with
            for port in (self.scheduler.port, *reversed(self._also)):
                closing.callback(port.close)
            closing.callback(sys.setswitchinterval, self._switch_interval)
            self.scheduler.close()
        if self.scheduler.error is not None and error is None:
            raise self.scheduler.error

    def status(self) -> dict[str, Any]:
        """Returns what somebody who watches wants to know."""
        scheduler, transport = self.scheduler, self.scheduler.transport
        now = scheduler.clock.now()
        line = transport.line
        rolls = transport.is_rolling(now)
        return {
            "transport": "rolling" if rolls else "stopped",
            "beat": round(line.beat_at(now) if rolls else line.beat, 2),
            "tempo": round(60.0 / line.seconds_per_beat, 2),
            "port": "open" if scheduler.port.is_open else "gone",
            "n_notes": scheduler.n_notes,
            "n_sent": scheduler.n_sent,
            "n_late": scheduler.n_late,
            "n_dropped": scheduler.n_dropped,
            "late_p99_ms": round(scheduler.lateness_ms(99)[0], 2),
        }

    def fail(self, error: BaseException) -> None:
        """Has `wait` raise this, for a thread that has nobody to raise it to."""
        self._failure = error

    def wait(self, is_over: Callable[[], bool], on_look: Callable[[], None] | None = None) -> None:
        """Waits until something is over.

        Args:
            is_over: asked twenty times a second.
            on_look: called as often.

        Raises:
            PortError: the port hangs or has gone.
            BaseException: what the scheduler or a thread of the player failed with.
        """
        while not is_over():
            if self.scheduler.hangs:
                raise PortError(f"{self.scheduler.port.name} takes no more messages: its MIDI system hangs")
            for failure in (self.scheduler.error, self._failure):
                if failure is not None:
                    raise failure
            if on_look:
                on_look()
            time.sleep(LOOK_SECONDS)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Has a second Ctrl-C or SIGTERM do nothing in the block, which ends what sounds and writes what is to be kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Has SIGTERM end the block as Ctrl-C does, with exit code 143; for the main thread."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_by_ctrl_c(is_usual: bool = True) -> Iterator[None]:
    """Ends the block on Ctrl-C and goes on behind it, where that is how it usually ends."""
    try:
        yield
    except KeyboardInterrupt:
        if not is_usual:
            raise
