"""Sends messages when their beats come, and never leaves a note sounding.

A thread waits for the next message's deadline: the time that the transport now gives for its beat, computed anew
whenever the transport changes. Deadlines are absolute, so lateness does not add up.
"""

import heapq
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mido
import numpy as np

from musegen.errors import MusegenError
from musegen.live.clock import Clock, SystemClock
from musegen.live.events import Event
from musegen.live.ports import Message, OutPort
from musegen.live.transport import CLOCKS_PER_BEAT, Transport

_HEARTBEAT_SECONDS = 0.1  # the longest wait: whether a followed clock is lost shows only by looking
_TOO_LATE_SECONDS = 0.25  # a note that comes later than this is wrong: it is dropped, and counted
_EPSILON = 1e-6  # beats
_LATE_SECONDS = 0.01  # what comes later than this is counted as late
_HANGS_SECONDS = 1.0
_N_REMEMBERED = 1 << 14  # messages whose lateness is remembered
_PEDAL, _ALL_SOUND_OFF, _ALL_NOTES_OFF = 64, 120, 123


@dataclass(frozen=True)
class Sent:
    """A message that was sent.

    Args:
        message: what was sent.
        intended: when it was due, in seconds of the clock.
        actual: when it was handed to the port.
    """

    message: Message
    intended: float
    actual: float


class Receiver:
    """What a receiver holds after what was sent to it: notes, pedals, programs, channels that were used."""

    def __init__(self, programs: Mapping[int, Message] | None = None):
        self._notes: Counter[tuple[int, int]] = Counter()
        self._pedals: set[int] = set()
        self._channels: set[int] = set()
        self.programs = dict(programs or {})

    def take(self, message: Message) -> None:
        """Notes a message that is sent."""
        if not hasattr(message, "channel"):
            return
        self._channels.add(message.channel)
        if message.type == "note_on" and message.velocity:
            self._notes[message.channel, message.note] += 1
        elif message.type in ("note_on", "note_off"):
            self._notes[message.channel, message.note] -= 1
            if self._notes[message.channel, message.note] <= 0:
                del self._notes[message.channel, message.note]
        elif message.type == "program_change":
            self.programs[message.channel] = message
        elif message.type == "control_change" and message.control == _PEDAL:
            (self._pedals.add if message.value >= 64 else self._pedals.discard)(message.channel)

    def sounds(self, message: Message) -> bool:
        """Returns whether the note that a message ends is held."""
        return (message.channel, message.note) in self._notes

    def ends(self) -> list[Message]:
        """Returns what ends everything: note-offs, pedals up, all notes off and all sound off."""
        notes = [
            mido.Message("note_off", channel=channel, note=note)
            for (channel, note), count in sorted(self._notes.items())
            for _ in range(count)
        ]
        controls = [(channel, _PEDAL) for channel in sorted(self._pedals)]
        controls += [(channel, end) for channel in sorted(self._channels) for end in (_ALL_NOTES_OFF, _ALL_SOUND_OFF)]
        return notes + [mido.Message("control_change", channel=channel, control=end) for channel, end in controls]


class Scheduler:
    """Plays events on a port in the time of a transport.

    It runs in its own thread from `start` to `close`; a simulation calls `turn` instead.

    Args:
        port: where messages go.
        transport: whose beats.
        clock: whose seconds; the transport's.
        latency_seconds: messages are sent so much before their beat, for receivers that sound late.
        sends_clock: send MIDI clock, start, continue, stop and song position as the transport goes.
        on_sent: called with each message, in the scheduler's thread.
        on_roll: called with the beat whenever rolling begins or the place jumps, before anything is sent there.
        on_stop: called when rolling ends.
    """

    def __init__(
        self,
        port: OutPort,
        transport: Transport,
        clock: Clock | None = None,
        *,
        latency_seconds: float = 0.0,
        sends_clock: bool = False,
        on_sent: Callable[[Sent], None] | None = None,
        on_roll: Callable[[float], None] | None = None,
        on_stop: Callable[[], None] | None = None,
    ):
        self.port, self.transport, self.clock = port, transport, clock or SystemClock()
        self._latency, self._sends_clock = latency_seconds, sends_clock
        self._on_sent, self.on_roll, self._on_stop = on_sent, on_roll, on_stop
        self._queue: list[tuple[float, int, Any]] = []
        self._n_added = 0
        self._condition = threading.Condition()
        self._changed = False
        self._closing = self._silence_first = False
        self._thread: threading.Thread | None = None
        self._epoch: int | None = None  # of the transport, when it was last seen rolling
        self._next_clock = 0
        self._receiver = Receiver()
        self._was_open = True
        self._sending_since: float | None = None
        self._lateness = np.zeros(_N_REMEMBERED)
        self.n_sent = self.n_notes = self.n_dropped = self.n_late = 0
        self.error: BaseException | None = None
        transport.listen(self._wake)

    # What is to be played ------------------------------------------------------------------------------------------

    def add(self, events: Iterable[Event]) -> None:
        """Queues events; those of one beat keep their order."""
        with self._condition:
            for beat, message in events:
                heapq.heappush(self._queue, (beat, self._n_added, message))
                self._n_added += 1
            self._changed = True
            self._condition.notify()

    def clear(self) -> None:
        """Forgets what is queued, and ends what sounds before anything else is sent."""
        is_sender = self._thread in (None, threading.current_thread())
        with self._condition:
            self._queue.clear()
            self._silence_first, self._changed = not is_sender, True
            self._condition.notify()
        if is_sender:
            self.silence()

    @property
    def n_queued(self) -> int:
        """How many events wait."""
        return len(self._queue)

    # Time -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to send, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="musegen scheduler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._closing:
                seconds = self.turn()
                with self._condition:
                    if not self._changed and not self._closing:
                        self.clock.wait(self._condition, min(seconds, _HEARTBEAT_SECONDS))
                    self._changed = False
        except Exception as error:  # told to whoever waits: a thread has nobody to raise to
            self.error = error

    def turn(self) -> float:
        """Sends all that is due; returns the seconds until the next message is, infinite if none is known."""
        if self._silence_first:
            self._silence_first = False
            self.silence()
        now = self.clock.now()
        if not self.transport.is_rolling(now):
            self._rest()
            return float("inf")
        if self.transport.epoch != self._epoch:
            self._roll()
        while not self._closing:
            line = self.transport.line
            beat, is_clock = self._next()
            if beat is None:
                return float("inf")
            intended = line.seconds_at(beat) - self._latency
            if intended > (now := self.clock.now()):
                return intended - now
            if is_clock:
                self._next_clock += 1
                self._send(mido.Message("clock"), intended)
            elif (message := self._take(beat)) is not None:
                self._play(beat, message, intended)
        return 0.0

    def _roll(self) -> None:
        """Starts, or goes on somewhere else."""
        if self._epoch is not None:
            self.silence()
        beat = self.transport.start_beat
        self._epoch = self.transport.epoch
        if self._sends_clock:
            # A song position counts sixteenths: who follows begins on the next one, with the first clock.
            sixteenth = math.ceil(4 * beat - _EPSILON)
            self._next_clock = sixteenth * CLOCKS_PER_BEAT // 4
            if sixteenth:
                self._send(mido.Message("songpos", pos=min(sixteenth, 16383)), self.clock.now())
            self._send(mido.Message("continue" if sixteenth else "start"), self.clock.now())
        if self.on_roll:
            self.on_roll(beat)

    def _rest(self) -> None:
        """Is silent, once, when the transport has stopped."""
        if self._epoch is None:
            return
        self._epoch = None
        self.silence()
        if self._sends_clock:
            self._send(mido.Message("stop"), self.clock.now())
        if self._on_stop:
            self._on_stop()

    def _next(self) -> tuple[float | None, bool]:
        """Returns the beat of what comes next, and whether it is a message of the clock."""
        with self._condition:
            beat = self._queue[0][0] if self._queue else None
        clock = self._next_clock / CLOCKS_PER_BEAT if self._sends_clock else None
        if clock is not None and (beat is None or clock <= beat):
            return clock, True
        return beat, False

    def _take(self, beat: float) -> Any:
        """Returns the first message of the queue, or None if there is none any more at this beat."""
        with self._condition:
            return heapq.heappop(self._queue)[2] if self._queue and self._queue[0][0] == beat else None

    # Sending --------------------------------------------------------------------------------------------------------

    def _play(self, beat: float, message: Any, intended: float) -> None:
        if message.is_meta:
            self.transport.tempo_change(beat, mido.tempo2bpm(message.tempo))
            return
        is_end = message.type == "note_off" or (message.type == "note_on" and not message.velocity)
        if is_end and not self._receiver.sounds(message):
            return  # its beginning was dropped, or it was silenced
        if message.type == "note_on" and not is_end:
            # What was queued at its own beat cannot be sent ahead of it.
            if self.clock.now() - intended > _TOO_LATE_SECONDS + self._latency:
                self.n_dropped += 1
                return
            self.n_notes += self.port.is_open
        self._send(message, intended)

    def _send(self, message: Message, intended: float) -> None:
        if not self.port.is_open:
            self.n_dropped += 1
            self._was_open = False
            self._receiver = Receiver(self._receiver.programs)
            return
        if not self._was_open:  # whoever comes back knows nothing
            self._was_open = True
            for program in list(self._receiver.programs.values()):
                self._send(program, self.clock.now())
        actual = self._sending_since = self.clock.now()
        self.port.send(message)
        self._sending_since = None
        self._receiver.take(message)
        self._lateness[self.n_sent % _N_REMEMBERED] = actual - intended
        self.n_sent += 1
        self.n_late += actual - intended > _LATE_SECONDS
        if self._on_sent:
            self._on_sent(Sent(message, intended, actual))

    def silence(self) -> None:
        """Ends all that sounds."""
        for message in self._receiver.ends():
            self._send(message, self.clock.now())
        self._receiver = Receiver(self._receiver.programs)  # the ends themselves used the channels

    @property
    def hangs(self) -> bool:
        """Whether the port has held a message for over a second."""
        since = self._sending_since
        return since is not None and self.clock.now() - since > _HANGS_SECONDS

    def lateness_ms(self, *percentiles: float) -> list[float]:
        """Returns percentiles (0 to 100) of how late the newest messages were sent, in milliseconds; none: zeros."""
        seen = self._lateness[: self.n_sent]
        return [float(np.percentile(seen, each)) * 1000 if len(seen) else 0.0 for each in percentiles]

    def _wake(self) -> None:
        with self._condition:
            self._changed = True
            self._condition.notify()

    def close(self, patience_seconds: float = 1.0) -> bool:
        """Ends: nothing more is played, and nothing is left sounding.

        Args:
            patience_seconds: how long a port may take that hangs; then the thread is left behind.

        Returns:
            Whether the port took everything.
        """
        self._closing = True
        self._wake()
        closer = threading.Thread(target=self._finish, name="musegen silence", daemon=True)
        closer.start()
        closer.join(patience_seconds)
        return not closer.is_alive() and self.error is None

    def _finish(self) -> None:
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        try:
            self._rest()
            self.silence()
        except MusegenError as error:
            self.error = self.error or error
