"""What stays and what is written, whatever the model says: here one that knows nothing and draws at random."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.instruments import INSTRUMENTS, class_of
from musegen.midi.score import Meters, Notes, Score, Track
from musegen.music import inpainting
from musegen.music import vocabulary as v
from musegen.music.continuation import on_grid
from musegen.music.grammar import MuseGuide
from musegen.music.grid import GridScore
from musegen.music.inpainting import Inpainting, Missing, _class, in_named_meters, inpainted, prepared, with_bar_lines
from musegen.music.requests import Request
from musegen.music.tokenizer import collect

CONTEXT = 512


def drawn(requests: Sequence[Request], seed: int = 0) -> list[GridScore]:
    rng = np.random.default_rng(seed)
    grids = []
    for request in requests:
        guide = MuseGuide(request, CONTEXT)
        assert len(guide.prompt()) < CONTEXT
        row = np.zeros(1)
        while row is not None:
            allowed = guide.allowed()
            onward = [token for token in (v.END, v.BAR) if allowed[token]]
            token = onward[0] if onward and rng.random() < 0.5 else int(rng.choice(np.flatnonzero(allowed)))
            row = guide.push(token)
        grids.append(collect(guide.events))
    return grids


def onsets_on_grid(score: Score, track: Track) -> np.ndarray:
    quarters = track.notes.start_ticks / score.ticks_per_quarter
    return np.floor(quarters * v.TICKS_PER_QUARTER + 0.5)


def check(score: Score, what: Inpainting, found: Score) -> None:
    scale = score.ticks_per_quarter / v.TICKS_PER_QUARTER
    start, end = what.grid.bar_ticks[what.first], what.grid.bar_ticks[what.last]
    assert replace(found, tracks=score.tracks, left_out=score.left_out) == score
    assert len(found.tracks) == len(what.left.tracks)
    for place, (old, new) in enumerate(zip(score.tracks, found.tracks, strict=False)):
        assert replace(new, notes=old.notes) == old
        if place not in what.places:
            assert new == old
            continue
        onsets = onsets_on_grid(score, old)
        kept = old.notes[(onsets < start) | (onsets >= end)]
        here = set(new.notes) - set(kept)
        assert set(kept) <= set(new.notes)
        assert all(round(start * scale) <= note.start_ticks < round(end * scale) for note in here)
        # A drum that is struck while an older stroke of it lasts ends with that.
        assert old.is_drum or all(note.end_ticks <= round(end * scale) for note in here)


@given(score=st.from_type(Score), data=st.data(), seed=st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_only_what_is_missing_is_written(tmp_path_factory, score: Score, data, seed: int):
    path = tmp_path_factory.getbasetemp() / "written.mid"
    score.write(path)
    score = Score.read(path)
    grid = on_grid(in_named_meters(score))
    assume(len(grid.notes))
    n_bars = len(with_bar_lines(score, grid)[1]) - 1
    first = data.draw(st.integers(1, n_bars))
    bars = data.draw(st.none() | st.just((first, data.draw(st.integers(first, n_bars)))))
    tracks = tuple(sorted(data.draw(st.sets(st.integers(0, len(score.tracks) - 1)))))
    added = tuple(data.draw(st.sets(st.integers(0, len(INSTRUMENTS) - 1), max_size=1)))
    assume(len(score.tracks) + len(added) <= 15)
    try:
        what = prepared(score, Missing(bars, tracks or None, added))
    except InputError as error:
        assert "no tick of the score" in str(error) and score.ticks_per_quarter < v.TICKS_PER_QUARTER
        return
    for found in inpainted(what, lambda requests: drawn(requests, seed), 2, CONTEXT):
        check(score, what, found)
        assert {class_of(track.program, track.is_drum) for track in found.tracks[len(score.tracks) :]} == set(added)
        classes = {_class(score, what.left, place) for place in what.places if len(found.tracks[place].notes)}
        assert not what.instruments or classes >= set(added)
        found.write(path)
        assert [track.notes for track in Score.read(path).tracks if len(track.notes)] == [
            track.notes for track in found.tracks if len(track.notes)
        ]


def lines_of(score: Score) -> tuple[list[float], list[int]]:
    """The bar lines of a score, as they are and as they are on the grid, in ticks of the grid."""
    grid, places = with_bar_lines(score, on_grid(in_named_meters(score)))
    exact, changes = [], [*score.meters.start_ticks.tolist(), np.inf]
    for meter, until in zip(score.meters, changes[1:], strict=True):
        start = Fraction(meter.start_ticks)
        while start < until and len(exact) < len(places):
            exact.append(float(start * v.TICKS_PER_QUARTER / score.ticks_per_quarter))
            start += Fraction(4 * score.ticks_per_quarter * meter.numerator, meter.denominator)
    return exact, grid.bar_ticks[places].tolist()


@given(score=st.from_type(Score))
@settings(max_examples=200, deadline=None)
def test_bars_are_those_of_the_score(score: Score):
    pitched = (replace(track, is_drum=False) for track in score.tracks)  # some drums have no place on the grid
    score = replace(score, tracks=(Track("", 0, False, Notes([0], [1], [60], [80])), *pitched))
    own, found = lines_of(score)
    assert np.abs(np.subtract(own, found))[:-1].max() < 3 + v.TICKS_PER_QUARTER / score.ticks_per_quarter
    if len(score.meters) == 1 and in_named_meters(score) == score:
        assert with_bar_lines(score, on_grid(score))[0] == on_grid(score)


def test_a_bar_in_a_meter_without_a_name_is_one_bar():
    n = 3 * 17 - 14  # the last bar begins, and is silent from its third quarter on
    notes = Notes([480 * k for k in range(n)], [480] * n, [60] * n, [80] * n)
    score = Score(480, (Track("", 0, False, notes),), meters=Meters([0], [17], [4]))
    assert lines_of(score) == ([0, 17 * 24, 34 * 24, 51 * 24], [0, 17 * 24, 34 * 24, 51 * 24])
    what = prepared(score, Missing((2, 2)))
    assert [v.METERS[meter] for meter in what.grid.meters[what.first : what.last]] == [*[(4, 4)] * 4, (1, 4)]
    [found] = inpainted(what, drawn, 1, CONTEXT)
    check(score, what, found)
    kept = [start for start in notes.start_ticks.tolist() if not 17 * 480 <= start < 34 * 480]
    assert what.left.tracks[0].notes.start_ticks.tolist() == kept
    with pytest.raises(InputError, match="bars is 3-4; allowed are bars from 1 to 3"):
        prepared(score, Missing((3, 4)))


def test_a_new_meter_cuts_a_bar_without_a_name_short():
    track = Track("", 0, False, Notes([480 * k for k in range(30)], [480] * 30, [60] * 30, [80] * 30))
    score = Score(480, (track,), meters=Meters([0, 22 * 480], [17, 3], [4, 4]))
    quarters = [0, 17, 22, 25, 28, 31]
    assert lines_of(score) == ([24 * quarter for quarter in quarters],) * 2


def band(n_bars: int = 24) -> Score:
    """Two pianos, high and low, and a bass, in quarters."""
    n = 4 * n_bars
    tracks = [("high", 0, 84), ("low", 0, 48), ("bass", 32, 40)]
    return Score(
        480,
        tuple(
            Track(name, program, False, Notes([480 * k for k in range(n)], [480] * n, [pitch] * n, [80] * n))
            for name, program, pitch in tracks
        ),
    )


def test_a_long_gap_is_written_in_stretches_that_fit_the_context():
    spans, lengths = [], []

    def write(requests: Sequence[Request]) -> list[GridScore]:
        gap = requests[0].gap
        assert gap is not None
        spans.append((gap.place.first_bar + gap.first, gap.place.first_bar + gap.last))
        lengths.append(len(MuseGuide(requests[0], CONTEXT).prompt()))
        assert gap.first > 0 or gap.place.first_bar == 0
        return drawn(requests)

    what = prepared(band(), Missing((3, 22), (0, 2)))
    inpainted(what, write, 1, CONTEXT)
    assert [bar for span in spans for bar in range(*span)] == list(range(2, 22))
    assert len(spans) > 1 and max(lengths) < CONTEXT


def test_new_notes_go_to_the_written_track_of_their_instrument_and_register():
    what = prepared(band(), Missing((5, 6), (0, 1)))
    assert what.instruments == (0,)
    high = (0, 0, 90, 24, 4)
    low = (24, 0, 30, 24, 4)
    grid = GridScore(what.grid.meters[4:6], what.grid.tempos[4:6], np.array([high, low]))
    found = inpainted(what, lambda requests: [grid], 1, CONTEXT)[0]
    new = [set(after.notes) - set(before.notes) for before, after in zip(what.left.tracks, found.tracks, strict=True)]
    assert [[note.pitch for note in notes] for notes in new] == [[90], [30], []]


def test_everybody_who_played_plays_where_bars_are_missing():
    *pianos, bass = band().tracks
    late = replace(bass, notes=bass.notes[bass.notes.start_ticks >= 5 * 1920])
    what = prepared(replace(band(), tracks=(*pianos, late)), Missing((4, 6)))
    assert what.instruments == () and what.places == (0, 1, 2)
    for seed in range(10):
        [found] = inpainted(what, lambda requests, seed=seed: drawn(requests, seed), 1, CONTEXT)
        high, low, bass = (len(a.notes) - len(b.notes) for a, b in zip(found.tracks, what.left.tracks, strict=True))
        assert high + low > 0 and bass > 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [(Missing((3, 25)), "bars is 3-25; allowed are bars from 1 to 24"), (Missing((0, 2)), "bars is 0-2")],
)
def test_bars_that_are_not_there(missing: Missing, message: str):
    with pytest.raises(InputError, match=message):
        prepared(band(), missing)


def test_an_endless_score_is_refused_before_its_bars_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inpainting, "in_named_meters", lambda _: pytest.fail("bars were counted"))
    late = Track("", 0, False, Notes([200_000_000], [1], [60], [80]))
    with pytest.raises(InputError, match="quarters long"):
        prepared(Score(1, (late,), meters=Meters([0], [33], [64])), Missing((1, 2)))


def test_a_score_without_notes_has_nothing_around_a_gap():
    with pytest.raises(InputError, match="no notes"):
        prepared(Score(480, ()), Missing((1, 2)))
