"""Scores to grids and back: which track is which voice, what a sixteenth holds, where bars begin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.score import Meters, Notes, Score, Track
from musegen.music.chorales import SILENCE, VOICES
from musegen.music.voices import (
    check_one_at_a_time,
    grid_of,
    line_of,
    notes_of,
    only,
    places_of,
    steps_before,
    voice_tracks,
)


def track(name: str, *rows: tuple[int, int, int]) -> Track:
    """A track of (start, duration, pitch) in sixteenths of 120 ticks."""
    return Track(name, 0, False, Notes(*np.array([(120 * s, 120 * d, p, 80) for s, d, p in rows]).reshape(-1, 4).T))


def four(*names: str) -> Score:
    return Score(480, tuple(track(name, (0, 16, 72 - 8 * place)) for place, name in enumerate(names)))


@pytest.mark.parametrize("names", [VOICES, ("Soprano 1", "ALTO", "T.", "bass"), ("", "", "", ""), ("a", "s", "x", "y")])
def test_voices_are_found_by_name_or_height(names: tuple[str, ...]):
    score = four(*names)
    assert voice_tracks(score) == [0, 1, 2, 3]


def test_names_count_more_than_height():
    assert voice_tracks(four("bass", "tenor", "alto", "soprano")) == [3, 2, 1, 0]
    assert voice_tracks(four("soprano", "tenor", "bass"), ["alto"]) == [0, None, 1, 2]
    assert voice_tracks(four("", "", ""), ["alto"]) == [0, None, 1, 2]
    assert voice_tracks(four("alto", "", "", ""), ()) == [1, 0, 2, 3]
    for names in [("soprano", "alto", "bass"), ("S", "A", "B")]:
        with pytest.raises(InputError, match="tenor missing, and not among voices to write"):
            voice_tracks(four(*names), ["alto"])


def test_what_is_no_four_voices_is_named():
    with pytest.raises(InputError, match=r"soprano, alto, tenor and bass.*got 3 with notes: 'x', 'y', 'z'"):
        voice_tracks(four("x", "y", "z"))
    with pytest.raises(InputError, match="got 5"):
        voice_tracks(four("", "", "", "", ""))


@st.composite
def lines(draw) -> tuple[np.ndarray, np.ndarray]:
    rows = draw(st.lists(st.tuples(st.sampled_from([SILENCE, 60, 62, 64]), st.booleans()), min_size=1, max_size=40))
    pitches, begins = (np.array(column) for column in zip(*rows, strict=True))
    return pitches, begins


@given(lines(), st.integers(12, 1000))
def test_lines_come_back_from_their_notes(line: tuple[np.ndarray, np.ndarray], ticks_per_quarter: int):
    pitches, begins = line
    notes = notes_of(pitches, begins, ticks_per_quarter)
    found, found_begins = line_of(notes, ticks_per_quarter, len(pitches))
    assert np.array_equal(found, pitches)
    changed = np.diff(pitches, prepend=SILENCE) != 0
    assert np.array_equal(found_begins, (pitches != SILENCE) & (begins | changed))
    assert (notes.end_ticks[:-1] <= notes.start_ticks[1:]).all()


def test_a_sixteenth_holds_what_fills_most_of_it():
    # An ornament, a triplet, a note that is let go early, and one that is held a little too long.
    notes = Notes(
        [0, 20, 480, 640, 800, 960, 1200], [20, 400, 160, 160, 160, 250, 100], [74, 72, 60, 62, 64, 65, 67], 7 * [80]
    )
    pitches, begins = line_of(notes, 480, 12)
    assert pitches.tolist() == [72, 72, 72, 72, 60, 62, 62, 64, 65, 65, 67, SILENCE]
    assert begins.tolist() == [True, False, False, False, True, True, False, True, True, False, True, False]


def test_notes_together_are_found():
    check_one_at_a_time(Score(480), track("", (0, 4, 60), (3, 4, 62), (7, 4, 62), (8, 4, 62)), "melody")
    with pytest.raises(InputError, match=r"melody .* pitches 60 and 64 sound together in bar 2; choose another track"):
        check_one_at_a_time(Score(480), track("", (0, 4, 62), (16, 4, 60), (16, 4, 64)), "melody")
    with pytest.raises(InputError, match="sound together in bar 1"):
        check_one_at_a_time(Score(480), track("", (0, 16, 62), (8, 4, 60)), "melody")


def test_places_in_the_bar_count_a_pickup_toward_its_end():
    score = Score(480, meters=Meters([0, 240], [1, 3], [8, 4]))
    assert steps_before(score) == 0  # without music there is one bar line
    score = Score(480, (track("", (0, 40, 60)),), meters=score.meters)
    assert steps_before(score) == 2
    places, bars = places_of(score, 18, 2)
    assert places.tolist() == [8, 9, 10, 11, *range(12), 0, 1]
    assert set(bars.tolist()) == {12}


def test_grid_of_a_score_begins_on_a_beat():
    score = Score(480, four(*VOICES).tracks, meters=Meters([0, 240], [1, 4], [8, 4]))
    grid = grid_of(score)
    assert grid.shape == (18, 4) and (grid[:2] == SILENCE).all() and grid[2].tolist() == [72, 64, 56, 48]
    with pytest.raises(InputError, match="36 to 81, got 20"):
        grid_of(Score(480, (*four(*VOICES).tracks[:3], track("bass", (0, 4, 20)))))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=4))
def test_only_keeps_what_is_inside(rows: list[tuple[int, int]]):
    spans = [(10, 20), (25, 40)]
    notes = Notes(*np.array([(start, length, 60, 80) for start, length in rows]).reshape(-1, 4).T)
    inside = only(notes, spans)
    kept = sum(
        max(0, min(note.end_ticks, last) - max(note.start_ticks, first)) for note in notes for first, last in spans
    )
    assert inside.duration_ticks.sum() == kept and (inside.duration_ticks > 0).all()
