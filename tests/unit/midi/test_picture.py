"""Pictures: valid files, the right colours, nothing left behind."""

import io
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from musegen.errors import InputError, ScoreFileError
from musegen.midi.picture.canvas import printable, text_width
from musegen.midi.picture.pianoroll import MAX_HEIGHT, MAX_SVG_NOTES, draw, plot
from musegen.midi.picture.roll import _COLOURS, MAX_BARS, gather, lay_out
from musegen.midi.score import MAX_TICKS, Keys, Meters, Notes, Programs, Score, Tempos, Track

SVG = "{http://www.w3.org/2000/svg}"


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


def one_note(start_ticks: int, duration_ticks: int, ticks_per_quarter: int = 480, **options) -> Score:
    return Score(
        ticks_per_quarter, (Track("", 0, False, Notes([start_ticks], [duration_ticks], [60], [64])),), **options
    )


def svg_texts(score: Score, **options) -> list[str]:
    return [element.text or "" for element in svg(score, **options).iter(f"{SVG}text")]


def svg(score: Score, **options) -> ElementTree.Element:
    return ElementTree.fromstring(draw(score, "svg", **options).data)


def pixels(score: Score, **options) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(score, "png", **options).data)))


def test_png(tmp_path):
    plot(ensemble(), tmp_path / "a.PNG", title="A title")
    found = np.asarray(Image.open(tmp_path / "a.PNG"))
    assert found.shape[1:] == (1200, 3) and 200 < found.shape[0] < 600
    assert [child.name for child in tmp_path.iterdir()] == ["a.PNG"]


def test_svg_says_title_bars_meters_and_one_entry_a_voice():
    texts = svg_texts(ensemble(), title="Costs 5$ & <more> in $x^{")
    assert "Costs 5$ & <more> in $x^{" in texts
    assert {"violin: a", "violin: b", "cello", "drums"} <= set(texts) and "piano" not in texts
    assert {"kick", "snare", "C4", "1", "9", "3/4", "4/4  ♩=120"} <= set(texts)
    assert not {"toms", "hi-hat"} & set(texts)


def test_the_title_is_the_name_of_the_score_unless_one_is_given():
    score = one_note(0, 480, name="Gymnopédie")
    assert "Gymnopédie" in svg_texts(score)
    assert "Other" in svg_texts(score, title="Other") and "Gymnopédie" not in svg_texts(score, title="")


def test_a_class_has_one_colour_in_every_picture():
    piano, trumpet = (Track("", program, False, Notes([0], [480], [60], [127])) for program in (0, 56))
    for tracks in ((piano,), (trumpet, piano), (piano, trumpet)):
        score = Score(480, tracks)
        colours = {voice.label: voice.colour for voice in gather(score, lay_out(score, None, None)).voices}
        assert colours["piano"] == _COLOURS[0]
    found = {tuple(colour) for colour in pixels(Score(480, (piano,))).reshape(-1, 3)}
    assert tuple(bytes.fromhex(_COLOURS[0][1:])) in found


@pytest.mark.parametrize(
    "names", ["violin viola cello contrabass", "flute oboe clarinet bassoon horn", "trumpet trombone tuba horn"]
)
def test_colours_of_an_ensemble_differ_without_red_or_green(names):
    from musegen.midi.instruments import instrument_index

    deuteranopia = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    colours = [list(bytes.fromhex(_COLOURS[instrument_index(name)][1:])) for name in names.split()]
    seen = (np.array(colours) / 255) ** 2.2 @ deuteranopia.T
    distances = np.linalg.norm(seen[:, None] - seen, axis=2)[~np.eye(len(colours), dtype=bool)]
    assert distances.min() > 0.1


def test_a_program_change_changes_the_colour():
    beats = np.arange(8) * 480
    track = Track("", 0, False, Notes(beats, [480] * 8, [60] * 8, [90] * 8), programs=Programs([1920], [56]))
    score = Score(480, (track,))
    voices = {voice.label: voice for voice in gather(score, lay_out(score, None, None)).voices}
    assert [voices[name].start_ticks.max(initial=0) for name in ("piano", "trumpet")] == [1440, 3360]


def test_tracks_of_one_class_are_shades_and_many_share_one():
    def voices(n_tracks: int, name: str = ""):
        tracks = tuple(Track(name, 0, False, Notes([i], [9], [60], [90])) for i in range(n_tracks))
        score = Score(480, tracks)
        return gather(score, lay_out(score, None, None)).voices

    assert [voice.label for voice in voices(2)] == ["piano 1", "piano 2"]
    assert [voice.label for voice in voices(2, "hand")] == ["piano: hand 1", "piano: hand 2"]
    assert len({voice.colour for voice in voices(4)}) == 4
    assert [voice.label for voice in voices(5)] == ["piano (5 tracks)"]


def test_loud_notes_are_stronger():
    def darkest(velocity: int) -> int:
        score = Score(480, (Track("", 0, False, Notes([0], [1920], [60], [velocity])),))
        return int(pixels(score)[:, 600].sum(axis=1).min())

    assert darkest(20) > darkest(60) > darkest(127)


def test_rows():
    def n_rows(**options) -> int:
        return svg_texts(ensemble(24), **options).count("kick")

    assert [n_rows(rows=1), n_rows(rows=5)] == [1, 5]
    assert n_rows() == 2
    assert n_rows(rows=10_000) == 31  # 4 bars of 4/4 and 27 of 3/4: a row holds at least one


def test_only_the_bars_asked_for_are_drawn():
    picture = draw(ensemble(), "svg", bars=(4, 6))
    texts = svg_texts(ensemble(), bars=(4, 6))
    assert texts[0].startswith("bars 4 to 6 of 10  ·")
    assert {"4", "6", "4/4  ♩=120", "3/4"} <= set(texts) and not {"1", "3", "7"} & set(texts)
    assert (picture.systems[0].start_ticks, picture.systems[-1].stop_ticks) == (3 * 1920, 4 * 1920 + 2 * 1440)
    assert draw(ensemble(), "svg", bars=(9, 999)).last_bar == 10
    assert {"9", "3/4  ♩=120"} <= set(svg_texts(ensemble(), bars=(9, 999)))  # what holds there


def test_a_meter_may_cut_a_bar_short():
    score = one_note(0, 4000, meters=Meters([0, 960], [4, 3], [4, 4]))
    assert lay_out(score, None, (1, 1)).span(0) == (0, 960)
    assert lay_out(score, None, (2, 2)).span(0) == (960, 2400)


def test_notes_begin_where_the_bar_line_says():
    score = Score(480, (Track("", 0, False, Notes([1920], [1920], [60], [127])),))
    system = draw(score, "png").systems[0]
    middle = round((system.left + system.right) / 2)
    line = pixels(score)[round(system.top) : round(system.bottom)].sum(axis=2)
    assert line[:, middle + 5].min() < 450 < line[:, middle - 5].min()


def test_marks_are_where_something_changes():
    score = one_note(
        0,
        1920 * 9,
        tempos=Tempos([0, 1920, 1930, 1940, 7680], [500_000, 510_000, 100_000, 510_000, 900_000]),
        keys=Keys([0, 3840, 7680], [-3, -3, 1], [1, 1, 0]),
    )
    texts = svg_texts(score)
    assert {"4/4  C minor  ♩=120", "G major  ♩=67"} <= set(texts)
    assert sum("♩" in text for text in texts) == 2


def test_equal_scores_give_equal_pictures_in_every_thread():
    found: dict[str, set[bytes]] = {"png": set(), "svg": set()}

    def work() -> None:
        for kind, pictures in found.items():
            pictures.add(draw(ensemble(), kind).data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(pictures) for pictures in found.values()] == [1, 1]


@pytest.mark.parametrize(
    "score",
    [
        Score(480),
        Score(480, (Track("", 0, False, Notes()),)),
        Score(480, (Track("", 0, True, Notes([0], [0], [127], [1])),)),
        Score(1, (Track("", 0, False, Notes([0, 0], [1, 0], [0, 127], [127, 1])),)),
        one_note(50, 9, 24, meters=Meters([0, 7], [1, 255], [64, 1])),
        one_note(1920, 0),
        one_note(0, 16 * MAX_BARS, 4),
    ],
)
def test_odd_scores(score):
    assert pixels(score, title="猫 \N{MUSICAL SYMBOL G CLEF}").shape[1] == 1200
    svg(score)


@settings(max_examples=10, deadline=None)
@given(st.from_type(Score), st.text(max_size=20))
def test_any_score_can_be_drawn(score, title):
    pixels(score, title=title)
    svg(score, title=title)


def test_a_note_of_a_thousand_hours():
    score = one_note(MAX_TICKS, MAX_TICKS, 1)
    with pytest.raises(InputError, match=r"at most 4000 bars, got 134217728; draw some of them, such as bars 1 to 400"):
        draw(score, "png")
    assert draw(score, "png", bars=(67_108_860, 67_108_870)).n_bars == 134_217_728


def test_a_million_notes():
    rng = np.random.default_rng(0)
    n = 1_000_000
    columns = rng.integers(0, 80 * 1920, n), rng.integers(0, 5000, n), rng.integers(0, 128, n), rng.integers(1, 128, n)
    score = Score(480, (Track("", 0, False, Notes(*columns)),))
    start = time.process_time()
    draw(score, "png")
    assert time.process_time() - start < 20
    with pytest.raises(InputError, match=f"at most {MAX_SVG_NOTES} notes; write a .png, or draw fewer bars"):
        draw(score, "svg")


def test_names_from_outside():
    many = tuple(
        Track(f"{i} 猫🎹 $x^2 \x00\n<b>" + "long " * 50, program, False, Notes([0], [480], [60], [90]))
        for i, program in enumerate(range(0, 128, 2))
    )
    score = Score(480, many, name="\ud800 $\\frac{1}" + "x" * 500)
    texts = svg_texts(score)
    assert max(map(len, texts)) <= 90 and any(text.startswith("and ") for text in texts)
    assert draw(score, "png").height < 800


def test_printable():
    assert printable("a\n\tb\x00 \ud800c  ", 20) == "a b c"
    assert printable("abcdef", 4) == "abc…"
    assert text_width("wide", 12) < text_width("wider still", 12) < text_width("wider still", 12, bold=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.jpg", {}, r"must end in .png or .svg, got 'a.jpg'"),
        ("a", {}, r"must end in .png or .svg, got 'a'"),
        ("a.png", {"rows": 0}, r"rows must be at least 1, got 0"),
        ("a.png", {"bars": (0, 3)}, r"bars must be the first and the last, counted from 1, got \(0, 3\)"),
        ("a.png", {"bars": (4, 3)}, r"counted from 1, got \(4, 3\)"),
        ("a.png", {"bars": (11, 12)}, r"bars begin at 11, the score has 10"),
    ],
)
def test_wrong_arguments(tmp_path, name, options, message):
    with pytest.raises(InputError, match=message):
        plot(ensemble(), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_places_and_lengths_that_cannot_be(tmp_path):
    with pytest.raises(ScoreFileError, match="does not exist"):
        plot(ensemble(), tmp_path / "nowhere" / "a.png")
    with pytest.raises(InputError, match=f"at most {MAX_BARS} bars, got {MAX_BARS + 1}"):
        plot(one_note(0, 4 * MAX_BARS + 1, 1), tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"at most {MAX_HEIGHT} pixels high: 1000 rows are too many, draw \d\d"):
        plot(one_note(0, 4 * 1000, 1), tmp_path / "a.png", rows=1000)


def test_neither_matplotlib_nor_pillow_is_loaded_before_it_is_needed():
    code = "import sys, musegen.midi.picture.pianoroll, musegen.midi.picture.notebook; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "PIL", "symusic", "torch", "music21", "verovio"} & set(modules)
