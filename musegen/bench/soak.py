"""`musegen bench soak`: does it hold for hours, for a thousand bars, and however it is ended?

`python -m musegen.bench.soak NAME` is the process that is ended: it streams on a new port until something ends it, or
until it fails by itself after some seconds (`NAME SECONDS`).
"""

import gc
import itertools
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from musegen.api.streaming import Piece
from musegen.errors import MusegenError, PortError
from musegen.live.clock import SimulatedClock
from musegen.live.opening import Setup
from musegen.live.player import Player
from musegen.live.ports import Message
from musegen.live.rtmidi_ports import RtInPort, working_apis
from musegen.live.scheduler import Scheduler, Sent
from musegen.live.stream import Stream
from musegen.live.streaming import stream
from musegen.live.transport import OwnTransport
from musegen.midi.score import Notes, Score, Track
from musegen.music.grid import GridScore

OnProgress = Callable[[str, int, int], None]

HOURS, N_BARS, N_MOMENTS = 24, 1000, 100
_LOOK_SECONDS = 0.2
_N_REAL_BARS = 16
_FAST_BPM = 600.0
_BAR_BEATS = 4
_ENDS = ("SIGINT", "SIGTERM", "failure")
_ARRIVE_SECONDS = 0.5
_LONGEST_SECONDS = 20.0


def soak(
    hours: int = HOURS, n_bars: int = N_BARS, n_moments: int = N_MOMENTS, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Returns what happened.

    Args:
        hours: of stream in simulated time, 1 or more.
        n_bars: to a real receiver.
        n_moments: random moments at which a stream is ended, for each way to end it.
        on_progress: called with what is done, how far it is, and how far it goes.
    """
    report = on_progress or (lambda what, done, of: None)
    result: dict[str, Any] = {"stream": _streamed(hours, report)}
    try:
        api = working_apis()[0]
    except PortError as error:
        return result | {"left_out": f"a real receiver: {error}"}
    return result | {"api": api, "receiver": _received(n_bars, report), "ends": _ended(n_moments, report)}


# --- Hours, simulated


class _Again:
    """A writer that writes some bars of a real piece again and again."""

    def __init__(self):
        piece = Piece(composer="bach", instruments=["piano"], seed=1)
        self.wishes = piece.wishes
        self._bars = list(itertools.islice(piece, _N_REAL_BARS))

    def change(self, **wishes: Any) -> None:
        """Takes any wish, and heeds none."""

    def __iter__(self) -> Iterator[GridScore]:
        return itertools.cycle(self._bars)


class _Counting:
    """A port that counts notes and keeps nothing."""

    name, is_open = "counting", True

    def __init__(self):
        self.held: set[tuple[int, int]] = set()
        self.n_notes = 0

    def send(self, message: Message) -> None:
        _hold(self.held, message)
        self.n_notes += message.type == "note_on" and message.velocity > 0

    def close(self) -> None:
        """Has nothing to let go of."""


def _streamed(hours: int, report: OnProgress) -> dict[str, Any]:
    """Streams hours of music in simulated time; returns how much memory the process had at each hour, in MiB."""
    clock, port, writer = SimulatedClock(), _Counting(), _Again()
    music, transport, late = Stream(writer), OwnTransport(clock), [0.0]

    def sent(message: Sent) -> None:
        late[0] = max(late[0], message.actual - message.intended)

    scheduler = Scheduler(port, transport, clock, on_sent=sent)
    scheduler.on_roll = lambda beat: music.roll(scheduler, beat)
    bars, memory, began = iter(writer), [], time.perf_counter()
    for hour in range(hours):
        report("Hours of stream", hour, hours)
        while clock.now() < (hour + 1) * 3600:
            while music.n_ready < 4:
                music.take(next(bars))
            music.look(scheduler)
            clock.advance(min(scheduler.turn(), _LOOK_SECONDS))
        gc.collect()
        memory.append(_resident_mebibytes())
    report("Hours of stream", hours, hours)
    scheduler.close()
    return {
        "hours": hours,
        "seconds": time.perf_counter() - began,
        "bars": music.n_played,
        "notes": port.n_notes,
        "underruns": music.n_underruns,
        "latest_ms": late[0] * 1000,
        "held_at_the_end": len(port.held),
        "mebibytes_after_first_hour": memory[0],
        "mebibytes_after_last_hour": memory[-1],
    }


def _resident_mebibytes() -> float | None:
    """Returns how much memory this process holds; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


# --- A real receiver


class _Receiver:
    """Takes what comes in on a port."""

    def __init__(self, name: str):
        self.messages: list[Message] = []
        self.held: set[tuple[int, int]] = set()
        self.began = threading.Event()
        self.port = RtInPort(self._take, name)

    def _take(self, message: Message, seconds: float) -> None:
        if hasattr(message, "channel"):
            self.messages.append(message)
            _hold(self.held, message)
            if message.type == "note_on":
                self.began.set()


def _hold(held: set[tuple[int, int]], message: Message) -> None:
    if message.type == "note_on" and message.velocity:
        held.add((message.channel, message.note))
    elif message.type in ("note_on", "note_off"):
        held.discard((message.channel, message.note))


def _received(n_bars: int, report: OnProgress) -> dict[str, Any]:
    """Plays bars to a receiver; returns what did not arrive as it was sent."""
    player = Player(_scale(n_bars))
    sent: list[Message] = []
    name = f"musegen-soak-{n_bars}"
    session = Setup(virtual=name).open(
        bpm=_FAST_BPM, leads=False, on_roll=player.roll, on_sent=lambda each: sent.append(each.message)
    )
    with session:
        receiver = _Receiver(name)
        transport, scheduler = session.scheduler.transport, session.scheduler
        assert isinstance(transport, OwnTransport)
        transport.start()

        def look() -> None:
            beat = transport.line.beat_at(scheduler.clock.now())
            report("Bars to a receiver", min(int(beat / _BAR_BEATS), n_bars), n_bars)

        session.wait(lambda: player.is_over(scheduler), look)
        time.sleep(_ARRIVE_SECONDS)
    time.sleep(_ARRIVE_SECONDS)
    receiver.port.close()
    came = [message.bytes() for message in receiver.messages]
    went = [message.bytes() for message in sent]
    return {
        "bars": n_bars,
        "sent": len(went),
        "arrived": len(came),
        "in_order": came == went,
        "first_difference": next((f"{c} came, {w} was sent" for c, w in zip(came, went, strict=False) if c != w), None),
        "held_at_the_end": len(receiver.held),
        "late_p99_ms": scheduler.lateness_ms(99)[0],
    }


def _scale(n_bars: int) -> Score:
    """Returns bars of quavers, each pitch other than the one before."""
    n = n_bars * _BAR_BEATS * 2
    pitches = [36 + 7 * nth % 60 for nth in range(n)]
    notes = Notes([240 * nth for nth in range(n)], [200] * n, pitches, [80] * n)
    return Score(480, (Track("scale", 0, False, notes),))


# --- Ways to end


def _ended(n_moments: int, report: OnProgress) -> list[dict[str, Any]]:
    """Ends streams at random moments; returns for each way how many left a note sounding."""
    rng = random.Random(1)
    rows = []
    for nth_end, end in enumerate(_ENDS):
        left = wrong = 0
        for nth in range(n_moments):
            report("Ends of a stream", nth_end * n_moments + nth, len(_ENDS) * n_moments)
            code, held = _one_end(f"musegen-soak-{end}-{nth}", end, rng.uniform(0.0, 1.5))
            left += held
            wrong += code != {"SIGINT": 0, "SIGTERM": 143, "failure": 3}[end]
        rows.append({"end": end, "moments": n_moments, "left_sounding": left, "wrong_exit_codes": wrong})
    report("Ends of a stream", len(_ENDS) * n_moments, len(_ENDS) * n_moments)
    return rows


def _one_end(name: str, end: str, seconds: float) -> tuple[int, bool]:
    """Ends a stream so many seconds after its first note; returns its process's code, and whether a note is held."""
    fails = [str(seconds)] if end == "failure" else []
    child = subprocess.Popen(
        [sys.executable, "-m", "musegen.bench.soak", name, *fails], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    receiver = None
    until = time.perf_counter() + _LONGEST_SECONDS
    while receiver is None:
        try:
            receiver = _Receiver(name)
        except MusegenError:  # not there yet
            if time.perf_counter() > until:
                child.kill()
                raise
            time.sleep(0.02)
    try:
        receiver.began.wait(_LONGEST_SECONDS)
        if end != "failure":
            time.sleep(seconds)
            child.send_signal(signal.Signals[end])
        code = child.wait(_LONGEST_SECONDS)
        time.sleep(0.05)
        return code, bool(receiver.held)
    finally:
        child.kill()
        receiver.port.close()


class _Chords:
    """A writer of thick bars that ring on; it fails so many seconds after its first bar."""

    def __init__(self, fails_after: float | None):
        self.wishes: dict[str, Any] = {}
        self._fails_after = fails_after

    def change(self, **wishes: Any) -> None:
        """Takes any wish, and heeds none."""

    def __iter__(self) -> Iterator[GridScore]:
        import numpy as np

        from musegen.music.vocabulary import METER_INDEX, TEMPOS_BPM

        began = time.perf_counter()
        notes = [(6 * nth, part, 40 + (7 * nth + 3 * part) % 50, 24, 5) for nth in range(16) for part in (0, 17, 24)]
        bar = GridScore(np.array([METER_INDEX[4, 4]]), np.array([TEMPOS_BPM.index(120)]), np.array(notes))
        while True:
            if self._fails_after is not None and time.perf_counter() - began > self._fails_after + _ARRIVE_SECONDS:
                raise RuntimeError("as it was told to")
            yield bar


def _stream(name: str, fails_after: float | None) -> None:
    """Streams until it is ended."""
    from musegen.live.session import ended_by_sigterm

    with ended_by_sigterm():
        stream(Setup(virtual=name), bars_ahead=1, writer=_Chords(fails_after))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    try:
        _stream(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None)
    except RuntimeError:
        sys.exit(3)
