"""A chorale from nothing: four free voices that come from a key and end in it."""

import numpy as np

from musegen.midi.score import Key, Keys, Meters, Score, Tempos, Track
from musegen.midi.units import bpm_to_us_per_quarter
from musegen.music.chorale_corpus import find_key
from musegen.music.chorales import N_VOICES, SILENCE, STEPS_PER_BEAT, VOICES
from musegen.music.coconet import Coconet
from musegen.music.filling import Filling, OnPass, Plan, fill
from musegen.music.onsets import UNKNOWN, Onsets
from musegen.music.voices import notes_of

TICKS_PER_QUARTER = 480
BEATS_PER_BAR = 4

_BPM, _VELOCITY = 72, 80
_BAR = BEATS_PER_BAR * STEPS_PER_BEAT
_FINAL = 2 * STEPS_PER_BEAT  # sixteenths of the last chord
# The last chord: its fifth near this pitch in the tenor, the third and the tonic next above, the tonic low in the bass.
_TENOR, _BASS = 56, 45
_FIFTH, _THIRDS = 7, {"major": 4, "minor": 3}


def new_chorale(
    coconet: Coconet,
    onsets: Onsets,
    n_bars: int,
    tonic: int,
    mode: str,
    programs: tuple[int, ...],
    how: Filling,
    on_pass: OnPass | None = None,
) -> Score:
    """Writes a chorale in 4/4.

    The tonic stands in the bass of its first beat, and the chord on it at the end. Of several candidates one is taken
    that is in the key as a whole, by Krumhansl's profiles, if there is any.

    Args:
        coconet: in eval mode.
        onsets: in eval mode.
        n_bars: how long, 1 or more.
        tonic: pitch class of the key.
        mode: "major" or "minor".
        programs: General MIDI programs of the voices.
        how: how cells are drawn.
        on_pass: called after every pass.

    Raises:
        InputError: it is too long.
    """
    plan = _plan(n_bars * _BAR, tonic, mode)
    grid, onset = fill(coconet, onsets, plan, how, on_pass, lambda grid: find_key(grid) == (tonic, mode))
    tracks = tuple(
        Track(name, program, False, notes_of(grid[:, voice], onset[:, voice], TICKS_PER_QUARTER, _VELOCITY))
        for voice, (name, program) in enumerate(zip(VOICES, programs, strict=True))
    )
    key = key_of(tonic, mode)
    return Score(
        TICKS_PER_QUARTER,
        tracks,
        Tempos([0], bpm_to_us_per_quarter([_BPM])),
        Meters([0], [BEATS_PER_BAR], [4]),
        Keys([0], [key.sharps], [key.is_minor]),
        name="Chorale",
    )


def _plan(n_steps: int, tonic: int, mode: str) -> Plan:
    grid = np.full((n_steps, N_VOICES), SILENCE)
    free = np.ones(grid.shape, dtype=bool)
    grid[-_FINAL:] = _last_chord(tonic, mode)
    free[-_FINAL:] = False
    grid[:STEPS_PER_BEAT, -1] = grid[-1, -1]
    free[:STEPS_PER_BEAT, -1] = False
    steps = np.arange(n_steps)
    unknown = np.full(grid.shape, UNKNOWN, dtype=np.int64)
    return Plan(grid, free, np.zeros(n_steps, dtype=bool), unknown, steps % _BAR, np.full(n_steps, _BAR))


def _last_chord(tonic: int, mode: str) -> tuple[int, int, int, int]:
    """Returns a triad in root position and close position, from soprano to bass."""
    tenor = _nearest(tonic + _FIFTH, _TENOR)
    alto = tenor + (_THIRDS[mode] - _FIFTH) % 12
    return alto + -_THIRDS[mode] % 12, alto, tenor, _nearest(tonic, _BASS)


def _nearest(pitch_class: int, pitch: int) -> int:
    """Returns the pitch of a class (modulo 12) that is nearest to a pitch."""
    return pitch + (pitch_class - pitch + 6) % 12 - 6


def key_of(tonic: int, mode: str) -> Key:
    """Returns the key signature of a key, with six accidentals at most."""
    is_minor = mode == "minor"
    sharps = next(s for s in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6) if (7 * s + 9 * is_minor) % 12 == tonic)
    return Key(0, sharps, is_minor)
