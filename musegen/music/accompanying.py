"""Voices set under notes while they are played: what Coconet would sing, chord by chord.

Each chord that was heard stands for a beat of a chorale, whatever its rhythm was. The missing voices of the newest one
are drawn one after the other, bass first, from the model's view of the chords before it; the beat behind it is unknown.
"""

from collections import deque
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch

from musegen.errors import InputError
from musegen.music.chorales import (
    HIGHEST,
    LOWEST,
    N_CLASSES,
    N_VOICES,
    OUTSIDE,
    RANGES,
    SILENCE,
    STEPS_PER_BEAT,
    Grid,
    to_cells,
    to_grid,
)
from musegen.music.coconet import Coconet

_OCTAVE = 12
_CENTRES = np.array([(low + high) / 2 for low, high in RANGES])


class Accompanist:
    """Adds voices to chords as they come.

    Args:
        coconet: in eval mode.
        temperature: above 0 to 5; above 1 is bolder, below 1 safer.
        n_beats: how many chords of the past it looks at, 1 to 64.
        seed: the same seed and the same chords give the same voices.

    Raises:
        InputError: an argument is out of its range.
    """

    def __init__(self, coconet: Coconet, temperature: float = 0.8, n_beats: int = 8, seed: int = 0):
        if not 0 < temperature <= 5:
            raise InputError(f"temperature is {temperature}; allowed are numbers above 0 up to 5")
        if not 1 <= n_beats <= 64:
            raise InputError(f"n_beats is {n_beats}; allowed are 1 to 64")
        self._coconet, self._temperature = coconet, temperature
        self._past: deque[Grid] = deque(maxlen=n_beats)  # chords as cells (V,)
        self._generator = torch.Generator().manual_seed(seed)

    def add(self, pitches: Sequence[int]) -> list[int]:
        """Returns the pitches to sound with a chord, below its highest note, and remembers both.

        Args:
            pitches: what is held, one MIDI pitch or more; the highest is the melody. More than four leave nothing to
                add.

        Returns:
            Up to three pitches, descending, none of which is held.

        Raises:
            InputError: nothing is held, or a pitch is outside 0 to 127.
        """
        held = sorted(set(pitches), reverse=True)
        if not held or held[0] > 127 or held[-1] < 0:
            raise InputError(f"pitches is {list(pitches)}; allowed are one or more of 0 to 127")
        shift = _octaves(held[0])
        given = _placed([pitch + shift for pitch in held])
        chord = self._completed(given)
        self._past.append(to_cells(chord))
        found = {int(pitch) - shift for pitch in chord[(given == SILENCE) & (chord != SILENCE)]}
        return sorted({pitch for pitch in found - set(held) if 0 <= pitch < held[0]}, reverse=True)

    def forget(self) -> None:
        """Begins anew: what was heard does not matter any more."""
        self._past.clear()

    def _completed(self, chord: Grid) -> Grid:
        """Returns a chord (V,) with pitches where it had silence."""
        before = np.full((1, N_VOICES), OUTSIDE)
        beats = np.concatenate([before, *(each[None] for each in self._past), to_cells(chord)[None], before * 0])
        cells = torch.from_numpy(np.repeat(beats, STEPS_PER_BEAT, axis=0))[None]
        now = slice(-2 * STEPS_PER_BEAT, -STEPS_PER_BEAT)
        mask = torch.zeros(cells.shape, dtype=torch.bool)
        mask[:, -STEPS_PER_BEAT:] = True
        chord = chord.copy()
        missing = [voice for voice in reversed(range(N_VOICES)) if chord[voice] == SILENCE]
        for voice in missing:
            mask[:, now, voice] = True
        for voice in missing:
            allowed = _allowed(chord, voice)
            if not allowed.any():
                continue
            logits = self._coconet.predict(cells, mask)[0, now, voice].mean(0) / self._temperature
            chances = logits.masked_fill(~torch.from_numpy(allowed), -torch.inf).softmax(-1)
            drawn = int(torch.multinomial(chances, 1, generator=self._generator))
            cells[:, now, voice], mask[:, now, voice] = drawn, False
            chord[voice] = to_grid(np.array(drawn))
        return chord


def _octaves(highest: int) -> int:
    """Returns by how many semitones, in octaves, a melody note is moved into the soprano's range."""
    low, high = RANGES[0]
    shifts = range(-10 * _OCTAVE, 11 * _OCTAVE, _OCTAVE)
    return next(shift for shift in sorted(shifts, key=abs) if low <= highest + shift <= high)


def _placed(held: list[int]) -> Grid:
    """Returns the voices (V,) of what is held, descending, the first the soprano; the others are SILENCE.

    Each goes to the voice in whose range it lies best, moved by octaves where the model has no such pitch.
    """
    inner = held[1:]
    if len(inner) > N_VOICES - 1:  # the middle of a large chord says least
        inner = [*inner[: N_VOICES - 2], inner[-1]]
    voices = min(
        combinations(range(1, N_VOICES), len(inner)),
        key=lambda places: sum(abs(pitch - _CENTRES[place]) for pitch, place in zip(inner, places, strict=True)),
    )
    chord = np.full(N_VOICES, SILENCE)
    chord[0] = held[0]
    for place, pitch in zip(voices, inner, strict=True):
        chord[place] = pitch + _OCTAVE * -(-max(LOWEST - pitch, 0) // _OCTAVE)
    return chord


def _allowed(chord: Grid, voice: int) -> np.ndarray:
    """Returns which classes a voice may sing: in its range, and no higher or lower than the voices around it."""
    low, high = RANGES[voice]
    above, below = chord[:voice], chord[voice + 1 :]
    high = min([high, *above[above != SILENCE]])
    low = max([low, *below[below != SILENCE]])
    allowed = np.zeros(N_CLASSES, dtype=bool)
    if low <= high:
        allowed[max(low, LOWEST) - LOWEST + 1 : min(high, HIGHEST) - LOWEST + 2] = True
    return allowed
