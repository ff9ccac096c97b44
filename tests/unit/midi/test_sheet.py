"""Several scores in one picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musegen.errors import InputError, ScoreFileError
from musegen.midi.picture.pianoroll import MAX_HEIGHT, WIDTH, draw
from musegen.midi.picture.sheet import check_writable, sheet
from musegen.midi.score import Notes, Score, Track


def score(pitch: int, n_bars: int = 2) -> Score:
    n = 4 * n_bars
    notes = Notes([480 * k for k in range(n)], [480] * n, [pitch] * n, [80] * n)
    return Score(480, (Track("piano", 0, False, notes),))


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 2, 3)])
def test_each_score_has_its_place(tmp_path: Path, n: int, columns: int, rows: int):
    scores = [score(50 + k) for k in range(n)]
    sheet(scores, [f"piece {k}" for k in range(n)], tmp_path / "all.png")
    one = draw(scores[0], "png", title="piece 0")
    with Image.open(tmp_path / "all.png") as whole:
        assert whole.size == (columns * WIDTH, rows * one.height)
        pixels = np.asarray(whole.convert("RGB"))
    (tmp_path / "one.png").write_bytes(one.data)
    with Image.open(tmp_path / "one.png") as alone:
        assert (pixels[: one.height, :WIDTH] == np.asarray(alone.convert("RGB"))).all()
    places = [
        pixels[r * one.height : (r + 1) * one.height, c * WIDTH : (c + 1) * WIDTH]
        for r in range(rows)
        for c in range(columns)
    ]
    assert len({place.tobytes() for place in places[:n]}) == n
    assert all((place == 255).all() for place in places[n:])


def drawn_at_the_corner(sheet_path: Path, height: int) -> np.ndarray:
    with Image.open(sheet_path) as whole:
        return np.asarray(whole.convert("RGB"))[-height:, WIDTH:]


def pixels_of(score: Score, bars: tuple[int, int], path: Path) -> np.ndarray:
    path.write_bytes(draw(score, "png", title="long", bars=bars).data)
    with Image.open(path) as alone:
        return np.asarray(alone.convert("RGB"))


@pytest.mark.parametrize(("n_before", "bars"), [(None, (1, 100)), (494, (491, 500)), (2, (1, 100)), (304, (301, 400))])
def test_long_scores_are_drawn_in_part(tmp_path: Path, n_before: int | None, bars: tuple[int, int]):
    long = score(60, 500)
    sheet([long] * 12, ["long"] * 12, tmp_path / "all.png", None if n_before is None else score(60, n_before))
    expected = pixels_of(long, bars, tmp_path / "one.png")
    with Image.open(tmp_path / "all.png") as whole:
        assert whole.height == 6 * len(expected) <= MAX_HEIGHT
    assert (drawn_at_the_corner(tmp_path / "all.png", len(expected)) == expected).all()


def test_what_cannot_be_drawn(tmp_path: Path):
    for path, message in ((tmp_path / "none" / "all.png", "does not exist"), (tmp_path / "a.png", "is a folder")):
        (tmp_path / "a.png").mkdir(exist_ok=True)
        with pytest.raises(ScoreFileError, match=message):
            check_writable(path)
    (tmp_path / "a.png").rmdir()
    with pytest.raises(InputError, match=r"must end in \.png, got 'all\.svg'"):
        sheet([score(60)], ["a"], tmp_path / "all.svg")
    with pytest.raises(InputError, match="scores is empty"):
        sheet([], [], tmp_path / "all.png")
    assert not list(tmp_path.iterdir())
