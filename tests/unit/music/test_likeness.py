import numpy as np
import pytest

from musegen.midi.instruments import DRUMS
from musegen.music import vocabulary as v
from musegen.music.grid import GridScore
from musegen.music.likeness import (
    QUANTITIES,
    counts,
    distance,
    durations,
    halves,
    instrument_ranks,
    likeness,
    mean_shares,
    melodic_intervals,
    notes_a_bar,
    pitch_classes,
    polyphony,
    positions,
    shares,
)

METER = v.meter_index("4/4")
TICKS = v.TICKS_PER_WHOLE


def a_grid(notes, n_bars=2):
    """Rows of onset, instrument, pitch, ticks, velocity level."""
    rows = np.array(notes, dtype=np.int64).reshape(-1, 5)
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    return GridScore(np.full(n_bars, METER), np.zeros(n_bars, int), rows[order])


def a_piece(rng, low=55, step=12, level=3):
    onsets = np.arange(0, 4 * TICKS, step)
    return a_grid([[tick, 0, low + rng.integers(0, 12), step, level] for tick in onsets], 4)


def test_pitch_classes_are_counted_from_the_tonic():
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    in_c = a_grid([[24 * i, 0, pitch, 24, 3] for i, pitch in enumerate(scale)])
    in_e = a_grid([[24 * i, 0, pitch + 4, 24, 3] for i, pitch in enumerate(scale)])
    assert pitch_classes(in_c).tolist() == pitch_classes(in_e).tolist()


def test_intervals_go_from_top_note_to_top_note_of_one_instrument():
    grid = a_grid(
        [[0, 0, 48, 24, 3], [0, 0, 60, 24, 3], [0, 5, 90, 24, 3], [24, 0, 64, 24, 3], [48, 0, 30, 24, 3],
         [48, DRUMS, 36, 3, 3]]
    )  # fmt: skip
    assert (melodic_intervals(grid) - 24).tolist() == [4, -24]  # at most two octaves


def test_durations_positions_polyphony_and_notes_a_bar():
    grid = a_grid([[0, 0, 60, 48, 3], [24, 0, 64, 24, 3], [TICKS + 6, 0, 67, 12, 3]])
    assert durations(grid).tolist() == [round(4 * np.log2(n)) for n in (48, 24, 12)]
    assert positions(grid).tolist() == [0, 12, 3]
    assert polyphony(grid).tolist() == [1, 2, 1]
    assert notes_a_bar(grid).tolist() == [2, 1]


def test_instruments_are_ranked_by_their_notes():
    solo = [[24 * i, 7, 60, 24, 3] for i in range(3)]
    assert not len(instrument_ranks(a_grid(solo)))
    band = [*solo, [0, 2, 60, 24, 3], [24, 2, 60, 24, 3], [0, DRUMS, 36, 3, 3]]
    assert sorted(instrument_ranks(a_grid(band)).tolist()) == [0, 0, 0, 1, 1, 2]
    trio, duo = (shares(counts([a_grid(notes)])["instrument"]) for notes in (band, band[:5]))
    assert distance(trio, duo, QUANTITIES["instrument"]) == pytest.approx((3 / 5 - 3 / 6) + 1 / 6)  # ranks


def test_distances_are_in_their_units():
    velocity, pitch_class = QUANTITIES["velocity"], QUANTITIES["pitch class"]
    one, other = np.eye(velocity.n_bins)[[1, 1]], np.eye(velocity.n_bins)[[4]]
    assert distance(one, other, velocity) == pytest.approx(3)  # levels
    assert distance(np.eye(12)[[0]], np.eye(12)[[1]], pitch_class) == pytest.approx(1)  # nothing shared
    assert distance(np.eye(12)[[0]], np.eye(12)[[0, 1]], pitch_class) == pytest.approx(0.5)
    assert np.isnan(distance(np.zeros((1, 12)), np.eye(12)[[0]], pitch_class))


def test_shares_weigh_each_piece_alike():
    each = shares(np.array([[2, 2], [30, 10], [0, 0]]))
    assert each.tolist() == [[0.5, 0.5], [0.75, 0.25], [0, 0]]
    assert mean_shares(each).tolist() == [0.625, 0.375]
    assert np.isnan(mean_shares(each[2:])).all()


@pytest.mark.parametrize("n", [1, 3, 5])
def test_halves_share_no_piece_and_have_the_labels_shares(n):
    labels = ["a"] * 6 + ["b"] * 4
    one, other = halves(labels, n, np.random.default_rng(0))
    assert len(one) == len(other) == n
    assert not set(one) & set(other)
    if n == 5:
        assert sorted(labels[i] for i in one) == sorted(labels[i] for i in other) == list("aaabb")


def test_real_pieces_are_like_real_pieces_and_others_are_not():
    rng = np.random.default_rng(0)
    real = counts([a_piece(rng) for _ in range(40)])
    same = likeness(counts([a_piece(rng) for _ in range(20)]), real, ["x"] * 40)
    other = likeness(counts([a_piece(rng, low=50, step=24, level=5) for _ in range(20)]), real, ["x"] * 40)
    assert 0.5 < same["melodic interval"].ratio < 1.6
    for name in ("duration", "notes a bar", "position in the bar", "velocity"):
        assert other[name].ratio is None or other[name].ratio > 10, "None where the real ones are all alike"
