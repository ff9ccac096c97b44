"""Rules, distributions and copies, on chords written out by hand."""

import numpy as np
import pytest

from musegen.music import counterpoint as c
from musegen.music.chorales import SILENCE

TONIC, DOMINANT = [72, 64, 60, 48], [71, 67, 62, 43]


def test_good_writing_breaks_no_rule():
    found = c.rules([np.repeat([TONIC, DOMINANT, TONIC], 4, axis=0)])
    assert found == c.Rules(*[0.0] * 7)


@pytest.mark.parametrize(
    ("chords", "field", "value"),
    [
        ([[72, 64, 60, 48], [72, 64, 60, 83]], "out_of_range", 1 / 8),
        ([[72, 64, 60, 48], [63, 64, 60, 48]], "crossing", 1 / 2),
        ([[77, 64, 60, 48]], "spacing", 1.0),
        ([[72, 67, 60, 48], [74, 65, 57, 50]], "parallel_octaves", 100.0),
        ([[72, 60, 53, 50], [71, 62, 55, 43]], "parallel_fifths", 100.0),
        ([[64, 64, 60, 48], [72, 65, 57, 53]], "hidden_fifths", 100.0),
        ([[67, 64, 60, 48], [74, 65, 57, 50]], "hidden_octaves", 100.0),
    ],
)
def test_every_rule(chords: list[list[int]], field: str, value: float):
    assert getattr(c.rules([np.array(chords)]), field) == pytest.approx(value)


def test_voices_that_cross_run_in_fifths_and_not_in_fourths():
    fifths, fourths = [[60, 67, 50, 40], [62, 69, 50, 40]], [[60, 65, 50, 40], [62, 67, 50, 40]]
    assert [c.rules([np.array(chords)]).parallel_fifths for chords in (fifths, fourths)] == [100, 0]


def test_silence_breaks_no_rule():
    silent = [SILENCE, 64, 60, 48]
    found = c.rules([np.array([TONIC, silent, [74, 65, 57, 50], [SILENCE] * 4])])
    assert found.parallel_octaves == found.hidden_octaves == found.crossing == 0


def test_what_chorales_are_made_of():
    grid = np.array([TONIC] * 6 + [DOMINANT] * 2 + [[SILENCE, 67, 62, 43]])
    assert len(c.pitches(grid)) == 35
    assert sorted(c.melodic_intervals(grid).tolist()) == [-5, -1, 2, 3]
    assert sorted(c.durations(grid).tolist()) == [2, 3, 3, 3, 6, 6, 6, 6]
    assert c.harmonies(grid) == [(0, 4), (0, 4), (0, 7)]


def test_distances():
    assert c.wasserstein(np.array([1, 2, 3]), np.array([3, 1, 2])) == 0
    assert c.wasserstein(np.array([0, 0]), np.array([5, 3])) == pytest.approx(4)
    assert c.total_variation(["a", "a", "b"], ["b", "b", "c"]) == pytest.approx(2 / 3)
    grid = np.repeat([TONIC, DOMINANT], 4, axis=0)
    assert c.distances([grid], [grid, grid]) == dict.fromkeys(
        ("pitches", "melodic_intervals", "durations", "harmonies"), 0.0
    )
    assert c.distances([grid], [grid + 2])["pitches"] == pytest.approx(2)


def test_the_longest_copy_is_found_in_any_key():
    rng = np.random.default_rng(0)
    known = [rng.integers(50, 70, (40, 4)) for _ in range(3)]
    new = rng.integers(50, 70, (30, 4))
    assert c.longest_copies([new], known) == [0]
    new[5:16] = known[1][20:31] - 3
    assert c.longest_copies([new, known[0], new[:1]], known) == [11, 40, 0]
    new[20:28] = known[2][:8] + 2
    assert c.longest_copies([new, known[1][:12]], known[2:]) == [8, 0]


def test_a_copy_does_not_run_on_into_the_next_chorale():
    rng = np.random.default_rng(0)
    first, second = rng.integers(50, 70, (2, 10, 4))
    assert c.longest_copies([np.vstack([first, second])], [first, second]) == [10]
    assert c.longest_copies([first], []) == [0]
