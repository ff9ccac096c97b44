"""Names for pitches: which key a piece is in, and whether a black key is a sharp or a flat.

Names are places on the line of fifths: ... Bb -2, F -1, C 0, G 1, D 2 ..., so that 7 further is one sharp more.
"""

import numpy as np
from numpy.typing import NDArray

from musegen.midi.score import Key

_STEPS = "FCGDAEB"  # the letters by fifths, from F at -1
_BEFORE, _AFTER = 10, 42  # notes of context, from Meredith 2006

# How often a pitch class (from the tonic) sounds in major and in minor: Krumhansl & Kessler 1982.
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])

# The fifths from a tonic to the note 0..11 semitones above it: minor and major intervals, and the augmented fourth.
_FIFTHS_ABOVE = np.array([0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5])


def estimate_key(pitch: NDArray[np.integer], weight: NDArray[np.floating]) -> Key:
    """Returns the key whose profile fits best to pitches 0..127, each with a weight such as its length.

    Without notes it is C major.
    """
    heard = np.bincount(pitch.astype(np.int64) % 12, weights=weight, minlength=12)
    if not heard.any():
        return Key(0, 0, False)
    best, best_fit = Key(0, 0, False), -np.inf
    for sharps in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6):
        for profile, tonic in ((_MAJOR, 7 * sharps), (_MINOR, 7 * sharps + 9)):
            fit = float(np.dot(np.roll(profile - profile.mean(), tonic % 12), heard))
            fit /= float(np.linalg.norm(profile - profile.mean()))
            if fit > best_fit + 1e-9:
                best, best_fit = Key(0, sharps, profile is _MINOR), fit
    return best


def spell(pitch: NDArray[np.integer], sharps: NDArray[np.integer]) -> NDArray[np.int64]:
    """Names pitches in the order in which they sound.

    Every pitch class around a note counts as a tonic, as often as it is heard, and proposes a name for the note
    (ps13s1: Meredith 2006, "The ps13 pitch spelling algorithm"). The key signature says what the tonics are called.

    Args:
        pitch: 0..127.
        sharps: of the key signature at each note, -7..7.

    Returns:
        The place of each note's name on the line of fifths, -15..19 (C is 0).
    """
    n = len(pitch)
    if not n:
        return np.empty(0, np.int64)
    pc = pitch.astype(np.int64) % 12
    heard = np.zeros((n + 1, 12))
    heard[np.arange(1, n + 1), pc] = 1
    heard = heard.cumsum(0)
    here = np.arange(n)
    heard = heard[np.minimum(here + _AFTER, n)] - heard[np.maximum(here - _BEFORE, 0)]
    # The tonics are called after the twelve fifths around the signature, from its minor third to its raised fifth.
    lowest = sharps.astype(np.int64) - 3
    votes = np.zeros((n, 35))
    for tonic in range(12):
        tonic_place = lowest + (tonic * 7 - lowest) % 12
        place = tonic_place + _FIFTHS_ABOVE[(pc - tonic) % 12]
        votes[here, np.clip(place, -15, 19) + 15] += heard[:, tonic]
    # Ties go to the name nearest to the signature.
    distance = np.abs(np.arange(-15, 20) - (sharps[:, None] + 2.5))
    place = np.where((np.arange(-15, 20) * 7 - pc[:, None]) % 12 == 0, votes - distance * 1e-3, -np.inf).argmax(1)
    return place - 15


def respell_neighbours(
    pitch: NDArray[np.integer], fifths: NDArray[np.int64], sharps: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Returns names in which a neighbour note has a letter of its own: C B C, where it was C Cb C.

    Args:
        pitch: of the notes of one voice, one after the other.
        fifths: their names.
        sharps: of the key signature at each note, whose own notes keep their names.
    """
    pitch, fifths = pitch.astype(np.int64), fifths.copy()
    if len(pitch) < 2:
        return fifths
    is_foreign = (np.abs(fifths - sharps - 2) > 3)[:-1]
    rises = is_foreign & (np.diff(pitch) == 1) & (np.diff(fifths) == 7)
    fifths[:-1][rises & (fifths[:-1] <= 7)] += 12
    falls = is_foreign & (np.diff(pitch) == -1) & (np.diff(fifths) == -7)
    returns = falls & np.append(False, pitch[:-2] == pitch[2:])
    fifths[:-1][returns & (fifths[:-1] >= -3)] -= 12
    return fifths


def step_alter_octave(pitch: int, fifths: int) -> tuple[str, int, int]:
    """Returns the letter, the sharps (or, below 0, flats) and the octave of a pitch 0..127 named by its fifths.

    The octave below C0 has no name in MusicXML: its pitches are written an octave higher.
    """
    alter = (fifths + 1) // 7
    return _STEPS[(fifths + 1) % 7], alter, max((pitch - alter) // 12 - 1, 0)


def signature_alter(step: str, sharps: int) -> int:
    """Returns what a key signature does to a letter: 1 for a sharp, -1 for a flat, 0 for nothing."""
    place = _STEPS.index(step)
    return (place < sharps) - (6 - place < -sharps)
