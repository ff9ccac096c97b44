"""The token table: every block of tokens is an offset in one list, after MuseNet (Payne 2019).

A sequence is a header of control tokens and then a body of bars:

    start [style] [instrument ...] [key] [tempo] [meter] [density]
    bar [meter] [tempo] ( wait | note [tie ...] length ) ...
    bar ...
    end

A *note* token fuses instrument and pitch; the *length* token after it fuses duration and velocity, and each *tie*
between them makes the note 96 ticks longer. A *wait* moves time forward inside its bar. Every control may be absent
(unknown). For infilling, bars that are missing stand as `bar gap`, and what was missing follows `fill` at the end.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from musegen.errors import InputError
from musegen.midi.instruments import INSTRUMENTS

TICKS_PER_QUARTER = 24
TICKS_PER_WHOLE = 4 * TICKS_PER_QUARTER
MAX_BAR_TICKS = 4 * TICKS_PER_WHOLE

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
N_PITCHES = HIGHEST_PITCH - LOWEST_PITCH + 1

# Durations up to a whole note, in ticks: every tick while it can be heard, then what notation has and what players make
# of it.
DURATIONS: tuple[int, ...] = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 20, 21, 22, 24),
    *(27, 28, 30, 32, 33, 36, 40, 42, 45, 48, 54, 60, 64, 66, 72, 80, 84, 90, 96),
)
VELOCITIES: tuple[int, ...] = (8, 24, 40, 56, 72, 88, 104, 120)

# The metronome's scale, continued at both ends, in quarters a minute.
TEMPOS_BPM: tuple[int, ...] = (
    *(20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 63, 66, 69, 72, 76, 80, 84),
    *(88, 92, 96, 100, 104, 108, 112, 116, 120, 126, 132, 138, 144, 152, 160, 168, 176, 184, 192, 200, 208, 216, 232),
    *(252, 272, 296, 320),
)

_NUMERATORS = {1: 4, 2: 8, 4: 16, 8: 32, 16: 32, 32: 32}
METERS: tuple[tuple[int, int], ...] = tuple((n, d) for d, highest in _NUMERATORS.items() for n in range(1, highest + 1))

KEYS: tuple[str, ...] = tuple(
    name + mode
    for mode in (" major", " minor")
    for name in ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
)
_FIFTHS = "FCGDAEB"  # major keys by their sharps, from -1 on
DENSITIES: tuple[str, ...] = ("low", "medium", "high")
N_STYLES = 80
"""Style slots. Which style a slot stands for is written in the corpus and in the checkpoint; the rest are spare."""


@dataclass(frozen=True)
class Block:
    """A run of `size` token ids from `first` on."""

    name: str
    first: int
    size: int

    def __contains__(self, token: int) -> bool:
        return self.first <= token < self.first + self.size

    @property
    def slice(self) -> slice:
        """The ids as a slice, for masks."""
        return slice(self.first, self.first + self.size)


_SIZES = {
    "special": 5,
    "style": N_STYLES,
    "instrument": len(INSTRUMENTS),
    "key": len(KEYS),
    "density": len(DENSITIES),
    "tempo": len(TEMPOS_BPM),
    "meter": len(METERS),
    "bar": 1,
    "wait": TICKS_PER_WHOLE,
    "tie": 1,
    "length": len(DURATIONS) * len(VELOCITIES),
    "note": len(INSTRUMENTS) * N_PITCHES,
}


def _blocks() -> dict[str, Block]:
    firsts = np.cumsum([0, *_SIZES.values()]).tolist()
    return {name: Block(name, first, size) for first, (name, size) in zip(firsts, _SIZES.items(), strict=False)}


BLOCKS: dict[str, Block] = _blocks()
N_TOKENS: int = sum(_SIZES.values())

PAD, START, END, GAP, FILL = range(5)
STYLE, INSTRUMENT, KEY, DENSITY = (BLOCKS[name] for name in ("style", "instrument", "key", "density"))
TEMPO, METER, WAIT, LENGTH, NOTE = (BLOCKS[name] for name in ("tempo", "meter", "wait", "length", "note"))
BAR: int = BLOCKS["bar"].first
TIE: int = BLOCKS["tie"].first

METER_INDEX: dict[tuple[int, int], int] = {meter: index for index, meter in enumerate(METERS)}
METER_TICKS: np.ndarray = np.array([n * TICKS_PER_WHOLE // d for n, d in METERS])
_DURATION_INDEX = np.full(TICKS_PER_WHOLE + 1, -1)
_DURATION_INDEX[list(DURATIONS)] = np.arange(len(DURATIONS))
# The nearest member of DURATIONS for 1..96 ticks; of two equally near, the shorter.
_NEAREST_DURATION = np.array([min(DURATIONS, key=lambda d: (abs(d - t), d)) for t in range(TICKS_PER_WHOLE + 1)])


def wait_token(ticks: int | np.ndarray):
    """Returns the token that moves time forward by 1..96 ticks; elementwise on arrays."""
    return WAIT.first + ticks - 1


def note_token(instrument: int | np.ndarray, pitch: int | np.ndarray):
    """Returns the token of a note of an instrument class (its index) at a pitch of 21..108; elementwise on arrays."""
    return NOTE.first + instrument * N_PITCHES + pitch - LOWEST_PITCH


def length_token(duration: int | np.ndarray, velocity: int | np.ndarray):
    """Returns the token of a duration in DURATIONS and a velocity level 0..7; elementwise on arrays."""
    return LENGTH.first + _DURATION_INDEX[duration] * len(VELOCITIES) + velocity


def n_ties(duration: int | np.ndarray):
    """Returns how many tie tokens a duration in ticks needs."""
    return (duration - 1) // TICKS_PER_WHOLE


def is_duration(ticks: np.ndarray) -> np.ndarray:
    """Returns which durations (n,) in ticks the tokens can write: whole notes tied to a member of DURATIONS."""
    return (ticks > 0) & (_DURATION_INDEX[ticks - TICKS_PER_WHOLE * n_ties(ticks)] >= 0)


def nearest_duration(ticks: np.ndarray) -> np.ndarray:
    """Returns for durations (n,) >= 1 in ticks the nearest ones that the tokens can write."""
    ties = TICKS_PER_WHOLE * n_ties(ticks)
    return ties + _NEAREST_DURATION[ticks - ties]


def longest_duration(ticks: np.ndarray) -> np.ndarray:
    """Returns the longest durations that the tokens can write and that do not exceed `ticks` (n,) >= 1."""
    ties = TICKS_PER_WHOLE * n_ties(ticks)
    return ties + np.array(DURATIONS)[np.searchsorted(DURATIONS, ticks - ties, side="right") - 1]


def tempo_level(bpm: float) -> int:
    """Returns the index of the tempo in TEMPOS_BPM that is nearest in ratio.

    Raises:
        InputError: the tempo is not between 10 and 640 quarters a minute.
    """
    if not 10 <= bpm <= 640:
        raise InputError(f"tempo is {bpm}; allowed are 10 to 640 quarters a minute")
    return int(np.argmin(np.abs(np.log(np.array(TEMPOS_BPM) / bpm))))


def key_index(name: str) -> int:
    """Returns the index in KEYS of a key such as "G", "a minor", "F#m", "Bb major" (a lone lower-case letter is minor).

    Raises:
        InputError: no key has this name.
    """
    sharps, is_minor = _signature(name)
    return (7 * sharps + 9 * is_minor) % 12 + 12 * is_minor


def key_signature(name: str) -> tuple[int, bool]:
    """Returns the key signature of a key by the name that it is asked for: its sharps, -7 to 7, and if it is minor.

    A flat counts as one sharp less. Gb has six flats and F# six sharps; G#, which no signature can write, is Ab.

    Raises:
        InputError: no key has this name.
    """
    sharps, is_minor = _signature(name)
    return (sharps - 12 if sharps > 7 else sharps + 12 if sharps < -7 else sharps), is_minor


def _signature(name: str) -> tuple[int, bool]:
    """Returns the sharps of a key as it is spelled, -11 to 12, and if it is minor."""
    text = name.strip().replace("♯", "#").replace("♭", "b")
    tonic, rest = text[:1], text[1:]
    if rest[:1] in ("#", "b"):
        tonic, rest = text[:2], text[2:]
    modes = {"": tonic[:1].islower(), "major": False, "maj": False, "minor": True, "min": True, "m": True, "M": False}
    mode = rest.strip() if rest.strip() in modes else rest.strip().lower()
    if not tonic or tonic[0].upper() not in _FIFTHS or mode not in modes:
        raise InputError(f"key is {name!r}; allowed are names such as G, F#, Bb major, a minor, C#m")
    alter = {"#": 7, "b": -7}.get(tonic[1:], 0)
    return _FIFTHS.index(tonic[0].upper()) - 1 + alter - 3 * modes[mode], modes[mode]


def meter_index(name: str) -> int:
    """Returns the index in METERS of a meter such as "3/4".

    Raises:
        InputError: the meter has another form, or its bar is longer than four whole notes.
    """
    numerator, _, denominator = name.partition("/")
    if not (numerator.strip().isdecimal() and denominator.strip().isdecimal()):
        raise InputError(f"meter is {name!r}; allowed are fractions such as 4/4, 3/4, 6/8")
    meter = (int(numerator), int(denominator))
    if meter not in METER_INDEX:
        allowed = ", ".join(f"1/{d} to {highest}/{d}" for d, highest in _NUMERATORS.items())
        raise InputError(f"meter is {name!r}; allowed are {allowed}")
    return METER_INDEX[meter]


def describe(token: int) -> str:
    """Returns a token as a person reads it, such as "note violin 69" or "wait 12".

    Raises:
        InputError: there is no such token.
    """
    if not 0 <= token < N_TOKENS:
        raise InputError(f"token is {token}; allowed are 0 to {N_TOKENS - 1}")
    block = next(block for block in BLOCKS.values() if token in block)
    index = token - block.first
    if block is NOTE:
        return f"note {INSTRUMENTS[index // N_PITCHES].name} {LOWEST_PITCH + index % N_PITCHES}"
    if block is LENGTH:
        return f"length {DURATIONS[index // len(VELOCITIES)]} velocity {VELOCITIES[index % len(VELOCITIES)]}"
    if block.name == "special":
        return ("pad", "start", "end", "gap", "fill")[index]
    names = {
        "instrument": [instrument.name for instrument in INSTRUMENTS],
        "key": KEYS,
        "density": DENSITIES,
        "tempo": TEMPOS_BPM,
        "meter": [f"{n}/{d}" for n, d in METERS],
        "wait": range(1, TICKS_PER_WHOLE + 1),
    }.get(block.name)
    return f"{block.name} {names[index] if names else index}" if block.size > 1 else block.name


def factors() -> np.ndarray:
    """Returns what each token is made of, (N_TOKENS, 3) rows of a factor table, 0 for none.

    A fused token is the sum of its factors at the input of a model: a note of its instrument, pitch and pitch class
    (drums have no pitch class and pitches of their own), a length of its duration and velocity. Any other token is
    itself.
    """
    table = np.zeros((N_TOKENS, 3), dtype=np.int64)
    n = 1

    def take(size: int) -> np.ndarray:
        nonlocal n
        n += size
        return np.arange(n - size, n)

    plain = take(LENGTH.first)
    table[: LENGTH.first, 0] = plain
    index = np.arange(LENGTH.size)
    durations, velocities = take(len(DURATIONS)), take(len(VELOCITIES))
    table[LENGTH.slice, 0] = durations[index // len(VELOCITIES)]
    table[LENGTH.slice, 1] = velocities[index % len(VELOCITIES)]
    instruments, pitches, classes, drums = take(len(INSTRUMENTS)), take(N_PITCHES), take(12), take(N_PITCHES)
    index = np.arange(NOTE.size)
    instrument, pitch = index // N_PITCHES, index % N_PITCHES
    is_drum = np.array([entry.is_drum for entry in INSTRUMENTS])[instrument]
    table[NOTE.slice, 0] = instruments[instrument]
    table[NOTE.slice, 1] = np.where(is_drum, drums[pitch], pitches[pitch])
    table[NOTE.slice, 2] = np.where(is_drum, 0, classes[(pitch + LOWEST_PITCH) % 12])
    return table


def fingerprint() -> str:
    """Returns a hash of the whole table: data and weights made with another table do not fit."""
    facts = (_SIZES, DURATIONS, VELOCITIES, TEMPOS_BPM, METERS, [(i.name, i.programs) for i in INSTRUMENTS])
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
