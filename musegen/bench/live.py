"""`musegen bench live`: how late messages are sent, how well a clock is followed, how soon a note is answered.

Lateness is measured beside `mido.MidiFile.play`, on the same events in one run, idle and while the default model writes
music in another thread with all cores.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mido
import numpy as np
import torch

from musegen.api.harmonizing import accompanist
from musegen.api.models import DEFAULT_COCONET, coconet
from musegen.api.streaming import Piece
from musegen.live.clock import SimulatedClock, SystemClock
from musegen.live.events import Event
from musegen.live.following import ClockFollower
from musegen.live.jam import Harmonizer
from musegen.live.ports import MemoryPort
from musegen.live.scheduler import Scheduler
from musegen.live.session import Session
from musegen.live.stream import be_nice
from musegen.live.transport import CLOCKS_PER_BEAT, OwnTransport
from musegen.music.accompanying import Accompanist

OnProgress = Callable[[str, int, int], None]

N_EVENTS = 10_000
EVENT_SECONDS = 0.005
N_NOTES = 100
_BPM = 120.0
_JITTER_SECONDS = 0.001
_WARM_UP_SECONDS = 5.0
_WINDOWS = (2, 4, 8, 16)
_MELODY = (67, 67, 69, 71, 72, 71, 69, 67, 74, 72, 71, 69, 67, 66, 67)


def compare(n_events: int = N_EVENTS, n_notes: int = N_NOTES, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Returns the tables.

    Args:
        n_events: how many events are sent, 5 ms apart.
        n_notes: how many notes are answered for each window.
        on_progress: called with what is measured, how far it is, and how far it goes.
    """
    report = on_progress or (lambda what, done, of: None)
    lateness = []
    runs = [(load, player) for load in ("idle", "writing music") for player in (_musegen, _mido)]
    for nth, (load, player) in enumerate(runs):
        report("Lateness", nth, len(runs))
        with _writing() if load != "idle" else _nothing() as count:
            late = np.array(player(n_events)) * 1000
        p50, p99 = np.percentile(late, [50, 99])
        row = {"player": player.__name__.strip("_"), "load": load, "p50_ms": p50, "p99_ms": p99, "max_ms": late.max()}
        lateness.append(row | {"bars_written": count[0]})
    report("Lateness", len(runs), len(runs))
    answers = []
    for nth, n_beats in enumerate(_WINDOWS):
        report("Answers", nth, len(_WINDOWS))
        answers.append(_answers(n_beats, n_notes))
    report("Answers", len(_WINDOWS), len(_WINDOWS))
    return {
        "events": n_events,
        "threads": torch.get_num_threads(),
        "lateness": lateness,
        "following": _following(),
        "answers": answers,
    }


# --- Lateness


def _musegen(n_events: int) -> list[float]:
    """Sends events, and returns by how many seconds each was late."""
    late: list[float] = []
    scheduler = Scheduler(
        MemoryPort(), OwnTransport(SystemClock(), _BPM), on_sent=lambda sent: late.append(sent.actual - sent.intended)
    )
    beats = EVENT_SECONDS * _BPM / 60
    scheduler.add(Event((nth + 1) * beats, _message(nth)) for nth in range(n_events))
    with Session(scheduler) as session:
        assert isinstance(scheduler.transport, OwnTransport)
        scheduler.transport.start()
        session.wait(lambda: not scheduler.n_queued)
    return late[:n_events]


def _mido(n_events: int) -> list[float]:
    """As `_musegen`, by mido's own player."""
    file = mido.MidiFile(ticks_per_beat=480)
    ticks = round(EVENT_SECONDS * _BPM / 60 * 480)
    file.tracks.append(mido.MidiTrack(_message(nth).copy(time=ticks) for nth in range(n_events)))
    port, late = MemoryPort(), []
    seconds_each = ticks / 480 * 60 / _BPM
    start = time.perf_counter()
    for nth, message in enumerate(file.play(now=time.perf_counter)):
        port.send(message)
        late.append(port.sent[-1][0] - start - (nth + 1) * seconds_each)
    return late


def _message(nth: int) -> Any:
    return mido.Message("note_on" if nth % 2 == 0 else "note_off", note=60 + nth // 2 % 12)


@contextmanager
def _nothing() -> Iterator[list[int]]:
    yield [0]


@contextmanager
def _writing() -> Iterator[list[int]]:
    """Writes music in a thread while the block goes on; yields how many bars there are."""
    count, ended = [0], threading.Event()

    def write() -> None:
        be_nice()
        for _ in Piece(composer="bach", instruments=["piano"], seed=1):
            count[0] += 1
            if ended.is_set():
                return

    thread = threading.Thread(target=write, name="musegen writer", daemon=True)
    thread.start()
    while not count[0]:
        time.sleep(0.05)
    try:
        yield count
    finally:
        ended.set()
        thread.join()


# --- Following a clock


def _following() -> list[dict[str, Any]]:
    """Returns by how much tempo and beat differ from an ideal clock's, whose messages jitter."""
    tempos: dict[str, Callable[[float], float]] = {
        "120": lambda second: 120.0,
        "90 to 140 in a minute": lambda second: 90 + 50 * float(np.clip((second - 10) / 60, 0, 1)),
        "120, then 140": lambda second: 120.0 if second < 40 else 140.0,
    }
    return [{"tempo": name} | _followed(tempo) for name, tempo in tempos.items()]


def _followed(tempo: Callable[[float], float], seconds: float = 80.0) -> dict[str, float]:
    rng, clock = np.random.default_rng(0), SimulatedClock()
    follower = ClockFollower(clock)
    follower.receive(mido.Message("start"), 0.0)
    errors, n_clocks, now = [], 0, 0.0
    while now < seconds:
        follower.receive(mido.Message("clock"), now + float(rng.normal(0, _JITTER_SECONDS)))
        beat_error = abs(follower.line.seconds_at(n_clocks / CLOCKS_PER_BEAT) - now)
        if now > _WARM_UP_SECONDS:
            errors.append((abs(follower.bpm / tempo(now) - 1) * 100, beat_error * 1000))
        n_clocks += 1
        now += 60 / CLOCKS_PER_BEAT / tempo(now)
    of_tempo, of_beat = np.array(errors).T
    tempo_p50, tempo_p99 = np.percentile(of_tempo, [50, 99])
    beat_p50, beat_p99 = np.percentile(of_beat, [50, 99])
    return {
        "tempo_p50_percent": tempo_p50,
        "tempo_p99_percent": tempo_p99,
        "beat_p50_ms": beat_p50,
        "beat_p99_ms": beat_p99,
    }


# --- Answers


def _answers(n_beats: int, n_notes: int) -> dict[str, Any]:
    """Plays notes to the harmonizer, and returns how long its voices took."""
    accompanist(seed=1)  # the first pass of a program takes longer
    partner, port = Harmonizer(Accompanist(coconet(DEFAULT_COCONET), n_beats=n_beats, seed=1)), MemoryPort()
    scheduler = Scheduler(port, OwnTransport(SystemClock(), _BPM))
    with Session(scheduler) as session:
        partner.open(session)
        partner.look(scheduler)
        for nth in range(n_beats + n_notes):
            pitch = _MELODY[nth % len(_MELODY)]
            partner.receive(mido.Message("note_on", note=pitch), scheduler.clock.now())
            session.wait(lambda nth=nth: len(partner.answer_seconds) > nth)
            partner.receive(mido.Message("note_off", note=pitch), scheduler.clock.now())
        partner.close()
    took = np.array(partner.answer_seconds[n_beats:]) * 1000
    p50, p99 = np.percentile(took, [50, 99])
    return {"chords_of_the_past": n_beats, "p50_ms": p50, "p99_ms": p99, "max_ms": took.max()}
