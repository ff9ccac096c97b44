"""Strategies: `GridScore` and `Score` are what hypothesis draws for those types."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from musegen.midi.instruments import DRUMS, INSTRUMENTS
from musegen.midi.score import Meters, Notes, Score, Tempos, Track
from musegen.music import vocabulary as v
from musegen.music.grid import GridScore

# Short bars and long ones, duple and triple; hypothesis shrinks to the first.
METERS = [v.METER_INDEX[m] for m in ((4, 4), (3, 4), (6, 8), (1, 32), (1, 8), (5, 16), (7, 8), (16, 4), (4, 1), (5, 4))]
DURATIONS = st.sampled_from(v.DURATIONS)


def _runs(draw, n_bars: int, levels: st.SearchStrategy[int]) -> list[int]:
    """One level a bar, most of them as the one before."""
    runs = draw(st.lists(st.tuples(levels, st.integers(1, 4)), min_size=1, max_size=4))
    row = [level for level, length in runs for _ in range(length)]
    return (row + [row[-1]] * n_bars)[:n_bars]


@st.composite
def grids(draw) -> GridScore:
    """Any grid score: also empty, with empty bars, a pick-up, tied notes, exact duplicates and overlaps."""
    n_bars = draw(st.integers(0, 9))
    meters = _runs(draw, n_bars, st.sampled_from(METERS))
    tempos = _runs(draw, n_bars, st.integers(0, len(v.TEMPOS_BPM) - 1))
    n_ticks = int(v.METER_TICKS[meters].sum()) if n_bars else 0
    onsets = st.one_of(st.integers(0, n_ticks - 1), st.integers(0, (n_ticks - 1) // 24).map(lambda beat: 24 * beat))
    band = draw(st.lists(st.integers(0, len(INSTRUMENTS) - 1), min_size=1, max_size=3))
    instruments = st.sampled_from([*band, DRUMS])
    pitches = st.one_of(st.integers(58, 62), st.integers(v.LOWEST_PITCH, v.HIGHEST_PITCH))
    durations = st.one_of(DURATIONS, st.builds(lambda d, k: d + 96 * k, DURATIONS, st.integers(1, 5)))
    rows = st.tuples(onsets, instruments, pitches, durations, st.integers(0, 7))
    notes = draw(st.lists(rows, max_size=30)) if n_bars else []
    notes += notes[: draw(st.integers(0, 2))]
    return GridScore(np.array(meters, int), np.array(tempos, int), np.array(notes, int).reshape(-1, 5))


@st.composite
def scores(draw) -> Score:
    """Any score: any resolution, meters that the grid has not, changes inside bars, all pitches, drums, no length."""
    tpq = draw(st.one_of(st.sampled_from([480, 96, 24, 384, 120]), st.integers(1, 2000)))
    end = draw(st.sampled_from([1, 4, 20])) * tpq
    ticks = st.one_of(st.integers(0, end), st.integers(0, end // tpq).map(lambda quarter: quarter * tpq))
    rows = st.tuples(ticks, st.integers(0, 6 * tpq), st.integers(0, 127), st.integers(1, 127))
    programs = st.sampled_from([0, 1, 40, 48, 73, 127])
    tracks = draw(st.lists(st.tuples(programs, st.booleans(), st.lists(rows, max_size=12)), max_size=4))
    changes = st.tuples(ticks, st.integers(1, 20), st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
    meters = draw(st.lists(changes, max_size=3))
    tempos = draw(st.lists(st.tuples(ticks, st.integers(60_000, 6_000_000)), max_size=5))
    return Score(
        tpq,
        tuple(
            Track("", program, is_drum, Notes(*np.array(notes, int).reshape(-1, 4).T))
            for program, is_drum, notes in tracks
        ),
        tempos=Tempos(*np.array(tempos, int).reshape(-1, 2).T),
        meters=Meters(*np.array(meters, int).reshape(-1, 3).T),
    )


settings.register_profile("musegen", deadline=None, max_examples=50)
settings.load_profile("musegen")
st.register_type_strategy(GridScore, grids())
st.register_type_strategy(Score, scores())
