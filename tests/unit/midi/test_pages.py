"""Sheet music: pages are written, numbered and drawn with everything on them."""

import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from musegen.errors import InputError, ScoreFileError
from musegen.midi.engraving.pages import engrave, svg_pages
from musegen.midi.score import Notes, Score, Track


def piece(n_bars: int) -> Score:
    beats = np.arange(4 * n_bars) * 480
    ones = np.ones_like(beats)
    upper = Notes(beats, 480 * ones, 66 + beats // 480 % 12, 90 * ones)
    lower = Notes(beats, 480 * ones, 40 + beats // 480 % 7, 90 * ones)
    return Score(480, (Track("", 0, False, upper.joined(lower)),), name="Étude 猫")


def test_one_page_is_one_file_and_more_are_numbered(tmp_path):
    pytest.importorskip("verovio")
    steps = []
    assert engrave(piece(4), tmp_path / "a.svg", lambda *step: steps.append(step)) == [tmp_path / "a.svg"]
    assert steps == [(0, 1), (1, 1)]
    written = engrave(piece(60), tmp_path / "b.SVG")
    assert [path.name for path in written] == [f"b-{page}.SVG" for page in range(1, len(written) + 1)]
    assert len(written) > 1 and sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.svg", *written])
    assert ElementTree.parse(written[0]).getroot().tag.endswith("svg")


def test_png_shows_staves_notes_and_text(tmp_path):
    pytest.importorskip("verovio")
    [path] = engrave(piece(4), tmp_path / "a.png")
    ink = imread(path)[:, :, :3].mean(2) < 0.5
    assert ink.shape == (1753, 1240) or abs(ink.shape[0] / ink.shape[1] - 2**0.5) < 0.01
    staff_lines = np.flatnonzero(ink.mean(1) > 0.6)
    assert len(np.split(staff_lines, np.flatnonzero(np.diff(staff_lines) > 2) + 1)) == 10
    assert ink[60:150].any(), "the title stands above the music"


def test_pdf_has_every_page_and_equal_scores_give_equal_files(tmp_path):
    pytest.importorskip("verovio")
    score = piece(60)
    assert engrave(score, tmp_path / "a.pdf") == [tmp_path / "a.pdf"]
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", data)) == len(svg_pages(score))
    engrave(score, tmp_path / "b.pdf")
    assert (tmp_path / "b.pdf").read_bytes() == data
    assert svg_pages(score, 1) == svg_pages(score)[:1]


def test_a_score_without_notes_is_an_empty_page(tmp_path):
    pytest.importorskip("verovio")
    assert len(engrave(Score(480), tmp_path / "a.svg")) == 1


def test_what_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"must end in one of .svg, .png, .pdf, got 'a.jpg'"):
        engrave(piece(1), tmp_path / "a.jpg")
    monkeypatch.setitem(sys.modules, "verovio", None)
    with pytest.raises(InputError, match=r"pip install 'musegen\[score\]'"):
        engrave(piece(1), tmp_path / "a.svg")
    monkeypatch.undo()
    pytest.importorskip("verovio")
    with pytest.raises(ScoreFileError, match="does not exist"):
        engrave(piece(1), tmp_path / "nowhere" / "a.svg")


def test_all_staves_of_a_tall_score_are_on_the_page():
    pytest.importorskip("verovio")
    tracks = tuple(Track(f"Part {place}", 73, False, Notes([0], [480], [36], [90])) for place in range(40))
    [svg] = svg_pages(Score(480, tracks))
    height = float(re.findall(r'viewBox="0 0 \S+ (\S+)"', svg)[-1])
    lines = [float(y) for y in re.findall(r'<path d="M\S+ (\S+) L\S+ \1"', svg)]
    assert len(lines) >= 200 and max(lines) < height
    with pytest.raises(InputError, match="more than fit"):
        svg_pages(Score(480, tracks * 8))
