"""`stream`: music without end on a MIDI port."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from musegen.api.models import composers
from musegen.api.streaming import Piece
from musegen.live.clock import Clock
from musegen.live.controls import Knobs
from musegen.live.opening import Setup
from musegen.live.playing import LiveReport
from musegen.live.session import ended_by_ctrl_c
from musegen.live.stream import Stream, Writer

OnStream = Callable[[Stream], None]
"""Called twenty times a second with the stream that plays."""


def stream(
    setup: Setup | None = None,
    *,
    bars: int | None = None,
    bars_ahead: int = 4,
    writer: Writer | None = None,
    on_open: OnStream | None = None,
    on_look: OnStream | None = None,
    clock: Clock | None = None,
    **wishes: Any,
) -> LiveReport:
    """Writes music and plays it on a MIDI port, ahead of what is heard, until all bars are played or Ctrl-C.

    Whatever ends it, no note is left sounding. Where an input is open, controllers change the wishes: see
    `live.controls`. It begins on a bar line; following somebody else's transport it waits
    for it, stops with it, and takes its tempo.

    Args:
        setup: the port and whose time; None makes a new port "musegen" and keeps its own time.
        bars: how many to play; None for endless.
        bars_ahead: how many are written ahead of what plays, 1 to 64; changes are heard after these.
        writer: what writes; None takes an `api.streaming.Piece` with `wishes`.
        on_open: called once with the stream: to control it from elsewhere.
        on_look: called twenty times a second with the stream.
        clock: whose seconds.
        **wishes: composer, instruments and the others of `api.streaming.Piece`.

    Returns:
        What was sent.

    Raises:
        InputError: an argument is not usable.
        CheckpointError: the model is damaged.
        PortError: no MIDI system works here, or the port has gone.
    """
    setup = setup or Setup()
    music = Stream(writer or Piece(**wishes), bars, bars_ahead)
    with ExitStack() as closing:
        knobs = Knobs(music, [each["name"] for each in composers()])
        hears = knobs.receive if setup.input is not None or setup.follow == "clock" else None
        closing.callback(music.close)  # after the session: what sounds ends first
        session = closing.enter_context(setup.open(on_roll=music.roll, hears=hears, clock=clock))
        music.open(session)
        if on_open:
            on_open(music)

        def look() -> None:
            music.look(session.scheduler)
            if on_look:
                on_look(music)

        closing.enter_context(ended_by_ctrl_c(bars is None))
        session.wait(lambda: music.is_over(session.scheduler), look)
    return LiveReport.of(session)
