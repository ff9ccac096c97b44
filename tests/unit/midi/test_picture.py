"""Pictures: valid files, the right colours, nothing left behind."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from musegen.errors import InputError, ScoreFileError
from musegen.midi.picture import MAX_BARS, plot
from musegen.midi.score import Meters, Notes, Score, Track


def ensemble(n_bars: int = 8) -> Score:
    beats = np.arange(4 * n_bars) * 480
    ones = np.ones_like(beats)
    return Score(
        480,
        (
            Track("a", 40, False, Notes(beats, 400 * ones, 60 + beats // 480 % 12, 90 * ones)),
            Track("b", 40, False, Notes(beats, 400 * ones, 72 * ones, 90 * ones)),
            Track("c", 42, False, Notes(beats, 400 * ones, 48 * ones, 60 * ones)),
            Track("d", 0, True, Notes(beats, 10 * ones, 36 + beats // 480 % 2 * 2, 100 * ones)),
        ),
        meters=Meters([0, 4 * 1920], [4, 3], [4, 4]),
    )


def svg_texts(path) -> list[str]:
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_png(tmp_path):
    plot(ensemble(), tmp_path / "a.png", title="A title")
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[1] == 1200 and 200 < pixels.shape[0] < 600
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10
    assert [child.name for child in tmp_path.iterdir()] == ["a.png"]


def test_svg_says_title_bars_meters_and_one_entry_a_class(tmp_path):
    plot(ensemble(), tmp_path / "a.SVG", title="Costs 5$ & <more> in $x^{")
    texts = svg_texts(tmp_path / "a.SVG")
    assert "Costs 5$ & <more> in $x^{" in texts
    assert [texts.count(name) for name in ("violin", "cello", "drums", "piano")] == [1, 1, 1, 0]
    assert {"kick", "snare", "C4", "1", "9", "4/4", "3/4"} <= set(texts)
    assert "10  " not in texts and not {"toms", "hi-hat"} & set(texts)


def test_rows(tmp_path):
    def n_rows(**options) -> int:
        plot(ensemble(24), tmp_path / "a.svg", **options)
        return svg_texts(tmp_path / "a.svg").count("kick")

    assert [n_rows(rows=1), n_rows(rows=5)] == [1, 5]
    assert n_rows() == 2
    assert n_rows(rows=10_000) == 31  # 4 bars of 4/4 and 27 of 3/4: a row holds at least one


def test_equal_scores_give_equal_pictures(tmp_path):
    for kind in ("png", "svg"):
        for name in "ab":
            plot(ensemble(), tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize(
    "score",
    [
        Score(480),
        Score(480, (Track("", 0, True, Notes([0], [0], [127], [1])),)),
        Score(1, (Track("", 0, False, Notes([0, 0], [1, 0], [0, 127], [127, 1])),)),
        Score(24, (Track("", 0, False, Notes([50], [9], [60], [64])),), meters=Meters([0, 7], [1, 255], [64, 1])),
        Score(4, (Track("", 0, False, Notes([0], [16 * MAX_BARS], [60], [64])),)),
    ],
)
def test_odd_scores(tmp_path, score):
    plot(score, tmp_path / "a.png", title="猫 \N{MUSICAL SYMBOL G CLEF}")
    assert imread(tmp_path / "a.png").shape[1] == 1200


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.jpg", {}, r"must end in .png or .svg, got 'a.jpg'"),
        ("a", {}, r"must end in .png or .svg, got 'a'"),
        ("a.png", {"rows": 0}, r"rows must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(tmp_path, name, options, message):
    with pytest.raises(InputError, match=message):
        plot(ensemble(), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_places_and_lengths_that_cannot_be(tmp_path):
    with pytest.raises(ScoreFileError, match="does not exist"):
        plot(ensemble(), tmp_path / "nowhere" / "a.png")
    endless = Score(1, (Track("", 0, False, Notes([0], [4 * MAX_BARS + 1], [60], [64])),))
    with pytest.raises(InputError, match=f"at most {MAX_BARS} bars, the score has {MAX_BARS + 1}"):
        plot(endless, tmp_path / "a.png")


def test_neither_matplotlib_nor_symusic_is_loaded_before_it_is_needed():
    code = "import sys, musegen.midi.picture, musegen.midi.facts; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "symusic", "torch"} & set(modules)
