"""The grid: quantising, its report, and the way back to a Score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.instruments import DRUMS, instrument_index
from musegen.midi.score import Controls, Meters, Notes, PitchBends, Score, Tempos, Track
from musegen.music import vocabulary as v
from musegen.music.grid import ONSET, GridScore, QuantiseReport, has_beat, quantise

PIANO, VIOLIN = instrument_index("piano"), instrument_index("violin")


def piece(*rows, program=0, is_drum=False, tpq=24, **changes) -> Score:
    """A score of one track; rows are start, duration, pitch, velocity."""
    return Score(tpq, (Track("", program, is_drum, Notes(*np.array(rows, int).reshape(-1, 4).T)),), **changes)


def meters_of(grid: GridScore) -> list[tuple[int, int]]:
    return [v.METERS[index] for index in grid.meters]


@settings(max_examples=150)
@given(score=...)
def test_quantise_is_idempotent(score: Score):
    grid, report = quantise(score)
    again, second = quantise(grid.to_score())
    assert again == grid
    assert report.n_notes == score.n_notes
    assert len(grid.notes) == report.n_notes - report.merged_notes - report.dropped_drums == second.n_notes
    assert second == QuantiseReport(n_notes=len(grid.notes), has_beat=second.has_beat)


@given(score=...)
def test_quantised_notes_end_with_the_last_bar_and_no_bar_trails(score: Score):
    grid, _ = quantise(score)
    if len(grid.notes):
        assert (grid.notes[:, ONSET] + grid.notes[:, 3]).max() <= grid.n_ticks
        assert (grid.notes[:, ONSET] + grid.notes[:, 3]).max() > grid.bar_ticks[-2]
    else:
        assert grid.n_bars == 0


@given(grid=...)
def test_to_score_keeps_notes_meters_and_tempos(grid: GridScore):
    score = grid.to_score()
    assert score.n_notes == len(grid.notes)
    assert score.end_ticks == 20 * (grid.notes[:, 0] + grid.notes[:, 3]).max(initial=0)
    assert sorted(track.name for track in score.tracks) == sorted({track.name for track in score.tracks})
    for bar, tick in enumerate(grid.bar_ticks[:-1] * 20):
        at = np.searchsorted(score.meters.start_ticks, tick, side="right") - 1
        assert (score.meters.numerator[at], score.meters.denominator[at]) == v.METERS[grid.meters[bar]]
        at = np.searchsorted(score.tempos.start_ticks, tick, side="right") - 1
        assert score.tempos.bpm[at] == pytest.approx(v.TEMPOS_BPM[grid.tempos[bar]], rel=1e-4)


@given(grid=..., data=st.data())
def test_equality_does_not_depend_on_the_order_of_the_notes(grid: GridScore, data):
    order = data.draw(st.permutations(range(len(grid.notes))))
    assert GridScore(grid.meters, grid.tempos, grid.notes[order]) == grid


@given(grid=..., data=st.data())
def test_bars(grid: GridScore, data):
    first = data.draw(st.integers(0, grid.n_bars))
    last = data.draw(st.integers(first, grid.n_bars))
    part = grid.bars(first, last)
    assert np.array_equal(part.meters, grid.meters[first:last]) and np.array_equal(part.tempos, grid.tempos[first:last])
    rest = len(grid.bars(0, first).notes) + len(grid.bars(last, grid.n_bars).notes)
    assert len(part.notes) + rest == len(grid.notes)
    assert grid.bars(0, grid.n_bars) == grid


@pytest.mark.parametrize(
    ("meters", "tempos", "note", "message"),
    [
        ([124], [0], (0, 0, 60, 1, 0), "meter is 124"),
        ([-1], [0], (0, 0, 60, 1, 0), "meter is -1"),
        ([0], [55], (0, 0, 60, 1, 0), "tempo is 55"),
        ([0], [0, 0], (0, 0, 60, 1, 0), "meters has 1 bars and tempos 2"),
        ([0], [0], (96, 0, 60, 1, 0), "onset is 96; allowed are 0 to 95"),
        ([0], [0], (-1, 0, 60, 1, 0), "onset is -1"),
        ([0], [0], (0, 39, 60, 1, 0), "instrument is 39"),
        ([0], [0], (0, 0, 20, 1, 0), "pitch is 20; allowed are 21 to 108"),
        ([0], [0], (0, 0, 109, 1, 0), "pitch is 109"),
        ([0], [0], (0, 0, 60, 1, 8), "velocity level is 8"),
        ([0], [0], (0, 0, 60, 13, 0), "duration is 13 ticks"),
        ([0], [0], (0, 0, 60, 0, 0), "duration is 0 ticks"),
        ([], [], (0, 0, 60, 1, 0), "onset is 0"),
    ],
)
def test_a_grid_score_is_checked(meters, tempos, note, message):
    with pytest.raises(InputError, match=message):
        GridScore(np.array(meters, int), np.array(tempos, int), np.array([note]))


def test_a_grid_score_is_immutable():
    grid = GridScore(np.array([0]), np.array([0]), np.array([[0, 0, 60, 1, 0]]))
    for array in (grid.meters, grid.tempos, grid.notes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_an_exact_piece_is_not_changed():
    grid, report = quantise(piece((0, 24, 60, 72), (24, 72, 64, 72)))
    assert report == QuantiseReport(n_notes=2)
    assert grid.notes.tolist() == [[0, PIANO, 60, 24, 4], [24, PIANO, 64, 72, 4]]
    assert meters_of(grid) == [(4, 4)] and v.TEMPOS_BPM[grid.tempos[0]] == 120


def test_moved_onsets_are_counted_in_milliseconds():
    # At 120 bpm and 48 ticks a quarter, one tick is 10.4 ms, and half a tick of the grid.
    grid, report = quantise(piece((0, 48, 60, 72), (49, 47, 62, 72), (95, 49, 64, 72), tpq=48))
    assert grid.notes[:, ONSET].tolist() == [0, 25, 48]
    assert report.moved_onsets == 2
    assert report.max_shift_ms == pytest.approx(500 / 48)
    assert report.mean_shift_ms == pytest.approx(2 / 3 * 500 / 48)


def test_equal_onsets_and_pitches_of_one_class_merge_to_the_longest_and_loudest():
    tracks = (
        Track("a", 0, False, Notes([0, 0], [24, 48], [60, 60], [100, 30])),
        Track("b", 1, False, Notes([0], [12], [60], [120])),
        Track("c", 40, False, Notes([0], [12], [60], [64])),
        Track("empty", 40, False, Notes()),
    )
    grid, report = quantise(Score(24, tracks))
    assert grid.notes.tolist() == [[0, PIANO, 60, 48, 7], [0, VIOLIN, 60, 12, 4]]
    assert (report.merged_notes, report.merged_tracks) == (2, 1)


def test_pitches_are_folded_and_drums_dropped():
    grid, report = quantise(piece(*((0, 24, pitch, 72) for pitch in (0, 20, 108, 109, 127))))
    assert grid.notes[:, 2].tolist() == [24, 32, 97, 103, 108] and report.folded_pitches == 4
    grid, report = quantise(piece((0, 24, 20, 72), (0, 24, 35, 72), (24, 24, 109, 72), is_drum=True))
    assert grid.notes.tolist() == [[0, DRUMS, 35, 6, 4]]
    assert (report.dropped_drums, report.changed_durations, report.folded_pitches) == (2, 1, 0)


def test_durations_go_to_the_nearest_and_end_with_the_piece():
    grid, report = quantise(piece((0, 13, 60, 72), (24, 0, 62, 72), (48, 48 + 18, 64, 72)))
    assert grid.notes[:, 3].tolist() == [12, 1, 48]
    assert report.changed_durations == 3 and grid.n_bars == 1


def test_a_note_that_rings_a_beat_over_the_bar_line_opens_a_bar():
    grid, report = quantise(piece((48, 48 + 24, 64, 72)))
    assert grid.n_bars == 2 and grid.notes[0, 3] == 72 and report.changed_durations == 0


def test_a_change_of_meter_cuts_a_bar():
    score = piece((0, 24, 60, 72), (200, 24, 60, 72), meters=Meters([0, 24, 24 + 72 + 36], [4, 3, 6], [4, 4, 8]))
    grid, report = quantise(score)
    assert meters_of(grid) == [(1, 4), (3, 4), (3, 8), (6, 8)] and report.cut_bars == 2


@pytest.mark.parametrize(("ticks", "bars"), [(99, [(4, 4), (1, 32)]), (195, [(8, 4), (1, 32)]), (102, [(17, 16)])])
def test_a_cut_bar_that_no_meter_names_becomes_two(ticks, bars):
    score = piece((0, 24, 60, 72), (ticks, 24, 60, 72), meters=Meters([0, ticks], [16, 4], [4, 4]))
    grid, report = quantise(score)
    assert meters_of(grid) == [*bars, (4, 4)] and report.cut_bars == 1


def test_meters_that_the_grid_has_not_are_replaced():
    grid, report = quantise(piece((0, 24, 60, 72), meters=Meters([0], [3], [64])))
    assert meters_of(grid) == [(4, 4)] and report.replaced_meters == 1


def test_controls_are_counted():
    notes = Notes([0], [24], [60], [72])
    track = Track("", 0, False, notes, Controls([0, 1], [64, 64], [1, 0]), PitchBends([0], [5]))
    assert quantise(Score(24, (track,)))[1].dropped_controls == 3


def test_a_bar_takes_its_mean_tempo_and_rubato_is_not_a_new_one():
    quarters = [(24 * k, 24, 60, 72) for k in range(16)]
    tempos = Tempos([0, 48, 96, 192, 288], [400_000, 600_000, 510_000, 495_000, 250_000])
    grid, _ = quantise(piece(*quarters, tempos=tempos))
    assert [v.TEMPOS_BPM[level] for level in grid.tempos] == [120, 120, 120, 232]


def test_a_piece_without_notes_has_no_bars():
    grid, report = quantise(Score(24))
    assert grid.n_bars == 0 and grid.n_ticks == 0 and report == QuantiseReport()
    assert quantise(grid.to_score())[0] == grid


def test_a_score_too_long_for_music():
    with pytest.raises(InputError, match="allowed are 100000"):
        quantise(piece((1 << 27, 1, 60, 72), tpq=1))


def test_a_beat_is_found():
    rng = np.random.default_rng(0)
    onsets = np.arange(200) * 120
    assert has_beat(piece(*((t, 60, 60, 72) for t in onsets + rng.integers(0, 12, 200)), tpq=480))
    assert not has_beat(piece(*((t, 60, 60, 72) for t in rng.integers(0, 96_000, 200)), tpq=480))
    assert has_beat(Score(480))
