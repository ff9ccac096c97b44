"""Scores from and to NumPy note arrays and piano-rolls."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.convert import arrays
from musegen.midi.convert.arrays import NOTE_DTYPE, PianoRoll, from_notes, from_piano_roll, to_notes, to_piano_roll
from musegen.midi.score import Notes, Programs, Score, Track

NEEDED = [("start_quarters", "f8"), ("duration_quarters", "f8"), ("pitch", "i8")]


def note_array(*rows, more=()):
    return np.array(list(rows), [*NEEDED, *more])


# Note arrays ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(score=st.from_type(Score))
def test_notes_go_through_an_array(score):
    array = to_notes(score)
    assert array.dtype == NOTE_DTYPE
    again = from_notes(array, ticks_per_quarter=score.ticks_per_quarter)
    sounding = [track for track in score.tracks if len(track.notes)]
    assert [track.notes for track in again.tracks] == [track.notes for track in sounding]
    assert [track.is_drum for track in again.tracks] == [track.is_drum for track in sounding]
    for old, new in zip(sounding, again.tracks, strict=True):
        at = old.notes.start_ticks
        assert new.programs_of(at).tolist() == old.programs_of(at).tolist()
        assert new.program == old.programs_of(at)[0]


def test_a_note_array_is_in_quarters():
    score = Score(96, (Track("", 7, False, Notes([0, 48], [96, 24], [60, 62], [80, 90])),))
    assert to_notes(score).tolist() == [(0.0, 1.0, 60, 80, 0, 7, False), (0.5, 0.25, 62, 90, 0, 7, False)]


def test_what_a_note_array_may_leave_out():
    score = from_notes(note_array((0, 1, 60), (1, 1 / 3, 62)), program=40)
    assert [tuple(note) for note in score.tracks[0].notes] == [(0, 480, 60, 80), (480, 160, 62, 80)]
    assert (score.ticks_per_quarter, score.tracks[0].program, score.tracks[0].is_drum) == (480, 40, False)
    assert from_notes(note_array()).tracks == ()
    whole_numbers = np.array([(0, 1, 60.0)], [("start_quarters", "i4"), ("duration_quarters", "i4"), ("pitch", "f4")])
    assert from_notes(whole_numbers).tracks[0].notes[0].pitch == 60


def test_notes_that_touch_go_on_touching_and_none_is_lost():
    third = 1 / 7
    score = from_notes(note_array(*((i * third, third, 60) for i in range(50)), (9, 1e-6, 61), (9, 0, 62)))
    notes = score.tracks[0].notes
    chain = notes[notes.pitch == 60]
    assert (chain.end_ticks[:-1] == chain.start_ticks[1:]).all()
    assert notes[notes.pitch == 61][0].duration_ticks == 1
    assert notes[notes.pitch == 62][0].duration_ticks == 0


def test_tracks_and_programs_of_a_note_array():
    more = [("track", "i4"), ("program", "u1"), ("is_drum", "?")]
    rows = [(1, 1, 60, 5, 41, False), (0, 1, 60, 5, 40, False), (0, 1, 36, -2, 0, True), (2, 1, 60, 5, 41, False)]
    drums, violin = from_notes(note_array(*rows, more=more)).tracks
    assert drums.is_drum and not violin.is_drum
    assert (violin.program, violin.programs) == (40, Programs([0, 480], [40, 41]))
    with pytest.raises(InputError, match="track 5 start at tick 0 with different programs"):
        from_notes(note_array(rows[1], (0, 2, 70, 5, 41, False), more=more))
    with pytest.raises(InputError, match="is_drum must be the same for all notes of track 5"):
        from_notes(note_array(rows[1], (0, 2, 70, 5, 40, True), more=more))


def test_a_melody_of_pairs():
    score = from_notes([(60, 1), (None, 0.5), (np.int64(62), 1 / 3), (64, np.float32(2))], program=73)
    notes = [tuple(note) for note in score.tracks[0].notes]
    assert notes == [(0, 480, 60, 80), (720, 160, 62, 80), (880, 960, 64, 80)]
    assert score.tracks[0].program == 73
    assert from_notes([(None, 4)]).tracks == from_notes([]).tracks == ()
    assert from_notes(np.array([[60, 1], [62, 2]])).n_notes == 2


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (note_array((0, 1, 128)), "pitch must be 0..127, got 128"),
        (note_array((0, 1, -1)), "pitch must be 0..127, got -1"),
        (note_array((-1, 1, 60)), "start_quarters must be 0..* got -1.0"),
        (note_array((0, -1, 60)), "duration_quarters must be 0..* got -1.0"),
        (note_array((np.nan, 1, 60)), "start_quarters must be .* got nan"),
        (note_array((0, np.inf, 60)), "duration_quarters must be .* got inf"),
        (note_array((1e9, 1, 60)), "start_quarters must be .* got 1000000000.0"),
        (note_array((0, 1, 60, 0), more=[("velocity", "u1")]), "velocity must be 1..127, got 0"),
        (note_array((0, 1, 60, 0.5), more=[("velocity", "f8")]), "velocity must be whole numbers"),
        (note_array((0, 1, 60, np.nan), more=[("velocity", "f8")]), "velocity must be whole numbers"),
        (note_array((0, 1, 60, 200), more=[("program", "u1")]), "program must be 0..127, got 200"),
        (
            note_array((0, 1, 60))[["start_quarters", "pitch"]],
            "needs the field duration_quarters, got start_quarters, p",
        ),
        (note_array((0, 1, 60)).reshape(1, 1), r"one-dimensional, got shape \(1, 1\)"),
        (np.array([("0", 1, 60)], [("start_quarters", "U3"), *NEEDED[1:]]), "start_quarters must be numbers"),
        (np.zeros((3, 4)), "other arrays need the fields start_quarters, duration_quarters, pitch, velocity, track"),
        ([(60, 0)], r"notes\[0\] must be .* got \(60, 0\)"),
        ([(60, 1), (128, 1)], r"notes\[1\] must be"),
        ([(60, -1)], r"notes\[0\]"),
        ([(60, float("nan"))], r"notes\[0\]"),
        ([(60, float("inf"))], r"notes\[0\]"),
        ([(60.5, 1)], r"notes\[0\]"),
        ([("C4", 1)], r"notes\[0\]"),
        ([60, 62], r"notes\[0\] must be .* got 60"),
        ([(60, 1e6)], "duration_quarters must be"),
    ],
)
def test_wrong_notes(notes, message):
    with pytest.raises(InputError, match=message):
        from_notes(notes)


@pytest.mark.parametrize("ticks_per_quarter", [0, -1, 32768])
def test_wrong_ticks_per_quarter(ticks_per_quarter):
    with pytest.raises(InputError, match=f"ticks_per_quarter must be 1..32767, got {ticks_per_quarter}"):
        from_notes([(60, 1)], ticks_per_quarter=ticks_per_quarter)


# Piano-rolls ----------------------------------------------------------------------------------------------------------


@st.composite
def scores_on_a_grid(draw) -> tuple[int, Score]:
    """Steps a quarter, and one track whose notes lie on steps; those of one pitch touch at most."""
    steps = draw(st.sampled_from([1, 3, 4, 24, 480, 1000]))
    per_step = max(1, 480 // steps)
    rows = []
    for pitch in draw(st.lists(st.integers(0, 127), max_size=4, unique=True)):
        now = draw(st.integers(0, 20))
        for length, gap, velocity in draw(
            st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(1, 127)), max_size=6)
        ):
            rows.append((now * per_step, length * per_step, pitch, velocity))
            now += length + gap
    notes = Notes(*zip(*rows, strict=True)) if rows else Notes()
    return steps, Score(steps * per_step, (Track("", draw(st.integers(0, 127)), draw(st.booleans()), notes),))


@settings(max_examples=30, deadline=None)
@given(on_grid=scores_on_a_grid())
def test_notes_on_the_grid_go_through_a_piano_roll(on_grid):
    steps, score = on_grid
    track = score.tracks[0]
    roll = to_piano_roll(score, steps_per_quarter=steps, track=0)
    assert from_piano_roll(roll, program=track.program, is_drum=track.is_drum) == score
    assert roll.velocity.dtype == np.uint8 and roll.onset is not None and roll.onset.sum() == len(track.notes)


def test_a_piano_roll_shows_what_sounds():
    notes = Notes([0, 480, 480, 530], [480, 480, 130, 5], [60, 60, 61, 62], [10, 10, 20, 30])
    roll = to_piano_roll(Score(480, (Track("", 0, False, notes),)), steps_per_quarter=2)
    assert roll.steps_per_quarter == 2 and roll.velocity.shape == (4, 128)
    assert roll.onset is not None
    assert roll.velocity[:, 60].tolist() == [10, 10, 10, 10]
    assert roll.onset[:, 60].tolist() == [True, False, True, False]
    assert roll.velocity[:, 61].tolist() == [0, 0, 20, 0]
    assert roll.velocity[:, 62].tolist() == [0, 0, 30, 0]
    assert [len(from_piano_roll(r).tracks[0].notes) for r in (roll, roll._replace(onset=None))] == [4, 3]


def test_notes_of_one_pitch_that_sound_at_once():
    notes = Notes([0, 480, 960, 960], [1920, 240, 480, 960], [60, 60, 60, 60], [10, 20, 90, 30])
    score = from_piano_roll(to_piano_roll(Score(480, (Track("", 0, False, notes),)), steps_per_quarter=2))
    assert [tuple(n) for n in score.tracks[0].notes] == [(0, 480, 60, 10), (480, 240, 60, 20), (960, 960, 60, 90)]


def test_tracks_of_a_piano_roll():
    tracks = [Track("", 0, pitch == 36, Notes([0], [480], [pitch], [pitch])) for pitch in (60, 64, 36)]
    score = Score(480, tuple(tracks))
    assert np.nonzero(to_piano_roll(score).velocity[0])[0].tolist() == [60, 64]
    assert np.nonzero(to_piano_roll(score, track=2).velocity[0])[0].tolist() == [36]
    assert to_piano_roll(Score(480)).velocity.shape == (0, 128)
    assert to_piano_roll(Score(480, tuple(tracks[2:]))).velocity.shape == (0, 128)
    for track in (3, -1):
        with pytest.raises(InputError, match=rf"track must be 0\.\.2, got {track}"):
            to_piano_roll(score, track=track)
    with pytest.raises(InputError, match="there are none"):
        to_piano_roll(Score(480), track=0)


def test_plain_arrays_as_piano_rolls():
    roll = np.zeros((8, 128), bool)
    roll[2:6, 60] = True
    score = from_piano_roll(roll, program=40)
    assert [tuple(note) for note in score.tracks[0].notes] == [(240, 480, 60, 80)]
    assert score.tracks[0].program == 40
    onset = np.zeros_like(roll)
    onset[4, 60] = onset[7, 60] = True  # an onset where nothing sounds is none
    notes = from_piano_roll(roll * 64.0, onset=onset, steps_per_quarter=1, is_drum=True).tracks[0].notes
    assert [tuple(note) for note in notes] == [(960, 960, 60, 64), (1920, 960, 60, 64)]
    fading = np.zeros((4, 128), int)
    fading[:, 60] = [90, 80, 70, 0]
    assert len(from_piano_roll(fading).tracks[0].notes) == 3
    whole = from_piano_roll(fading, onset=fading == 90).tracks[0].notes
    assert [tuple(note) for note in whole] == [(0, 360, 60, 90)]
    assert from_piano_roll(np.zeros((0, 128))).n_notes == 0


@pytest.mark.parametrize(
    ("roll", "message"),
    [
        (np.zeros((128, 500)), r"\(time, 128\), got \(128, 500\); transpose it"),
        (np.zeros(128), r"\(time, 128\), got \(128,\)"),
        (np.zeros((2, 2, 128)), r"got \(2, 2, 128\)"),
        (np.full((2, 128), 128), "whole velocities"),
        (np.full((2, 128), -1), "whole velocities"),
        (np.full((2, 128), 0.5), "whole velocities"),
        (np.full((2, 128), np.nan), "whole velocities"),
        (np.full((2, 128), np.inf), "whole velocities"),
        (np.full((2, 128), "a"), "whole velocities"),
        (PianoRoll(np.ones((2, 128), np.uint8), np.ones((3, 128), bool)), "onset must have the shape"),
        (PianoRoll(np.ones((2, 128), np.uint8), None, 0), "steps_per_quarter must be 1..32767, got 0"),
    ],
)
def test_wrong_piano_rolls(roll, message):
    with pytest.raises(InputError, match=message):
        from_piano_roll(roll)


def test_a_piano_roll_has_an_end(monkeypatch):
    monkeypatch.setattr(arrays, "MAX_STEPS", 100)
    with pytest.raises(InputError, match="at most 100 steps, this one would have 400"):
        to_piano_roll(Score(480, (Track("", 0, False, Notes([0], [48_000], [60], [80])),)))
    with pytest.raises(InputError, match="at most 100 steps, got 101"):
        from_piano_roll(np.zeros((101, 128)))
