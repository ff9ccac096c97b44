"""Who sings the four voices: General MIDI programs by the name of an ensemble."""

from collections.abc import Sequence

from musegen.errors import InputError, UnknownNameError
from musegen.midi.instruments import INSTRUMENTS, instrument_index
from musegen.music.chorales import N_VOICES, VOICES

ENSEMBLES: dict[str, tuple[int, int, int, int]] = {
    "choir": (52, 52, 52, 52),
    "strings": (40, 40, 41, 42),
    "woodwinds": (73, 68, 71, 70),
    "brass": (56, 60, 57, 58),
    "saxophones": (64, 65, 66, 67),
    "organ": (19, 19, 19, 19),
}
"""Programs of soprano, alto, tenor and bass."""


def programs_of(instruments: str | Sequence[str]) -> tuple[int, ...]:
    """Returns the program, 0..127, of each voice.

    Args:
        instruments: an ensemble, an instrument class that plays all four, or four of those; one text may name four
            with commas between.

    Raises:
        InputError: it is neither one name nor four, or an instrument is the drums; UnknownNameError: a name is unknown.
    """
    names = instruments.split(",") if isinstance(instruments, str) else instruments
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputError(f"instruments is {instruments!r}; allowed are one name or four, for {', '.join(VOICES)}")
    if len(names) not in (1, N_VOICES):
        raise InputError(f"instruments must be one name or four, for {', '.join(VOICES)}, got {len(names)}")
    plain = [name.strip().lower() for name in names]
    if len(plain) == 1 and plain[0] in ENSEMBLES:
        return ENSEMBLES[plain[0]]
    return tuple(_program(name) for name in plain) * (N_VOICES // len(plain))


def _program(name: str) -> int:
    try:
        instrument = INSTRUMENTS[instrument_index(name)]
    except UnknownNameError:
        known = {*ENSEMBLES, *(known.name for known in INSTRUMENTS if not known.is_drum)}
        error = UnknownNameError("instrument or ensemble", name, known)
        error.args = (f"{error}; ensembles: {', '.join(ENSEMBLES)}",)
        raise error from None
    if instrument.is_drum:
        raise InputError("instruments is drums, which sing no voice; take an instrument with pitches")
    return instrument.program
