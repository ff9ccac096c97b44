"""The transport of somebody else, followed by MIDI clock: 24 messages a quarter, start, continue, stop, song position.

Clocks come with jitter. A curve fitted to many of them has little of it, and is wrong for a while where the tempo
changes; one fitted to few follows at once, and trembles. Which to believe is decided anew at each clock: of curves
through more and more clocks, the longest that agrees with all shorter ones within their errors (the rule of the
intersection of confidence intervals, Goldenshluger and Nemirovski 1997).
"""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from musegen.live.clock import Clock
from musegen.live.ports import Message
from musegen.live.transport import CLOCKS_PER_BEAT, MAX_BPM, MIN_BPM, Line

_CLOCKS_PER_SIXTEENTH = CLOCKS_PER_BEAT // 4  # song position counts these
# Clocks that a curve goes through, and its degree: from the largest error of the tempo at its end to the smallest.
_CURVES = ((12, 1), (18, 1), (28, 1), (72, 2), (120, 2), (120, 1))
_WINDOW = max(n_clocks for n_clocks, _ in _CURVES)
_N_JITTER = 48  # clocks from which the jitter is told
_LEAST_JITTER_SECONDS = 5e-5
_BELIEF = 3.0  # standard errors
_LOST_CLOCKS, _MIN_LOST_SECONDS = 12, 0.5  # silence after which the clock counts as lost
_SLOWEST, _FASTEST = 60.0 / MIN_BPM / CLOCKS_PER_BEAT, 60.0 / MAX_BPM / CLOCKS_PER_BEAT


class ClockFollower:
    """A `Transport` that follows the MIDI clock which is fed to it.

    Where clocks stop coming without a stop, it counts as stopped until they come again; then it goes on from where it
    had counted to.

    Args:
        clock: whose seconds.
        bpm: the tempo until clocks tell.
    """

    leads = False

    def __init__(self, clock: Clock, bpm: float = 120.0):
        self._clock = clock
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._line = Line(0.0, clock.now(), 60.0 / bpm)
        self._place = 0  # clocks from the start of the song to the next one
        self._rolling = self._armed = False
        self._epoch, self._start_beat = 0, 0.0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def line(self) -> Line:
        return self._line

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def start_beat(self) -> float:
        return self._start_beat

    @property
    def bpm(self) -> float:
        """The tempo of now, in quarters a minute."""
        return 60.0 / self._line.seconds_per_beat

    def is_rolling(self, now: float) -> bool:
        return self._rolling and not self.is_lost(now)

    def is_lost(self, now: float) -> bool:
        """Returns whether no clock has come for so long that whoever sent it must have gone."""
        return not self._times or now - self._times[-1] > self._patience()

    def tempo_change(self, beat: float, bpm: float) -> None:
        """Lets it be: the tempo is somebody else's."""

    def listen(self, on_change: Callable[[], None]) -> None:
        self._listeners.append(on_change)

    def receive(self, message: Message, seconds: float) -> None:
        """Takes a message that came in; those that are not of the clock are left alone.

        Args:
            message: from MIDI in.
            seconds: when it came.
        """
        with self._lock:
            match message.type:
                case "clock":
                    self._take_clock(seconds)
                case "start":
                    self._place, self._armed = 0, True
                case "continue":
                    self._armed = True
                case "stop":
                    self._rolling = self._armed = False
                case "songpos":
                    self._locate(message.pos * _CLOCKS_PER_SIXTEENTH)
                case _:
                    return
        for on_change in self._listeners:
            on_change()

    def _locate(self, place: int) -> None:
        self._place = place
        self._line = Line(place / CLOCKS_PER_BEAT, self._clock.now(), self._line.seconds_per_beat)
        if self._rolling:
            self._begin()

    def _begin(self) -> None:
        self._start_beat, self._epoch = self._place / CLOCKS_PER_BEAT, self._epoch + 1

    def _take_clock(self, seconds: float) -> None:
        was_lost = self.is_lost(seconds)
        if was_lost:
            self._times.clear()
        self._times.append(seconds)
        if self._armed or (was_lost and self._rolling):
            self._armed, self._rolling = False, True
            self._begin()
        at, seconds_per_clock = self._fitted()
        self._line = Line(self._place / CLOCKS_PER_BEAT, at, seconds_per_clock * CLOCKS_PER_BEAT)
        if self._rolling:
            self._place += 1

    def _fitted(self) -> tuple[float, float]:
        """Returns when the newest clock was due by all that came lately, and the seconds from it to the next."""
        if len(self._times) >= _CURVES[0][0]:
            at, slope = _fit(np.array(self._times))
        else:
            at, slope = self._times[-1], self._line.seconds_per_beat / CLOCKS_PER_BEAT
            if len(self._times) > 2:
                slope = (at - self._times[0]) / (len(self._times) - 1)
        return at, min(max(slope, _FASTEST), _SLOWEST)

    def _patience(self) -> float:
        return max(_LOST_CLOCKS * self._line.seconds_per_beat / CLOCKS_PER_BEAT, _MIN_LOST_SECONDS)


def _weights(n_clocks: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the times of clocks are multiplied by to fit a curve: (2, n) and its standard errors, (2,).

    The rows give its value and its slope at the newest clock; errors are for jitter of one second.
    """
    place = np.arange(1 - n_clocks, 1)
    rows = np.linalg.pinv(np.vander(place, degree + 1, increasing=True))[:2]
    return rows, np.sqrt((rows**2).sum(axis=1))


_WEIGHTS = [_weights(*curve) for curve in _CURVES]


def _fit(times: np.ndarray) -> tuple[float, float]:
    """Returns the fitted time of the newest of some clocks, and the seconds from one to the next there."""
    newest = times[-1]
    jitter = np.sqrt((np.diff(times[-_N_JITTER:], 2) ** 2).mean() / 6)
    low, high = np.full(2, -np.inf), np.full(2, np.inf)
    best = np.zeros(2)
    for rows, errors in _WEIGHTS:
        n_clocks = rows.shape[1]
        if n_clocks > len(times):
            continue
        found = rows @ (times[-n_clocks:] - newest)
        reach = _BELIEF * errors * max(jitter, _LEAST_JITTER_SECONDS)
        low, high = np.maximum(low, found - reach), np.minimum(high, found + reach)
        if (low > high).any():
            break
        best = found
    return float(newest + best[0]), float(best[1])
