"""Phrase ends and cadences, on chords written out by hand."""

import numpy as np

from musegen.music.cadences import Cadences, cadence, cadences, phrase_ends
from musegen.music.chorales import SILENCE

TONIC, SUBDOMINANT, DOMINANT = [72, 64, 60, 48], [72, 65, 57, 53], [71, 67, 62, 43]
INVERTED = [72, 67, 60, 52]


def grid_of(*chords: tuple[list[int], int]) -> np.ndarray:
    return np.vstack([np.repeat([chord], length, axis=0) for chord, length in chords])


def test_phrases_end_with_held_chords_and_with_the_piece():
    grid = grid_of((TONIC, 4), (DOMINANT, 8), (TONIC, 7), (SUBDOMINANT, 9), (TONIC, 4))
    assert phrase_ends(grid).tolist() == [11, 27, 31]
    moving = grid.copy()
    moving[8:, 1] += 1
    assert phrase_ends(moving).tolist() == [27, 31]
    silent = np.vstack([grid, np.full((8, 4), SILENCE)])
    assert phrase_ends(silent).tolist() == [11, 27, 31]
    assert phrase_ends(np.full((9, 4), SILENCE)).tolist() == []


def test_a_cadence_is_told_in_its_key():
    grid = grid_of((DOMINANT, 4), (INVERTED, 4), ([SILENCE, 64, 60, 48], 4))
    assert cadence(grid, 3, 0) == (7, (0, 4, 7))
    assert cadence(grid + 2, 3, 2) == (7, (0, 4, 7))
    assert cadence(grid, 7, 0) == (4, (0, 3, 8))
    assert cadence(grid, 11, 0) == (0, (0, 4))


def test_authentic_and_other_endings():
    authentic = grid_of((TONIC, 8), (SUBDOMINANT, 4), (DOMINANT, 4), (TONIC, 8))
    plagal = grid_of((TONIC, 8), (DOMINANT, 4), (SUBDOMINANT, 4), (TONIC, 8))
    half = grid_of((TONIC, 8), (SUBDOMINANT, 8), (TONIC, 8), (DOMINANT, 4))
    inverted = grid_of((TONIC, 12), (DOMINANT, 4), (INVERTED, 8))
    grids = [authentic, plagal, half, inverted]
    last = [np.array([len(grid) - 1]) for grid in grids]
    found, chords = cadences(grids, last)
    assert chords == [(0, (0, 4)), (0, (0, 4)), (7, (0, 4, 7)), (4, (0, 3, 8))]
    assert found == Cadences(triads=0.75, fifths=0.25, final_tonics=0.5, final_fifths=0.25)


def test_a_doubled_bass_note_or_an_octave_is_no_motion():
    octave = [72, 67, 62, 55]
    grid = grid_of((SUBDOMINANT, 4), (octave, 4), (DOMINANT, 4), (TONIC, 4), ([72, 64, 60, 36], 4))
    found, _ = cadences([grid], [np.array([19])])
    assert found.fifths == found.final_fifths == 1
    still, _ = cadences([grid_of((TONIC, 16))], [np.array([15])])
    assert still.fifths == 0 and still.final_tonics == 1


def test_nothing_ends_where_nothing_sounds():
    silent = np.full((4, 4), SILENCE)
    assert cadences([silent], [phrase_ends(silent)]) == (Cadences(0, 0, 0, 0), [])


def test_the_key_of_a_piece_makes_no_difference():
    grid = grid_of((TONIC, 8), (SUBDOMINANT, 4), (DOMINANT, 4), (TONIC, 8))
    moved = grid + 3
    assert cadences([grid], [phrase_ends(grid)]) == cadences([moved], [phrase_ends(moved)])
