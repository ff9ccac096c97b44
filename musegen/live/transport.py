"""Where the music is: the relation of beats and seconds while a transport rolls.

A beat is a quarter note, counted from the start of the song; seconds are those of a `Clock`. `OwnTransport` is musegen
keeping time itself; `following.ClockFollower` takes the time from MIDI clock.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from musegen.errors import InputError
from musegen.live.clock import Clock

CLOCKS_PER_BEAT = 24
"""Messages of MIDI clock in a quarter note."""

MIN_BPM, MAX_BPM = 10.0, 640.0


class Line(NamedTuple):
    """Beats against seconds as a straight line, through one point: what holds now.

    Args:
        beat, seconds: the point.
        seconds_per_beat: the slope.
    """

    beat: float
    seconds: float
    seconds_per_beat: float

    def seconds_at(self, beat: float) -> float:
        """Returns when a beat comes."""
        return self.seconds + (beat - self.beat) * self.seconds_per_beat

    def beat_at(self, seconds: float) -> float:
        """Returns the beat, with its fraction, at a time."""
        return self.beat + (seconds - self.seconds) / self.seconds_per_beat


class Transport(Protocol):
    """What the scheduler asks of whoever keeps the time. All of it may be called from any thread."""

    @property
    def line(self) -> Line:
        """Beats against seconds as they are now; while nothing rolls, the place where it would go on."""
        ...

    @property
    def epoch(self) -> int:
        """A number that changes whenever rolling begins or the place jumps."""
        ...

    @property
    def start_beat(self) -> float:
        """The beat at which that was."""
        ...

    @property
    def leads(self) -> bool:
        """Whether tempo changes of the music set the tempo here."""
        ...

    def is_rolling(self, now: float) -> bool:
        """Returns whether beats go by at this time."""
        ...

    def tempo_change(self, beat: float, bpm: float) -> None:
        """Takes a tempo change that the music has at a beat; who follows somebody else lets it be."""
        ...

    def listen(self, on_change: Callable[[], None]) -> None:
        """Has a function called after each change."""
        ...


class OwnTransport:
    """musegen's own time: starts, stops and changes its tempo when told to.

    Args:
        clock: whose seconds.
        bpm: quarters a minute, 10 to 640.
        leads: whether tempo changes of the music change it; False keeps `bpm`.
        lead_in_seconds: from a start until its beat, for messages that are to be sent so much before theirs.

    Raises:
        InputError: the tempo is out of its range.
    """

    def __init__(self, clock: Clock, bpm: float = 120.0, leads: bool = True, lead_in_seconds: float = 0.0):
        self._clock, self._leads, self._lead_in = clock, leads, lead_in_seconds
        self._line = Line(0.0, clock.now(), 60.0 / checked_bpm(bpm))
        self._epoch, self._start_beat, self._rolling = 0, 0.0, False
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
    def leads(self) -> bool:
        return self._leads

    def is_rolling(self, now: float) -> bool:
        return self._rolling

    def start(self, beat: float = 0.0) -> None:
        """Rolls from a beat on, after the lead-in."""
        with self._lock:
            self._line = Line(beat, self._clock.now() + self._lead_in, self._line.seconds_per_beat)
            self._start_beat, self._rolling, self._epoch = beat, True, self._epoch + 1
        self._changed()

    def stop(self) -> None:
        """Stops here."""
        with self._lock:
            now = self._clock.now()
            if self._rolling:
                self._line = Line(self._line.beat_at(now), now, self._line.seconds_per_beat)
            self._rolling = False
        self._changed()

    def tempo_change(self, beat: float, bpm: float) -> None:
        if self._leads:
            self.set_bpm(min(max(bpm, MIN_BPM), MAX_BPM), beat)

    def set_bpm(self, bpm: float, beat: float | None = None) -> None:
        """Changes the tempo at a beat, None for the one that is now."""
        bpm = checked_bpm(bpm)
        with self._lock:
            if not self._rolling:
                self._line = self._line._replace(seconds_per_beat=60.0 / bpm)
            else:
                beat = self._line.beat_at(self._clock.now()) if beat is None else beat
                self._line = Line(beat, self._line.seconds_at(beat), 60.0 / bpm)
        self._changed()

    def listen(self, on_change: Callable[[], None]) -> None:
        self._listeners.append(on_change)

    def _changed(self) -> None:
        for on_change in self._listeners:
            on_change()


def checked_bpm(bpm: float) -> float:
    """Returns a tempo that is in the range of what can be played.

    Raises:
        InputError: it is not.
    """
    if not MIN_BPM <= bpm <= MAX_BPM:  # nan is refused too
        raise InputError(f"tempo is {bpm}; allowed are {MIN_BPM:g} to {MAX_BPM:g} quarters a minute")
    return float(bpm)
