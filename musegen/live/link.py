"""The time of an Ableton Link session, by LinkPython (`pip install 'musegen[link]'`)."""

import math
from typing import Any

from musegen.errors import InputError
from musegen.live.clock import Clock
from musegen.live.looking import LookedAt
from musegen.live.transport import Line


class LinkTransport(LookedAt):
    """A `Transport` that shares the beats of a Link session; its beat 0 is on the next bar line of the session.

    It rolls from the beginning on. Where somebody in the session uses start and stop, it stops and rolls with them.

    Args:
        clock: whose seconds.
        bpm: tempo of a session that begins here.
        quantum: beats a bar, on whose line everybody begins.

    Raises:
        InputError: LinkPython is not installed.
    """

    def __init__(self, clock: Clock, bpm: float = 120.0, quantum: float = 4.0):
        super().__init__()
        try:
            import link
        except ImportError:
            raise InputError("follow is 'link', which needs LinkPython: pip install 'musegen[link]'") from None
        self._clock, self._quantum = clock, quantum
        self._link: Any = link.Link(bpm)
        self._link.startStopSyncEnabled = True
        self._link.enabled = True
        self._origin: float | None = None  # the beat of the session at which ours begins
        self._was_playing: bool | None = None
        self._rolling = True

    def look(self) -> tuple[bool, Line]:
        state = self._link.captureSessionState()
        beat = state.beatAtTime(self._link.clock().micros(), self._quantum)
        is_playing = state.isPlaying()
        if self._was_playing is not None and is_playing != self._was_playing:
            self._rolling, self._origin = is_playing, None
        self._was_playing = is_playing
        if self._origin is None:
            self._origin = math.ceil(beat / self._quantum) * self._quantum
        return self._rolling, Line(beat - self._origin, self._clock.now(), 60.0 / state.tempo())

    @property
    def start_beat(self) -> float:
        return max(self._start_beat, 0.0)  # it begins to look before its first bar line

    def close(self) -> None:
        """Leaves the session."""
        self._link.enabled = False
