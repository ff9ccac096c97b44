"""`jam`: playing together with whoever plays on a MIDI port."""

from collections.abc import Callable
from typing import Any

from musegen.api.harmonizing import accompanist
from musegen.api.streaming import Piece
from musegen.errors import InputError, UnknownNameError
from musegen.live.clock import Clock
from musegen.live.jam import MODES, Answerer, Harmonizer, Mode, Partner
from musegen.live.opening import Setup
from musegen.live.playing import LiveReport
from musegen.live.session import Session, ended_by_ctrl_c
from musegen.music.vocabulary import METERS, meter_index

_HARMONIZE_WISHES = ("temperature", "seed", "model")


def jam(
    setup: Setup | None = None,
    *,
    mode: Mode = "answer",
    bars: int = 2,
    meter: str = "4/4",
    tempo: float = 120.0,
    partner: Partner | None = None,
    on_look: Callable[[Session], None] | None = None,
    clock: Clock | None = None,
    **wishes: Any,
) -> LiveReport:
    """Listens to a MIDI port and plays with whoever plays there, until Ctrl-C.

    Whatever ends it, no note is left sounding.

    Args:
        setup: the ports and whose time; None makes new ports "musegen" and keeps its own time, from the first note on.
        mode: "answer" takes turns with phrases of so many bars, "continue" goes on where the player has been silent for
            a bar, "harmonize" sets three voices under each note or chord at once.
        bars: bars of a phrase and of its answer, 1 to 64.
        meter: of the bars, such as "3/4".
        tempo: quarters a minute of its own time, 10 to 640.
        partner: who plays; None takes a trained model with `wishes`.
        on_look: called twenty times a second with what plays.
        clock: whose seconds.
        **wishes: those of `api.streaming.Piece`; in the mode "harmonize" temperature, seed and model.

    Returns:
        What was sent.

    Raises:
        InputError: an argument is not usable.
        CheckpointError: the model is damaged.
        PortError: no MIDI system works here, or the port has gone.
    """
    setup = setup or Setup()
    if mode == "harmonize" and setup.follow != "free":
        raise InputError(f"follow is {setup.follow!r}; harmonize answers at once, so allowed is 'free' alone")
    partner = partner or _partner(mode, bars, meter, wishes)
    on_roll = partner.roll if isinstance(partner, Answerer) else None
    session = setup.open(bpm=tempo, leads=False, hears=partner.receive, on_roll=on_roll, clock=clock)

    def look() -> None:
        partner.look(session.scheduler)
        if on_look:
            on_look(session)

    try:
        with session, ended_by_ctrl_c():
            partner.open(session)
            session.wait(lambda: False, look)
    finally:
        partner.close()  # after the session: what sounds ends first
    return LiveReport.of(session)


def _partner(mode: str, bars: int, meter: str, wishes: dict[str, Any]) -> Partner:
    if mode not in MODES:
        raise UnknownNameError("mode", mode, MODES)
    if mode == "harmonize":
        for name in wishes:
            if name not in _HARMONIZE_WISHES:
                raise InputError(f"{name} means nothing to harmonize; allowed are {', '.join(_HARMONIZE_WISHES)}")
        return Harmonizer(accompanist(**wishes))
    Piece(**wishes)  # a wish that is not usable is told of now, not when the first answer is due
    return Answerer(lambda phrase: Piece(phrase, **wishes), mode, bars, METERS[meter_index(meter)])
