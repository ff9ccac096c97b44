"""Playing together: what comes in is answered on the bar line, carried on, or has voices set under it at once.

Nothing that comes in is sent on: the player's own sound is the studio's matter.
"""

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

import mido
import numpy as np

from musegen.errors import InputError
from musegen.live.events import Channels, Event, events_of
from musegen.live.ports import Message
from musegen.live.scheduler import Scheduler
from musegen.live.session import Session
from musegen.live.stream import WRITER_SECONDS, be_nice
from musegen.live.transport import Line, OwnTransport
from musegen.midi.score import Meters, Notes, Score, Tempos, Track
from musegen.midi.units import bpm_to_us_per_quarter
from musegen.music.grid import GridScore
from musegen.music.vocabulary import TICKS_PER_QUARTER

Mode = Literal["answer", "continue", "harmonize"]
MODES = ("answer", "continue", "harmonize")

_CHORD_SECONDS = 0.012  # notes that come within this are one chord
_THINK_SECONDS = 0.75  # before the bar line an answer is begun
_TICKS_PER_QUARTER = 480

Continues = Callable[[Score], Iterable[GridScore]]
"""Goes on from a phrase: yields bars, which `api.streaming.Piece` does."""


class Partner(Protocol):
    """Who plays with the one who plays."""

    def open(self, session: Session) -> None:
        """Begins to play on a session."""
        ...

    def receive(self, message: Message, seconds: float) -> None:
        """Takes what comes in, in the port's thread."""
        ...

    def look(self, scheduler: Scheduler) -> None:
        """Is called twenty times a second."""
        ...

    def close(self) -> None:
        """Ends what it has begun, and waits for that."""
        ...


class Voices(Protocol):
    """Who sets voices under a chord: `music.accompanying.Accompanist`."""

    def add(self, pitches: list[int]) -> list[int]:
        """Returns the pitches to sound with those that are held."""
        ...


class Harmonizer:
    """Sets voices under each note or chord as soon as it is played, for as long as it is held.

    Args:
        voices: who chooses them.

    Attributes:
        answer_seconds: how long each answer took, from the first note of a chord to the last note sent; the newest.
    """

    def __init__(self, voices: Voices):
        self._voices = voices
        self._came: queue.SimpleQueue[tuple[Message, float] | None] = queue.SimpleQueue()
        self._held: dict[tuple[int, int], int] = {}  # (channel, pitch) -> velocity
        self._sounding: list[tuple[int, int]] = []
        self._session: Session | None = None
        self._thread: threading.Thread | None = None
        self.answer_seconds: list[float] = []

    def open(self, session: Session) -> None:
        """Begins to answer, in a thread of its own."""
        self._session = session
        self._thread = threading.Thread(target=self._answer_all, name="musegen harmonizer", daemon=True)
        self._thread.start()

    def receive(self, message: Message, seconds: float) -> None:
        if message.type in ("note_on", "note_off"):
            self._came.put((message, seconds))

    def look(self, scheduler: Scheduler) -> None:
        """Starts its transport, in whose time voices are sent."""
        transport = scheduler.transport
        if isinstance(transport, OwnTransport) and not transport.is_rolling(scheduler.clock.now()):
            transport.start()

    def close(self) -> None:
        self._came.put(None)
        if self._thread is not None:
            self._thread.join(WRITER_SECONDS)

    def _answer_all(self) -> None:
        assert self._session is not None
        try:
            while (came := self._came.get()) is not None:
                if self._take(came[0]):
                    self._rest_of_chord(came[1])
                    self._answer(came[1])
                elif not self._held:
                    self._send([])
        except Exception as error:  # a thread has nobody to raise to
            self._session.fail(error)

    def _take(self, message: Message) -> bool:
        """Takes a message, and returns whether a note begins."""
        key = (message.channel, message.note)
        begins = message.type == "note_on" and message.velocity > 0
        if begins:
            self._held[key] = message.velocity
        else:
            self._held.pop(key, None)
        return begins

    def _rest_of_chord(self, since: float) -> None:
        """Takes what belongs to the chord that has begun."""
        assert self._session is not None
        clock = self._session.scheduler.clock
        while (left := since + _CHORD_SECONDS - clock.now()) > 0:
            try:
                came = self._came.get(timeout=left)
            except queue.Empty:
                return
            if came is None:
                self._came.put(None)
                return
            self._take(came[0])

    def _answer(self, since: float) -> None:
        assert self._session is not None
        if not self._held:  # let go before it was a chord
            self._send([])
            return
        channel, _ = max(self._held, key=lambda key: key[1])
        velocity = max(self._held.values())
        found = self._voices.add([pitch for _, pitch in self._held])
        self._send([(channel, pitch) for pitch in found], velocity)
        self.answer_seconds = [*self.answer_seconds[-999:], self._session.scheduler.clock.now() - since]

    def _send(self, notes: list[tuple[int, int]], velocity: int = 64) -> None:
        """Ends the voices that sound, and begins others."""
        assert self._session is not None
        scheduler = self._session.scheduler
        now = scheduler.transport.line.beat_at(scheduler.clock.now())
        ends = [mido.Message("note_off", channel=channel, note=pitch) for channel, pitch in self._sounding]
        ons = [mido.Message("note_on", channel=channel, note=pitch, velocity=velocity) for channel, pitch in notes]
        self._sounding = notes
        scheduler.add(Event(now, message) for message in ends + ons)


class Phrase:
    """What was played, as a score: notes with the beats at which they began and ended."""

    def __init__(self):
        self._open: dict[tuple[int, int], tuple[float, int]] = {}
        self._notes: list[tuple[float, float, int, int]] = []  # from beat, to beat, pitch, velocity

    def take(self, message: Message, beat: float) -> None:
        """Takes a note's beginning or end."""
        key = (message.channel, message.note)
        if key in self._open:
            start, velocity = self._open.pop(key)
            self._notes.append((start, beat, message.note, velocity))
        if message.type == "note_on" and message.velocity:
            self._open[key] = (beat, message.velocity)

    @property
    def last_beat(self) -> float | None:
        """When a note last sounded; None if none has."""
        ends = [end for _, end, _, _ in self._notes] + [start for start, _ in self._open.values()]
        return max(ends, default=None)

    @property
    def is_held(self) -> bool:
        """Whether a key is down."""
        return bool(self._open)

    def score(self, start: float, end: float, meter: tuple[int, int], bpm: float, program: int = 0) -> Score | None:
        """Returns what began from one beat to another, cut off there; None if nothing did."""
        held = [(begun, end, pitch, velocity) for (_, pitch), (begun, velocity) in self._open.items()]
        rows = sorted(note for note in [*self._notes, *held] if start <= note[0] < end)
        if not rows:
            return None
        begins, ends, pitches, velocities = (np.array(column) for column in zip(*rows, strict=True))
        at = np.rint((begins - start) * _TICKS_PER_QUARTER).astype(np.int64)
        until = np.rint((np.minimum(ends, end) - start) * _TICKS_PER_QUARTER).astype(np.int64)
        track = Track("phrase", program, False, Notes(at, np.maximum(until - at, 1), pitches, velocities))
        tempos = Tempos([0], bpm_to_us_per_quarter([bpm]))
        return Score(_TICKS_PER_QUARTER, (track,), tempos, Meters([0], [meter[0]], [meter[1]]))

    def forget(self, before: float) -> None:
        """Forgets notes that ended before a beat."""
        self._notes = [note for note in self._notes if note[1] >= before]


class Answerer:
    """Answers phrases on the bar line.

    In the mode "answer" phrases and answers of so many bars take turns. In the mode "continue" it goes on where the
    player has been silent for a bar, and is silent as soon as the player plays again.

    Bars are counted from the start of the transport that is followed; its own starts with the first note.

    Args:
        continues: goes on from a phrase.
        mode: "answer" or "continue".
        n_bars: bars of a phrase and of its answer, 1 to 64.
        meter: of the bars, such as (4, 4).

    Raises:
        InputError: an argument is out of its range.

    Attributes:
        n_answers: answers that were begun.
        n_late: answers whose first bar came too late for its bar line, and was played on the next one.
    """

    def __init__(self, continues: Continues, mode: str = "answer", n_bars: int = 2, meter: tuple[int, int] = (4, 4)):
        if not 1 <= n_bars <= 64:
            raise InputError(f"bars is {n_bars}; allowed are 1 to 64")
        self._continues, self._mode, self._n_bars, self._meter = continues, mode, n_bars, meter
        self._bar_beats = 4 * meter[0] / meter[1]
        self._phrase = Phrase()
        self._channels = Channels()
        self._answering: _Answer | None = None
        self._threads: list[threading.Thread] = []  # of answers, until they have ended
        self._heard_until = 0.0  # what began before this beat has been answered
        self._lock = threading.Lock()
        self._session: Session | None = None
        self.n_answers = self.n_late = 0

    def open(self, session: Session) -> None:
        """Begins to listen."""
        self._session = session

    def receive(self, message: Message, seconds: float) -> None:
        if self._session is None or message.type not in ("note_on", "note_off"):
            return
        scheduler = self._session.scheduler
        transport = scheduler.transport
        begins = message.type == "note_on" and message.velocity > 0
        with self._lock:
            if isinstance(transport, OwnTransport) and not transport.is_rolling(seconds):
                if not begins:
                    return
                self._phrase, self._heard_until = Phrase(), 0.0
                transport.start()
            self._phrase.take(message, max(transport.line.beat_at(seconds), 0.0))
        if begins and self._mode == "continue":
            self._hush(scheduler)

    def roll(self, scheduler: Scheduler, beat: float) -> None:
        """Forgets what was played elsewhere: for a scheduler's `on_roll`."""
        self._hush(scheduler)
        with self._lock:
            if beat:
                self._phrase = Phrase()
            self._heard_until = beat

    def look(self, scheduler: Scheduler) -> None:
        """Begins an answer when its bar line is near."""
        now = scheduler.clock.now()
        if not scheduler.transport.is_rolling(now):
            return
        line = scheduler.transport.line
        beat = line.beat_at(now)
        if self._answering is not None and beat > self._answering.end_beat:
            self._answering = None
        if self._answering is None and (start := self._due(beat, line)) is not None:
            self._begin(scheduler, start, line)

    def _due(self, beat: float, line: Line) -> float | None:
        """Returns the bar line for which an answer is to be begun now."""
        think = _THINK_SECONDS / line.seconds_per_beat
        if self._mode == "answer":
            length = self._n_bars * self._bar_beats
            start = (math.floor(beat / length) + 1) * length
            return start if start - beat <= think else None
        with self._lock:
            last = None if self._phrase.is_held else self._phrase.last_beat
        if last is None or last < self._heard_until or beat - last < self._bar_beats - think:
            return None
        return math.ceil((beat + think / 2) / self._bar_beats) * self._bar_beats

    def _begin(self, scheduler: Scheduler, start: float, line: Line) -> None:
        length = self._n_bars * self._bar_beats
        bpm = min(max(60 / line.seconds_per_beat, 10), 640)
        with self._lock:
            first = max(start - length, self._heard_until) if self._mode == "answer" else self._heard_until
            first = math.floor(first / self._bar_beats + 1e-6) * self._bar_beats
            phrase = self._phrase.score(first, start, self._meter, bpm)
            if phrase is None:
                return
            self._heard_until = start + (length if self._mode == "answer" else 0)
            self._phrase.forget(start)
        n_bars = self._n_bars if self._mode == "answer" else None
        self._answering = _Answer(self, scheduler, phrase, start, n_bars)
        self._threads = [thread for thread in self._threads if thread.is_alive()] + [self._answering.thread]

    def _hush(self, scheduler: Scheduler) -> None:
        if self._answering is not None:
            self._answering.end()
            self._answering = None
            scheduler.clear()

    def close(self) -> None:
        if self._answering is not None:
            self._answering.end()
        for thread in self._threads:
            thread.join(WRITER_SECONDS)


class _Answer:
    """One answer, written in a thread of its own and queued bar by bar.

    Attributes:
        end_beat: the bar line on which it ends, infinite if it goes on.
        queued_until: the bar line up to which it is queued.
    """

    def __init__(self, of: Answerer, scheduler: Scheduler, phrase: Score, start: float, n_bars: int | None):
        self._of, self._scheduler, self._phrase = of, scheduler, phrase
        self._n_bars = n_bars
        self._ended = threading.Event()
        self._adding = threading.Lock()
        self.queued_until = start
        self.end_beat = math.inf if n_bars is None else start + n_bars * of._bar_beats
        of.n_answers += 1
        self.thread = threading.Thread(target=self._write, name="musegen answer", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Writes and queues no more, from now on."""
        with self._adding:
            self._ended.set()

    def _write(self) -> None:
        be_nice()
        try:
            for nth, bar in enumerate(self._bars()):
                while self._is_far_ahead() and not self._ended.wait(0.05):
                    pass
                with self._adding:
                    if self._ended.is_set():
                        return
                    start = self._in_time(self.queued_until, nth)
                    events = events_of(self._of._channels.assigned(bar.to_score()), start)
                    self._scheduler.add(event for event in events if not event.message.is_meta)
                    self.queued_until = start + bar.n_ticks / TICKS_PER_QUARTER
        except Exception as error:  # a thread has nobody to raise to
            assert self._of._session is not None
            self._of._session.fail(error)

    def _bars(self) -> Iterator[GridScore]:
        for nth, bar in enumerate(self._of._continues(self._phrase)):
            if nth == self._n_bars:
                return
            yield bar
            if nth + 1 == self._n_bars:
                return

    def _is_far_ahead(self) -> bool:
        """Returns whether there is time: two bars are queued, or nobody plays."""
        rolls = self._scheduler.transport.is_rolling(self._scheduler.clock.now())
        return not rolls or self.queued_until - self._now() > 2 * self._of._bar_beats

    def _now(self) -> float:
        return self._scheduler.transport.line.beat_at(self._scheduler.clock.now())

    def _in_time(self, beat: float, nth: int) -> float:
        """Returns the bar line on which a bar can still begin."""
        late = self._now() - beat
        if late <= 0:
            return beat
        self._of.n_late += nth == 0
        moved = math.ceil(late / self._of._bar_beats) * self._of._bar_beats
        self.end_beat += moved
        return beat + moved
