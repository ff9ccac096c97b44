"""The time of an Ableton Link session, by LinkPython (`pip install 'musegen[link]'`)."""

import math
from collections.abc import Callable
from typing import Any

from musegen.errors import InputError
from musegen.live.clock import Clock
from musegen.live.transport import Line

_JUMP_BEATS = 0.25  # a place that moves so far from one look to the next has jumped
_MICROS = 1_000_000


class LinkTransport:
    """A `Transport` that shares the beats of a Link session; its beat 0 is on the next bar line of the session.

    It rolls from the beginning on. Where somebody in the session uses start and stop, it stops and rolls with them.

    Args:
        clock: whose seconds.
        bpm: tempo of a session that begins here.
        quantum: beats a bar, on whose line everybody begins.

    Raises:
        InputError: LinkPython is not installed.
    """

    leads = False

    def __init__(self, clock: Clock, bpm: float = 120.0, quantum: float = 4.0):
        try:
            import link
        except ImportError:
            raise InputError("follow is 'link', which needs LinkPython: pip install 'musegen[link]'") from None
        self._clock, self._quantum = clock, quantum
        self._link: Any = link.Link(bpm)
        self._link.startStopSyncEnabled = True
        self._link.enabled = True
        self._origin: float | None = None  # the beat of the session at which ours begins
        self._expected: Line | None = None
        self._epoch = 0
        self._was_playing: bool | None = None
        self._rolling = True

    @property
    def n_peers(self) -> int:
        """How many others are in the session."""
        return self._link.numPeers()

    @property
    def line(self) -> Line:
        line = self._session_line()
        return line._replace(beat=line.beat - (self._origin or 0.0))

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def start_beat(self) -> float:
        return 0.0

    def _session_line(self) -> Line:
        state = self._link.captureSessionState()
        micros, now = self._link.clock().micros(), self._clock.now()
        return Line(state.beatAtTime(micros, self._quantum), now, 60.0 / state.tempo())

    def is_rolling(self, now: float) -> bool:
        is_playing = self._link.captureSessionState().isPlaying()
        if self._was_playing is not None and is_playing != self._was_playing:
            self._rolling = is_playing
            self._origin = None
        self._was_playing = is_playing
        if not self._rolling:
            return False
        line = self._session_line()
        jumped = self._expected is None or abs(self._expected.beat_at(line.seconds) - line.beat) > _JUMP_BEATS
        if self._origin is None or jumped:
            self._origin = math.ceil(line.beat / self._quantum) * self._quantum
            self._epoch += 1
        self._expected = line
        return True

    def tempo_change(self, beat: float, bpm: float) -> None:
        """Lets it be: the tempo belongs to the session."""

    def listen(self, on_change: Callable[[], None]) -> None:
        """Does nothing: the session is looked at whenever something is due."""

    def close(self) -> None:
        """Leaves the session."""
        self._link.enabled = False
