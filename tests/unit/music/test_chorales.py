"""Chorales as grids: what is read, what is refused, and transposition."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from musegen.errors import DataError, InputError
from musegen.music import chorales as c

grids = arrays(np.int64, st.tuples(st.integers(1, 20), st.just(4)), elements=st.sampled_from([-1, *range(36, 82)]))


def test_what_is_written_is_read(tmp_path: Path):
    splits = {"train": [np.array([[60, 55, 50, 40], [-1, 55, 50, 40]])], "test": [np.full((3, 4), 81)]}
    c.write_chorales(tmp_path / "a.json", splits)
    found = c.read_chorales(tmp_path / "a.json")
    assert list(found) == ["train", "test"]
    for name, pieces in splits.items():
        assert all(np.array_equal(a, b) for a, b in zip(pieces, found[name], strict=True))
        assert found[name][0].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "must be an object with some of train, valid, test, got list"),
        ("{}", "got nothing"),
        ('{"dev": []}', "got dev"),
        ('{"train": []}', "train must be a list of chorales"),
        ('{"train": [[]]}', r"train\[0\] must be a list of sixteenths"),
        ('{"train": [[[60, 55, 50, 40], [60]]]}', r"train\[0\] must be a list of sixteenths"),
        ('{"train": [[[60, 55, 50.5, 40]]]}', r"train\[0\] must be a list of sixteenths"),
        ('{"valid": [[[60, 55, 50, 40]], [[60, 55, 50, 40], [60, 55, 35, 40]]]}', r"valid\[1\]\[1\]\[2\] .* got 35"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, words: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=words):
        c.read_chorales(tmp_path / "a.json")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        c.read_chorales(tmp_path / "a.json")


@given(grids)
def test_cells_and_grids_are_the_same(grid: np.ndarray):
    cells = c.to_cells(grid)
    assert ((cells >= 0) & (cells < c.N_CLASSES)).all() and ((cells == 0) == (grid == c.SILENCE)).all()
    assert np.array_equal(c.to_grid(cells), grid)


def test_pitches_outside_have_no_class():
    with pytest.raises(InputError, match="got 82"):
        c.to_cells(np.array([[60, 82, 60, 60]]))


@given(grids)
def test_transpositions_keep_the_voices_in_range(grid: np.ndarray):
    allowed = c.transpositions(grid)
    assert 0 in allowed
    natural = all(
        low <= pitch <= high or pitch == c.SILENCE
        for voice, (low, high) in zip(grid.T, c.RANGES, strict=True)
        for pitch in voice
    )
    for semitones in allowed:
        moved = c.transpose(grid, semitones)
        assert ((moved == c.SILENCE) == (grid == c.SILENCE)).all()
        if natural:
            for voice, (low, high) in zip(moved.T, c.RANGES, strict=True):
                assert all(low <= pitch <= high for pitch in voice if pitch != c.SILENCE)


def test_whole_beats():
    cells = np.ones((6, 4), dtype=np.int64)
    whole = c.whole_beats(cells)
    assert whole.shape == (8, 4) and (whole[:6] == 1).all() and (whole[6:] == c.OUTSIDE).all()
    assert np.array_equal(c.whole_beats(whole), whole)


def test_json_is_small(tmp_path: Path):
    c.write_chorales(tmp_path / "a.json", {"train": [np.full((2, 4), 60)]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"train": [[[60] * 4] * 2]}
