"""Music that is written while it plays: bars are made ahead in a thread, and queued bar by bar.

Where the next bar is not there when it is due, the newest one is played once more, in time, and counted as an underrun:
the beat goes on, and nothing is hurried afterwards.
"""

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from musegen.errors import InputError
from musegen.live.events import Channels, Event, events_of
from musegen.live.scheduler import Scheduler
from musegen.live.session import Session
from musegen.live.transport import OwnTransport, Transport
from musegen.midi.score import Tempos
from musegen.midi.units import bpm_to_us_per_quarter
from musegen.music.grid import GridScore
from musegen.music.vocabulary import TICKS_PER_QUARTER

_LEAD_BEATS = 0.5  # a bar is queued so long before its bar line
WRITER_SECONDS = 10.0
"""How long whoever ends waits for a bar that is being written."""

_WRITER_NICENESS = 5
_EPSILON = 1e-6


def be_nice() -> None:
    """Has this thread, which writes, make room for the one that sends."""
    if sys.platform == "linux":  # there a thread may be nice by itself
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _WRITER_NICENESS)


class Writer(Protocol):
    """What writes the music: `api.streaming.Piece`, or anything like it."""

    @property
    def wishes(self) -> dict[str, Any]:
        """What is wished for now."""
        ...

    def change(self, **wishes: Any) -> None:
        """Changes what is wished for, all of it or nothing."""
        ...

    def __iter__(self) -> Iterator[GridScore]:
        """Yields bars."""
        ...


class LiveBar(NamedTuple):
    """A bar that is ready to be played.

    Args:
        events: its messages, from beat 0; notes may end beyond it.
        n_beats: its length in quarters.
    """

    events: list[Event]
    n_beats: float


class Stream:
    """Plays a piece while it is written. It implements what remote controls ask for.

    Args:
        writer: writes the bars.
        n_bars: how many to play; None for endless.
        bars_ahead: how many to write ahead of what plays, 1 to 64; a change of wishes is heard after these.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, writer: Writer, n_bars: int | None = None, bars_ahead: int = 4):
        if n_bars is not None and n_bars < 1:
            raise InputError(f"bars is {n_bars}; allowed are 1 and more")
        if not 1 <= bars_ahead <= 64:
            raise InputError(f"bars_ahead is {bars_ahead}; allowed are 1 to 64")
        self._writer, self._n_bars, self._n_ahead = writer, n_bars, bars_ahead
        self._channels = Channels()
        self._bars: deque[LiveBar] = deque()  # written, and not queued yet
        self._queued: deque[tuple[float, LiveBar]] = deque()  # queued, from which beat on
        self._next_beat: float | None = None  # the bar line of the next bar to be queued
        self._newest: LiveBar | None = None
        self._n_written = self.n_played = self.n_underruns = 0
        self._condition = threading.Condition()
        self._ending = self._has_ended = False
        self._wants_to_roll = True
        self._session: Session | None = None
        self._thread: threading.Thread | None = None

    # Writing ----------------------------------------------------------------------------------------------------------

    def open(self, session: Session) -> None:
        """Begins to write for a session, in a thread of its own."""
        self._session = session
        self._thread = threading.Thread(target=self._write, name="musegen writer", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        assert self._session is not None
        be_nice()
        try:
            for bar in self._writer:
                self.take(bar)
                with self._condition:
                    self._condition.wait_for(lambda: self._ending or self._wants_bars())
                    if self._ending:
                        return
            self._has_ended = True
        except Exception as error:  # a thread has nobody to raise to
            self._session.fail(error)

    def _wants_bars(self) -> bool:
        all_written = self._n_bars is not None and self._n_written >= self._n_bars
        return len(self._bars) < self._n_ahead and not all_written

    def take(self, bar: GridScore) -> None:
        """Takes a bar that was written.

        Raises:
            InputError: it has more parts than a port has channels.
        """
        score = bar.to_score()
        if tempo := self._writer.wishes.get("tempo"):  # exactly as wished for: bars have only levels
            score = replace(score, tempos=Tempos([0], bpm_to_us_per_quarter([tempo])))
        events = events_of(self._channels.assigned(score))
        with self._condition:
            self._bars.append(LiveBar(events, bar.n_ticks / TICKS_PER_QUARTER))
            self._n_written += 1
            self._condition.notify_all()

    @property
    def n_ready(self) -> int:
        """How many bars are written and not played yet."""
        return len(self._bars) + max(len(self._queued) - 1, 0)

    # Playing ----------------------------------------------------------------------------------------------------------

    def roll(self, scheduler: Scheduler, beat: float) -> None:
        """Begins, or goes on after a jump, at the next bar line: for a scheduler's `on_roll`."""
        with self._condition:
            scheduler.clear()
            unheard = [bar for start, bar in self._queued if start >= beat - _EPSILON]
            self._bars.extendleft(reversed(unheard))
            self.n_played -= len(unheard)
            self._queued.clear()
            n_beats = self._bars[0].n_beats if self._bars else 4.0
            self._next_beat = math.ceil(beat / n_beats - _EPSILON) * n_beats
        self.look(scheduler)

    def look(self, scheduler: Scheduler) -> None:
        """Queues the next bars when they are near, and starts its own transport when enough is written."""
        transport = scheduler.transport
        now = scheduler.clock.now()
        with self._condition:  # whoever stops it meanwhile waits, and stops it then
            if (
                isinstance(transport, OwnTransport)
                and self._wants_to_roll
                and not transport.is_rolling(now)
                and self._is_ready()
            ):
                transport.start(transport.line.beat if self.n_played else 0.0)
        if not transport.is_rolling(now):
            return
        with self._condition:
            while self._next_beat is not None and transport.line.beat_at(now) > self._next_beat - _LEAD_BEATS:
                bar = self._next_bar()
                if bar is None:
                    break
                scheduler.add(Event(self._next_beat + beat, message) for beat, message in bar.events)
                self._queued.append((self._next_beat, bar))
                self._next_beat += bar.n_beats
            while len(self._queued) > 1 and self._queued[1][0] <= transport.line.beat_at(now):
                self._queued.popleft()
            self._condition.notify_all()

    def _next_bar(self) -> LiveBar | None:
        """Returns the bar that is due, or the newest once more; None where there is neither, or all has been played."""
        if self._n_bars is not None and self.n_played >= self._n_bars:
            return None
        if self._bars:
            self._newest = self._bars.popleft()
        elif self._has_ended and self._n_bars is None:
            return None
        elif self._newest is not None:
            self.n_underruns += 1
        else:
            return None
        self.n_played += 1
        return self._newest

    def _is_ready(self) -> bool:
        """Whether it may begin; it goes on with what there is."""
        return self.n_played > 0 or (bool(self._bars) and (self._has_ended or not self._wants_bars()))

    def is_over(self, scheduler: Scheduler) -> bool:
        """Returns whether all bars have been played."""
        done = self._n_bars is not None and self.n_played >= self._n_bars
        return (done or (self._has_ended and not self._bars)) and not scheduler.n_queued

    def close(self) -> None:
        """Has the writer end after the bar that it is at, and waits for that: a program cannot end within torch."""
        with self._condition:
            self._ending = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(WRITER_SECONDS)

    # Remote control ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Plays, or goes on.

        Raises:
            InputError: somebody else's transport is followed.
        """
        self._own_transport()
        self._wants_to_roll = True

    def stop(self) -> None:
        """Is silent until `start`.

        Raises:
            InputError: somebody else's transport is followed.
        """
        transport = self._own_transport()
        with self._condition:
            self._wants_to_roll = False
            transport.stop()

    def _own_transport(self) -> OwnTransport:
        transport: Transport | None = self._session.scheduler.transport if self._session else None
        if not isinstance(transport, OwnTransport):
            raise InputError("start and stop are those of the transport that is followed; use them there")
        return transport

    def change(self, **wishes: Any) -> None:
        """Changes what is wished for: all of it, or nothing if one of the values is not usable.

        Args:
            **wishes: those of the writer, and "bars": how many to play in all, None for endless.

        Raises:
            InputError: a value is not usable, or there is no such wish.
        """
        n_bars = wishes.pop("bars", self._n_bars)
        if n_bars is not None and (not isinstance(n_bars, int) or n_bars < 1):
            raise InputError(f"bars is {n_bars!r}; allowed are 1 and more, or none for endless")
        if wishes:
            self._writer.change(**wishes)
        with self._condition:
            self._n_bars = n_bars
            self._condition.notify_all()

    def status(self) -> dict[str, Any]:
        """Returns what plays, how far ahead it is written, and what is wished for."""
        status = self._session.status() if self._session else {}
        own = {"bars_ahead": self.n_ready, "n_bars": self.n_played, "n_underruns": self.n_underruns}
        return status | own | {"bars": self._n_bars, "wishes": self._writer.wishes}
