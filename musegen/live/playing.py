"""`play` and `record`: a score to a port, and what comes in to a file."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mido

from musegen.errors import InputError
from musegen.live.clock import Clock, SystemClock
from musegen.live.opening import Setup
from musegen.live.player import Player
from musegen.live.ports import FILE_BPM, Message, as_mido
from musegen.live.rtmidi_ports import RtInPort
from musegen.live.session import LOOK_SECONDS, Session, ended_by_ctrl_c
from musegen.live.transport import OwnTransport, checked_bpm
from musegen.midi.convert import ScoreLike, as_score, from_mido
from musegen.midi.formats import check_writable
from musegen.midi.score import Score

OnLook = Callable[[Session], None]
"""Called twenty times a second with what plays."""


@dataclass(frozen=True)
class LiveReport:
    """What was sent.

    Args:
        n_notes: notes that began.
        n_sent: all messages.
        n_late: messages that came more than 10 ms after their time.
        n_dropped: messages that were not sent: notes that were much too late, and all while the port was gone.
        late_p50_ms, late_p99_ms, late_max_ms: how late the newest messages were.
    """

    n_notes: int
    n_sent: int
    n_late: int
    n_dropped: int
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float

    @staticmethod
    def of(session: Session) -> "LiveReport":
        """Returns the counts of a session."""
        scheduler = session.scheduler
        late = scheduler.lateness_ms(50, 99, 100)
        return LiveReport(scheduler.n_notes, scheduler.n_sent, scheduler.n_late, scheduler.n_dropped, *late)


def play(
    score: ScoreLike,
    setup: Setup | None = None,
    *,
    loop: bool = False,
    tempo: float | None = None,
    on_look: OnLook | None = None,
    clock: Clock | None = None,
) -> LiveReport:
    """Plays a score on a MIDI port.

    Whatever ends it, no note is left sounding. Where it follows somebody else's transport or loops, it goes on until
    Ctrl-C.

    Args:
        score: a score, the path of a score file, or an object of another library; see `midi.convert.as_score`.
        setup: the port and whose time; None makes a new port "musegen" and keeps its own time.
        loop: begin again on the bar line after the last note.
        tempo: quarters a minute from beginning to end, 10 to 640; None takes those of the score.
        on_look: called twenty times a second.
        clock: whose seconds.

    Returns:
        What was sent.

    Raises:
        InputError: the score has no notes or too many parts, or an argument is not usable.
        ScoreFileError: the file cannot be read.
        PortError: no MIDI system works here, or the port has gone.
    """
    setup, music = setup or Setup(), as_score(score)
    bpm = float(music.tempos.bpm[0]) if tempo is None else checked_bpm(tempo)
    player = Player(music, loop)
    session = setup.open(bpm=bpm, leads=tempo is None, on_roll=player.roll, clock=clock)
    scheduler, transport = session.scheduler, session.scheduler.transport

    def look() -> None:
        player.look(scheduler)
        if on_look:
            on_look(session)

    with session, ended_by_ctrl_c(loop or not isinstance(transport, OwnTransport)):
        if isinstance(transport, OwnTransport):
            transport.start()
            session.wait(lambda: player.is_over(scheduler), look)
        else:
            session.wait(lambda: False, look)
    return LiveReport.of(session)


def record(
    path: str | os.PathLike[str],
    setup: Setup | None = None,
    *,
    tempo: float = FILE_BPM,
    seconds: float | None = None,
    on_look: Callable[[int], None] | None = None,
    clock: Clock | None = None,
) -> Score:
    """Records what comes in from a MIDI port, from the first message on.

    It ends on Ctrl-C. Whatever ends it, what was played is written; notes that are still held end there.

    Args:
        path: the file to write; ends in .mid or .midi.
        setup: the port to hear; None makes a new port "musegen".
        tempo: quarters a minute that the file says, 10 to 640: what was played to this tempo is on its beats.
        seconds: how long to wait, above 0; None waits for Ctrl-C.
        on_look: called twenty times a second with the number of messages.
        clock: whose seconds.

    Returns:
        What was written.

    Raises:
        InputError: nothing came, or an argument is not usable.
        ScoreFileError: the file cannot be written.
        PortError: no MIDI system works here.
    """
    setup, clock = setup or Setup(), clock or SystemClock()
    checked_bpm(tempo)
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds is {seconds}; allowed are numbers above 0")
    check_writable(path)
    taken: list[tuple[float, Message]] = []
    port = RtInPort(lambda message, at: taken.append((at, message)), setup.input, setup.virtual, setup.api, clock)
    until = None if seconds is None else clock.now() + seconds
    pause = threading.Event()
    try:
        with ended_by_ctrl_c():
            while until is None or clock.now() < until:
                if on_look:
                    on_look(len(taken))
                pause.wait(LOOK_SECONDS)
    finally:
        port.close()
        score = from_mido(as_mido(_ended(taken, clock.now()), tempo))
        if score.tracks:
            score.write(Path(path))
    if not score.tracks:
        raise InputError(f"nothing came in from {port.name}: there is nothing to write")
    return score


def _ended(taken: list[tuple[float, Message]], now: float) -> list[tuple[float, Message]]:
    """Returns channel messages with an end for each note that is still held."""
    played = [(at, message) for at, message in taken if hasattr(message, "channel")]
    held = set()
    for _, message in played:
        if message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            (held.add if message.type == "note_on" and message.velocity else held.discard)(key)
    ends = [mido.Message("note_off", channel=channel, note=note) for channel, note in sorted(held)]
    return played + [(now, message) for message in ends]
