"""What a notebook shows: safe, small and whole."""

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from musegen.midi.picture.notebook import MAX_BYTES, MAX_PLAYED_NOTES, html
from musegen.midi.score import MAX_TICKS, Notes, Programs, Score, Tempos, Track

VOID = {"img", "br"}


class Page(HTMLParser):
    """Collects the tags of a fragment and holds that they nest."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(fragment)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "script":
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def data(self) -> dict:
        return json.loads(self.attributes("div")[0]["data-score"])

    @property
    def picture(self) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(self.attributes("img")[0]["src"].partition(",")[2])))


def scale(n_notes: int = 16, **options) -> Score:
    start = np.arange(n_notes) * 480
    notes = Notes(start, np.full(n_notes, 480), 60 + np.arange(n_notes) % 12, np.full(n_notes, 90))
    return Score(480, (Track("right", 0, False, notes),), **options)


def test_facts_picture_and_player():
    page = Page(html(scale(name="Scales")))
    assert "Scales" in page.text
    assert {"4 bars", "0:08", "4/4", "120 bpm", "16 notes", "piano"} <= set(
        page.text.replace("\n", "  ·  ").split("  ·  ")
    )
    assert page.picture.size == tuple(int(page.attributes("img")[0][side]) for side in ("width", "height"))
    assert [tag for tag, _ in page.tags] == ["div", "div", "strong", "div", "div", "img", "script"]
    assert "http" not in html(scale()).replace("https", "http")


def test_the_player_gets_the_notes_in_milliseconds():
    score = Score(
        480,
        (
            Track("", 73, False, Notes([0, 480], [480, 480], [72, 74], [90, 91]), programs=Programs([480], [40])),
            Track("", 0, True, Notes([240], [1], [36], [100])),
        ),
        tempos=Tempos([0, 480], [500_000, 1_000_000]),
    )
    data = Page(html(score)).data
    assert np.reshape(data["notes"], (-1, 5)).tolist() == [
        [0, 500, 72, 90, 4],
        [250, 1, 36, 100, 7],
        [250, 1000, 74, 91, 2],
    ]
    assert data["seconds"] == 1.5
    (left, right, top, bottom, *milliseconds), = data["rows"]  # fmt: skip
    assert 0 < left < right < 100 and 0 < top < bottom < 100
    assert milliseconds == [0, 500, 1500, 2500, 3500]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '</script><img src=x onerror="alert(2)">', "\" ' & <!--"]
)
def test_names_are_text(name):
    score = scale(name=name)
    score = Score(480, (Track(name, 0, False, score.tracks[0].notes), Track(name, 0, False, Notes())), name=name)
    page = Page(html(score))
    assert name in page.text
    assert [tag for tag, _ in page.tags] == ["div", "div", "strong", "div", "div", "img", "script"]
    assert html(score).count("</script>") == 1


def test_no_ids_or_names_that_two_outputs_would_share():
    page = Page(html(scale()) * 2)
    assert not any("id" in attributes for _, attributes in page.tags)
    assert html(scale()) == html(scale())


@pytest.mark.parametrize("score", [Score(480), Score(480, (Track("", 0, False, Notes()),)), Score(1, name="\ud800")])
def test_without_notes_there_is_no_player(score):
    page = Page(html(score))
    assert "1 bar" in page.text and not page.attributes("script")
    html(score).encode()


def test_long_pieces_are_cut_and_say_so():
    page = Page(html(scale(4 * 1000)))
    assert "Shown are bars 1 to 72 of 1,000" in page.text and page.picture.size[1] < 2000
    page = Page(html(scale(MAX_PLAYED_NOTES + 1)))
    assert f"The player stops after {MAX_PLAYED_NOTES:,} notes." in page.text
    assert len(page.data["notes"]) == 5 * MAX_PLAYED_NOTES


def test_no_score_is_too_big():
    rng = np.random.default_rng(0)
    n = 50_000
    for last in (1, 10**6, MAX_TICKS):
        columns = rng.integers(0, last, n), rng.integers(0, 9999, n), rng.integers(0, 128, n), rng.integers(1, 128, n)
        tracks = tuple(Track("<" * 999, program, False, Notes(*columns)) for program in (0, 40, 60))
        fragment = html(Score(480, tracks, name="&" * 9999))
        Page(fragment)
        assert len(fragment.encode()) < MAX_BYTES


@settings(max_examples=8, deadline=None)
@given(st.from_type(Score))
def test_any_score_can_be_shown(score):
    Page(html(score))
