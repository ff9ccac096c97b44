"""Training sequences: windows, variations, what is missing and put back, and drawing."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from musegen.midi.instruments import DRUMS
from musegen.music import vocabulary as v
from musegen.music.corpus import Piece
from musegen.music.features import Place, Tracker
from musegen.music.grid import DURATION, INSTRUMENT, ONSET, PITCH, VELOCITY, GridScore
from musegen.music.sequences import (
    DENSITY_LIMITS,
    Sequence,
    SequenceConfig,
    controls_of,
    density_of,
    draw,
    key_of,
    n_ticks,
    vary,
    window,
    without,
)
from musegen.music.tokenizer import decode, encode


def piece_of(grid: GridScore) -> Piece:
    body = encode(grid)
    return Piece(body.tokens, body.bar_starts, grid.meters, grid.tempos)


def long_grid(n_bars: int = 60, n_drums: int = 2) -> GridScore:
    """Piano, cello and drums in eighths, in meters that change."""
    rng = np.random.default_rng(n_bars)
    meters = np.repeat([v.METER_INDEX[3, 4], v.METER_INDEX[4, 4]], n_bars)[n_bars // 2 :][:n_bars]
    n_ticks = int(v.METER_TICKS[meters].sum())
    n = 8 * n_bars
    classes = rng.choice([0, 19, *[DRUMS] * n_drums], n)
    onsets, durations = rng.integers(0, n_ticks // 12, n) * 12, rng.choice([6, 12, 24, 192], n)
    notes = np.stack([onsets, classes, rng.integers(30, 80, n), durations, rng.integers(0, 8, n)], 1)
    return GridScore(meters, np.full(n_bars, 20), notes)


def bar_ranges(data, grid: GridScore) -> tuple[int, int]:
    first = data.draw(st.integers(0, grid.n_bars - 1))
    return first, data.draw(st.integers(first + 1, grid.n_bars))


@given(grid=..., data=st.data())
def test_a_window_decodes_to_its_bars(grid: GridScore, data):
    assume(grid.n_bars)
    first, last = bar_ranges(data, grid)
    assert decode(window(piece_of(grid), first, last)) == grid.bars(first, last)


@given(grid=...)
def test_the_length_of_a_body(grid: GridScore):
    assert n_ticks(encode(grid).tokens) == grid.n_ticks


@given(grid=..., data=st.data(), louder=st.integers(-1, 1), faster=st.integers(-2, 2))
def test_varying_is_transposing(grid: GridScore, data, louder: int, faster: int):
    pitched = grid.notes[:, INSTRUMENT] != DRUMS
    low = grid.notes[pitched, PITCH].min(initial=v.HIGHEST_PITCH)
    high = grid.notes[pitched, PITCH].max(initial=v.LOWEST_PITCH)
    semitones = data.draw(st.integers(v.LOWEST_PITCH - low, v.HIGHEST_PITCH - high))
    varied = decode(vary(encode(grid).tokens.astype(np.int64), semitones, louder, faster))
    notes = grid.notes.copy()
    notes[pitched, PITCH] += semitones
    notes[:, VELOCITY] = np.clip(notes[:, VELOCITY] + louder, 0, 7)
    assert varied == GridScore(grid.meters, np.clip(grid.tempos + faster, 0, len(v.TEMPOS_BPM) - 1), notes)


@given(grid=..., data=st.data())
def test_what_is_missing_and_what_is_left_are_the_piece(grid: GridScore, data):
    assume(grid.n_bars)
    first, last = bar_ranges(data, grid)
    (context, place), (filling, there) = without(grid, first, last, Place(7, 99))
    assert (place, there) == (Place(7, 99), Place(7 + first, 99))
    assert (filling[0], filling[-1]) == (v.FILL, v.END)
    left, part = decode(context), decode(filling)
    assert part == grid.bars(first, last)
    moved = part.notes + np.array([grid.bar_ticks[first], 0, 0, 0, 0])
    assert GridScore(left.meters, left.tempos, np.concatenate([left.notes, moved])) == grid


@given(grid=..., data=st.data())
def test_bars_that_miss_something_are_marked_behind_their_line(grid: GridScore, data):
    assume(grid.n_bars)
    first, last = bar_ranges(data, grid)
    (context, _), _ = without(grid, first, last, Place())
    bar = np.cumsum(context == v.BAR) - 1
    gaps = np.flatnonzero(context == v.GAP)
    assert bar[gaps].tolist() == list(range(first, last))
    for gap in gaps:
        line = context[np.flatnonzero(context[:gap] == v.BAR)[-1] + 1 : gap]
        assert all(token in v.METER or token in v.TEMPO for token in line.tolist())


def check(sequence: Sequence, piece: Piece) -> None:
    """A header, then a body that decodes, or a context and a filling that both do; features that a tracker gives."""
    tokens = sequence.tokens
    assert tokens[0] == v.START and len(sequence.features) == len(tokens)
    assert v.BAR not in tokens[: sequence.n_header]
    body = tokens[sequence.n_header :]
    stretches = np.split(body, np.flatnonzero(body == v.FILL))
    assert len(stretches) <= 2
    for stretch in stretches:
        decode(stretch)
    assert v.END not in tokens[:-1]


@pytest.mark.parametrize("infill", [0.0, 1.0])
@pytest.mark.parametrize("size", [64, 300, 5000])
def test_drawn_sequences_are_legal(size: int, infill: float):
    grid = long_grid()
    piece, config = piece_of(grid), SequenceConfig(infill=infill)
    pitches = grid.notes[grid.notes[:, INSTRUMENT] != DRUMS, PITCH]
    limits = int(pitches.min()), int(pitches.max())
    rng = np.random.default_rng(size)
    for _ in range(60):
        sequence = draw(piece, 5, limits, size, config, rng)
        assert len(sequence.tokens) <= size
        check(sequence, piece)


@pytest.mark.parametrize("span", [(v.LOWEST_PITCH, v.HIGHEST_PITCH), (v.LOWEST_PITCH, 60), (60, v.HIGHEST_PITCH)])
def test_transposing_stays_on_the_piano_and_leaves_drums(span: tuple[int, int]):
    low, high = span
    notes = [(0, 0, low, 6, 4), (6, 0, high, 6, 4), (12, DRUMS, 21, 6, 4), (12, DRUMS, 108, 6, 4)]
    grid = GridScore(np.array([v.METER_INDEX[4, 4]]), np.array([20]), np.array(notes))
    seen = set()
    for seed in range(60):
        sequence = draw(piece_of(grid), 0, span, 200, SequenceConfig(infill=0), np.random.default_rng(seed))
        notes = decode(sequence.tokens).notes
        drums = notes[:, INSTRUMENT] == DRUMS
        assert notes[drums, PITCH].tolist() == [21, 108]
        seen.add(int(notes[0, PITCH]) - low)
    expected = range(-5 if low > 21 else 0, 6 if high < 108 else 1)
    assert seen == set(expected)


def test_a_drawn_sequence_says_where_it_stands_and_what_it_is():
    grid, exact = long_grid(), SequenceConfig(infill=0, drop_control=0, drop_place=0, transpose=0)
    piece = piece_of(grid)
    for seed in range(20):
        sequence = draw(piece, 5, (21, 108), 300, exact, np.random.default_rng(seed))
        n_header, body = sequence.n_header, sequence.tokens[sequence.n_header :]
        assert sequence.tokens[:n_header].tolist() == controls_of(body, 5).tokens()
        first = grid.n_bars - 1 - int(sequence.features[0, 4])
        tracker = Tracker(Place(first, grid.n_bars))
        assert np.array_equal(sequence.features, [tracker.push(token) for token in sequence.tokens.tolist()])
        found, part = decode(body), grid.bars(first, first + decode(body).n_bars)
        columns = [ONSET, INSTRUMENT, PITCH, DURATION]
        assert np.array_equal(found.notes[:, columns], part.notes[:, columns])


@pytest.mark.parametrize("n_bars", [2, 6, 12, 60])
def test_pieces_of_any_length_begin_and_end(n_bars: int):
    piece = piece_of(long_grid(n_bars))
    sequences = [
        draw(piece, 0, (21, 108), 300, SequenceConfig(infill=0, drop_place=0), np.random.default_rng(seed))
        for seed in range(200)
    ]
    last_bars = sum(v.END in sequence.tokens for sequence in sequences)
    first_bars = sum(sequence.features[0, 4] == n_bars - 1 for sequence in sequences)
    assert last_bars >= 10 and first_bars >= 10
    countdowns = {int(value) for sequence in sequences for value in sequence.features[:, 4]}
    assert countdowns == set(range(n_bars))  # no bar is never seen


def test_controls_and_places_are_dropped():
    piece = piece_of(long_grid())
    nothing = SequenceConfig(infill=0, drop_control=1, drop_place=1)
    sequence = draw(piece, 5, (21, 108), 300, nothing, np.random.default_rng(0))
    assert sequence.n_header == 1 and (sequence.features[:, 3:] == 128).all()


def test_a_bar_longer_than_a_sequence_is_cut():
    notes = [(0, 0, pitch, 6, 4) for pitch in range(21, 108)]
    grid = GridScore(np.array([0]), np.array([0]), np.array(notes))
    sequence = draw(piece_of(grid), 0, (21, 108), 50, SequenceConfig(), np.random.default_rng(0))
    assert len(sequence.tokens) == 50


@pytest.mark.parametrize("tonic", range(12))
def test_keys_are_found(tonic: int):
    major = np.array([0, 2, 4, 5, 7, 9, 11, 0, 4, 7, 0])
    minor = np.array([0, 2, 3, 5, 7, 8, 11, 0, 3, 7, 0])
    assert key_of(60 + tonic + major) == tonic
    assert key_of(60 + tonic + minor) == 12 + tonic


def test_a_few_notes_and_all_notes_alike_have_no_key():
    assert key_of(np.array([60] * 7)) is None
    assert key_of(np.arange(60, 72)) is None


def test_densities():
    low, high = DENSITY_LIMITS
    assert [density_of(n, 100, 2) for n in (int(180 * low), int(220 * low), int(220 * high))] == [0, 1, 2]
    assert density_of(0, 4, 1) is None and density_of(4, 0, 1) is None
