"""A score that is played: from anywhere, once or again and again."""

import bisect
import math
import threading

from musegen.errors import InputError
from musegen.live.events import Event, events_of
from musegen.live.scheduler import Scheduler
from musegen.midi.score import Score
from musegen.midi.units import bar_starts_ticks

_LOW_BEATS = 8.0  # the next pass is queued so long before it begins


class Player:
    """Queues the events of a score as its scheduler goes.

    Args:
        score: what to play, with a note at least.
        loop: begin again on the bar line after the last note.

    Raises:
        InputError: it has no notes, or more parts than a port has channels.
    """

    def __init__(self, score: Score, loop: bool = False):
        if not score.n_notes:
            raise InputError("the score has no notes: there is nothing to play")
        self._events = events_of(score)
        self._beats = [event.beat for event in self._events]
        self._loop = loop
        self.n_beats = bar_line_after(score) / score.ticks_per_quarter
        self._next_pass = 0
        self._lock = threading.Lock()

    def roll(self, scheduler: Scheduler, beat: float) -> None:
        """Queues what comes from a beat on, and before it what channels must know: for a scheduler's `on_roll`."""
        with self._lock:
            scheduler.clear()
            nth, within = divmod(beat, self.n_beats) if self._loop else (0, beat)
            first = bisect.bisect_left(self._beats, within - 1e-9)
            before = [event for event in self._events[:first] if event.message.type not in ("note_on", "note_off")]
            start = nth * self.n_beats
            scheduler.add(Event(beat, event.message) for event in _newest(before))
            scheduler.add(Event(start + event.beat, event.message) for event in self._events[first:])
            self._next_pass = int(nth) + 1

    def look(self, scheduler: Scheduler) -> None:
        """Queues the next pass when it is near."""
        if not self._loop or not scheduler.transport.is_rolling(scheduler.clock.now()):
            return
        with self._lock:
            start = self._next_pass * self.n_beats
            now = scheduler.transport.line.beat_at(scheduler.clock.now())
            if self._next_pass and start - now < _LOW_BEATS:
                scheduler.add(Event(start + event.beat, event.message) for event in self._events)
                self._next_pass += 1

    def is_over(self, scheduler: Scheduler) -> bool:
        """Returns whether all has been sent."""
        return not self._loop and self._next_pass > 0 and not scheduler.n_queued


def _newest(events: list[Event]) -> list[Event]:
    """Returns of each kind of event on each channel the last one, in order."""
    last: dict[tuple[object, ...], Event] = {}
    for event in events:
        message = event.message
        key = (
            message.type,
            getattr(message, "channel", None),
            getattr(message, "control", getattr(message, "note", None)),
        )
        last.pop(key, None)
        last[key] = event
    return list(last.values())


def bar_line_after(score: Score) -> int:
    """Returns the tick of the first bar line at or after the end of the last note."""
    end, meters = score.end_ticks, score.meters
    longest = math.ceil(4 * score.ticks_per_quarter * (meters.numerator / meters.denominator).max())
    lines = bar_starts_ticks(
        meters.start_ticks, meters.numerator, meters.denominator, score.ticks_per_quarter, end + longest + 1
    )
    return int(lines[lines >= end][0])
