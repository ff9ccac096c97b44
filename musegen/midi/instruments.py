"""The instrument classes of musegen: General MIDI's 128 programs in 38 classes, and drums.

A class gathers the programs that a listener would accept for one another. Its written range is the sounding range of
the real instrument in MIDI pitches (60 is middle C), a little generous; for synthetic sounds it is the piano's.
"""

from dataclasses import dataclass

from musegen.errors import UnknownNameError


@dataclass(frozen=True)
class Instrument:
    """One instrument class.

    Args:
        name: lower-case name, words joined by "-".
        programs: the General MIDI programs (0..127) that belong to it; empty for drums.
        program: the program that it is written with.
        low: lowest pitch it plays.
        high: highest pitch it plays.
    """

    name: str
    programs: tuple[int, ...]
    program: int
    low: int
    high: int

    @property
    def is_drum(self) -> bool:
        """Whether it plays on the drum channel, where a pitch names a drum."""
        return self.name == "drums"


def _of(name: str, first: int, last: int, low: int, high: int, *more: int, program: int | None = None) -> Instrument:
    return Instrument(name, (*range(first, last + 1), *more), first if program is None else program, low, high)


# Name, first and last program, range, further programs. The order is the order of the tokens: append only.
INSTRUMENTS: tuple[Instrument, ...] = (
    _of("piano", 0, 3, 21, 108),
    _of("electric-piano", 4, 5, 28, 103),
    _of("harpsichord", 6, 6, 29, 89),
    _of("clavinet", 7, 7, 36, 91),
    _of("celesta", 8, 10, 48, 108),
    _of("vibraphone", 11, 11, 53, 89),
    _of("marimba", 12, 13, 36, 108, 108, 114),
    _of("bells", 14, 14, 53, 84, 112),
    _of("dulcimer", 15, 15, 40, 96, 104, 105, 106, 107),
    _of("organ", 16, 20, 24, 108, program=19),
    _of("accordion", 21, 23, 41, 101),
    _of("acoustic-guitar", 24, 25, 40, 88),
    _of("electric-guitar", 26, 28, 40, 88),
    _of("distortion-guitar", 29, 31, 38, 88),
    _of("acoustic-bass", 32, 32, 28, 67),
    _of("electric-bass", 33, 37, 24, 67),
    _of("synth-bass", 38, 39, 24, 72),
    _of("violin", 40, 40, 55, 103, 110),
    _of("viola", 41, 41, 48, 91),
    _of("cello", 42, 42, 36, 84),
    _of("contrabass", 43, 43, 24, 67),
    _of("pizzicato", 45, 45, 28, 96),
    _of("harp", 46, 46, 23, 104),
    _of("timpani", 47, 47, 36, 60, 116, 117, 118),
    _of("strings", 48, 51, 24, 103, 44),
    _of("choir", 52, 54, 36, 84),
    _of("trumpet", 56, 56, 52, 88, 59),
    _of("trombone", 57, 57, 33, 77),
    _of("tuba", 58, 58, 24, 65),
    _of("horn", 60, 60, 31, 82),
    _of("brass", 61, 63, 31, 91, 55),
    _of("saxophone", 64, 67, 36, 92),
    _of("oboe", 68, 69, 50, 93, 109, 111),
    _of("bassoon", 70, 70, 34, 77),
    _of("clarinet", 71, 71, 43, 96),
    _of("flute", 72, 79, 55, 108, program=73),
    _of("synth-lead", 80, 87, 24, 108),
    _of("synth-pad", 88, 103, 24, 108, 113, 115, *range(119, 128)),
    Instrument("drums", (), 0, 27, 87),
)

VOICES = ("soprano", "alto", "tenor", "bass")
"""The voices of a choir, from the highest: tracks with these names are a closed score."""

DRUMS: int = len(INSTRUMENTS) - 1
"""Index of the drums in INSTRUMENTS."""

MAX_PITCHED = 15
"""How many instruments can play beside the drums: MIDI has 16 channels, and one is theirs."""

_BY_NAME = {instrument.name: index for index, instrument in enumerate(INSTRUMENTS)}
_BY_PROGRAM = {program: index for index, instrument in enumerate(INSTRUMENTS) for program in instrument.programs}
assert len(_BY_PROGRAM) == 128, "every General MIDI program belongs to one class"


def instrument_index(name: str) -> int:
    """Returns the place of a class in INSTRUMENTS.

    Raises:
        UnknownNameError: no class has this name.
    """
    key = name.strip().lower().replace(" ", "-").replace("_", "-")
    if key not in _BY_NAME:
        raise UnknownNameError("instrument", name, _BY_NAME)
    return _BY_NAME[key]


def class_of(program: int, is_drum: bool) -> int:
    """Returns the class (its place in INSTRUMENTS) of a General MIDI program (0..127) or of the drum channel."""
    return DRUMS if is_drum else _BY_PROGRAM[program]
