"""Side features: all at once and one at a time, and by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from musegen.music import vocabulary as v
from musegen.music.features import FEATURES, UNKNOWN, Place, Tracker, features
from musegen.music.grid import GridScore
from musegen.music.tokenizer import Controls, encode

PLACES = st.builds(Place, st.integers(0, 400), st.one_of(st.none(), st.integers(0, 400)))


@given(grid=..., place=PLACES, with_header=st.booleans())
def test_a_tracker_gives_the_same(grid: GridScore, place: Place, with_header: bool):
    header = Controls(style=2, instruments=grid.instruments, key=1).tokens() if with_header else []
    tokens = np.array([*header, *encode(grid).tokens, v.END])
    tracker = Tracker(place)
    assert np.array_equal(features(tokens, place), [tracker.push(token) for token in tokens.tolist()])


@given(grid=..., place=PLACES)
def test_every_feature_is_in_its_range(grid: GridScore, place: Place):
    found = features(encode(grid).tokens, place)
    assert (found >= 0).all() and (found < list(FEATURES.values())).all()


def test_by_hand():
    note, length = v.note_token(0, 60), v.length_token(24, 4)
    tokens = np.array([v.START, v.BAR, note, length, note, v.TIE, length, v.wait_token(30), note, length, v.BAR, v.END])
    expected = {
        "tick": [0, 0, 0, 0, 0, 0, 0, 30, 30, 30, 0, 0],
        "bar": [15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 0, 0],
        "chord": [0, 0, 1, 1, 2, 2, 2, 0, 1, 1, 0, 0],
        "part": [60] * 10 + [64] * 2,
        "countdown": [16] * 10 + [15] * 2,
    }
    found = features(tokens, Place(first_bar=15, n_bars=32))
    assert dict(zip(FEATURES, found.T.tolist(), strict=True)) == expected


def test_unknown_and_long():
    tokens = np.array([v.BAR] * 300)
    unknown = features(tokens, Place())
    assert (unknown[:, 3:] == UNKNOWN).all()
    known = features(tokens, Place(n_bars=300))
    assert known[0].tolist() == [0, 0, 0, 0, 127] and known[-1].tolist() == [0, 299 % 16, 0, 127, 0]
    assert np.array_equal(np.unique(known[:, 3]), np.arange(128))


def test_a_piece_that_goes_on_stays_in_its_last_bar():
    assert features(np.array([v.BAR] * 3), Place(n_bars=2))[:, 3:].tolist() == [[0, 1], [64, 0], [64, 0]]
