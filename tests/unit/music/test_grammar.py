"""The promises of the grammar hold whatever is drawn: here by a model that knows nothing and draws at random."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.instruments import DRUMS, INSTRUMENTS
from musegen.music import vocabulary as v
from musegen.music.features import FEATURES, Place, features
from musegen.music.grammar import MuseGuide
from musegen.music.grid import DURATION, INSTRUMENT, ONSET, PITCH, VELOCITY, GridScore
from musegen.music.requests import Gap, Request
from musegen.music.sequences import sequence, without
from musegen.music.tokenizer import Controls, collect, decode, encode

SOME_METERS = [v.meter_index(name) for name in ("4/4", "3/4", "7/8", "2/4", "1/32", "16/4")]


def write(request: Request, seed: int, context: int = 256, haste: float = 0.5) -> MuseGuide:
    """Draws allowed tokens at random until the end, with a push toward bar lines so that bars do not grow for ever."""
    rng = np.random.default_rng(seed)
    guide = MuseGuide(request, context)
    assert guide.prompt().shape[1] == 1 + len(FEATURES)
    for count in range(100_000):
        allowed = guide.allowed()
        assert allowed.any()
        onward = [token for token in (v.END, v.BAR) if allowed[token]]
        token = onward[0] if onward and rng.random() < haste else int(rng.choice(np.flatnonzero(allowed)))
        row = guide.push(token)
        if row is None:
            return guide
        assert row.shape == (1 + len(FEATURES),) and row[0] == token
        assert all(0 <= value < size for value, size in zip(row[1:], FEATURES.values(), strict=True))
        if count % 50 == 49:
            again = guide.prompt()
            assert len(again) < context and again[0, 0] == v.START
    raise AssertionError("it never ended")


requests = st.builds(
    dict,
    instruments=st.lists(st.integers(0, DRUMS), max_size=5, unique=True).map(lambda x: tuple(sorted(x))),
    n_bars=st.integers(1, 9),
    meter=st.none() | st.sampled_from(SOME_METERS),
    tempo=st.none() | st.integers(0, len(v.TEMPOS_BPM) - 1),
    seed=st.integers(0, 2**32 - 1),
)


def make(options: dict, prompt: GridScore | None = None) -> tuple[MuseGuide, Request]:
    controls = Controls(instruments=options["instruments"], meter=options["meter"], tempo=options["tempo"])
    keep = {"keep_meter": options["meter"] is not None, "keep_tempo": options["tempo"] is not None}
    request = Request(controls, options["n_bars"], prompt=prompt, **keep)
    return write(request, options["seed"]), request


def check(grid: GridScore, request: Request, first_bar: int):
    new = grid.notes[grid.notes[:, ONSET] >= grid.bar_ticks[first_bar]]
    asked = request.controls.instruments
    assert grid.n_bars == first_bar + (request.n_bars or 0)
    if asked:
        assert set(new[:, INSTRUMENT]) == set(asked)
    else:
        assert len(set(grid.notes[:, INSTRUMENT]) - {DRUMS}) <= 15
    low = np.array([instrument.low for instrument in INSTRUMENTS])[new[:, INSTRUMENT]]
    high = np.array([instrument.high for instrument in INSTRUMENTS])[new[:, INSTRUMENT]]
    assert ((new[:, PITCH] >= low) & (new[:, PITCH] <= high)).all()
    assert (new[:, ONSET] + new[:, DURATION] <= grid.n_ticks).all()
    assert (new[:, ONSET] >= grid.bar_ticks[-2]).any()
    assert (new[:, ONSET] < grid.bar_ticks[first_bar + 1]).any()
    if request.keep_meter:
        assert (grid.meters[first_bar:] == request.controls.meter).all()
    if request.keep_tempo:
        assert (grid.tempos[first_bar:] == request.controls.tempo).all()


@given(requests)
@settings(max_examples=60, deadline=None)
def test_promises_hold_in_every_output(options: dict):
    guide, request = make(options)
    check(collect(guide.events), request, 0)
    assert guide.bars_written == options["n_bars"]


@given(requests, requests)
@settings(max_examples=30, deadline=None)
def test_promises_hold_after_a_prompt_whose_bars_stay(first: dict, second: dict):
    prompt = collect(make(first)[0].events)
    guide, request = make(second, prompt)
    grid = collect(guide.events)
    check(grid, request, prompt.n_bars)
    assert grid.bars(0, prompt.n_bars) == prompt


@given(requests, st.tuples(st.integers(0, 7), st.integers(0, 7)).map(sorted).map(tuple))
@settings(max_examples=20, deadline=None)
def test_velocities_stay_in_the_range_asked_for(options: dict, levels: tuple[int, int]):
    request = Request(Controls(instruments=options["instruments"]), options["n_bars"], velocities=levels)
    velocity = collect(write(request, options["seed"]).events).notes[:, VELOCITY]
    assert levels[0] <= velocity.min() and velocity.max() <= levels[1]


@given(requests, st.integers(0, 7))
@settings(max_examples=20, deadline=None)
def test_only_the_first_chord_is_as_loud_as_asked_for(options: dict, level: int):
    controls = Controls(instruments=options["instruments"])
    guide = write(Request(controls, options["n_bars"] + 3, opening=level), options["seed"])
    notes = collect(guide.events).notes
    is_first = notes[:, ONSET] == notes[0, ONSET]
    assert (notes[is_first, VELOCITY] == level).all()
    assert len(notes) - is_first.sum() < 12 or len(set(notes[~is_first, VELOCITY])) > 1
    prompt = collect(guide.events)
    later = collect(write(Request(controls, 4, prompt=prompt, opening=level), options["seed"]).events)
    new = later.notes[later.notes[:, ONSET] >= prompt.n_ticks]
    assert len(new) < 12 or (new[:, VELOCITY] != level).any()


@given(requests)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_canonical(options: dict):
    guide, request = make(options)
    rows = np.stack(guide._rows)
    assert (rows[:, 0] == encode(collect(guide.events)).tokens).all()
    assert (rows[:, 1:] == features(rows[:, 0], Place(0, request.n_bars))).all()


@given(requests)
@settings(max_examples=30, deadline=None)
def test_no_key_goes_down_twice(options: dict):
    grid = collect(make(options)[0].events)
    for note in np.unique(grid.notes[:, [INSTRUMENT, PITCH]], axis=0):
        if note[0] != DRUMS:
            same = grid.notes[(grid.notes[:, [INSTRUMENT, PITCH]] == note).all(axis=1)]
            assert (np.diff(same[:, ONSET]) >= same[:-1, DURATION]).all()


@given(requests)
@settings(max_examples=30, deadline=None)
def test_music_does_not_stop(options: dict):
    grid = collect(make(options)[0].events)
    bar_of = np.searchsorted(grid.bar_ticks, grid.notes[:, ONSET], side="right") - 1
    is_empty = np.bincount(bar_of, minlength=grid.n_bars) == 0
    assert not is_empty[0] and not (is_empty[1:] & is_empty[:-1]).any()


@pytest.mark.parametrize("n_bars", [1, 4])
def test_a_bar_line_behind_the_last_bar_ends_it(n_bars: int):
    guide = MuseGuide(Request(Controls(), n_bars), context=256)
    for bar in range(n_bars):
        line = [v.BAR, v.METER.first, v.TEMPO.first] if not bar else [v.BAR]
        note = [v.WAIT.first, v.NOTE.first + 40 + bar, v.LENGTH.first]
        for token in (*line, *note):
            assert guide.allowed()[token]
            assert guide.push(token) is not None
    assert guide.allowed()[[v.BAR, v.END]].all()
    assert guide.push(v.BAR) is None
    grid = collect(guide.events)
    assert (grid.n_bars, len(grid.notes)) == (n_bars, n_bars)


def test_a_fourth_bar_like_the_three_before_it_goes_on_otherwise():
    meter = v.meter_index("4/4")
    controls = Controls(instruments=(0,), meter=meter, tempo=10)
    bar = [v.note_token(0, 60), v.length_token(24, 3), v.wait_token(24), v.note_token(0, 62), v.length_token(24, 3)]
    line = [v.BAR, v.METER.first + meter, v.TEMPO.first + 10]
    guide = MuseGuide(Request(controls, 12, keep_meter=True, keep_tempo=True), 256)
    for nth in range(3):
        for token in [*(line if not nth else line[:1]), *bar]:
            assert guide.allowed()[token]
            guide.push(token)
    guide.push(v.BAR)
    assert not guide.allowed()[bar[0]] and guide.allowed()[v.NOTE.slice].any()
    for token in (v.note_token(0, 64), *bar[1:], v.BAR):
        assert guide.allowed()[token]
        guide.push(token)
    assert guide.allowed()[bar[0]], "another bar lies between"
    # Bars of a prompt are the user's: a loop may go on.
    three = collect(guide.events).bars(0, 3)
    longer = MuseGuide(Request(controls, 12, keep_meter=True, keep_tempo=True, prompt=three), 256)
    longer.push(v.BAR)
    assert longer.allowed()[bar[0]]


def test_everybody_has_entered_by_the_middle():
    asked = tuple(range(10))
    for seed in range(5):
        guide = write(Request(Controls(instruments=asked), 8), seed)
        grid = collect(guide.events)
        early = grid.notes[grid.notes[:, ONSET] <= grid.bar_ticks[4]]
        assert set(early[:, INSTRUMENT]) == set(asked)


def test_a_restart_keeps_the_header_and_the_newest_bars():
    controls = Controls(style=3, instruments=(0,), tempo=30, meter=SOME_METERS[1])
    guide = write(Request(controls, 40, keep_meter=True, keep_tempo=True), seed=1, haste=0.2)
    rows = guide.prompt()
    n_header = len(controls.tokens())
    assert rows[:n_header, 0].tolist() == controls.tokens()
    line = [v.BAR, v.METER.first + SOME_METERS[1], v.TEMPO.first + 30]
    assert rows[n_header : n_header + 3, 0].tolist() == line
    body = np.stack(guide._rows)
    kept = rows[n_header + 3 :]
    assert 0 < len(kept) <= 128
    assert (kept == body[len(body) - len(kept) :]).all()


def test_endless_playing_has_no_end_and_no_known_place():
    guide = MuseGuide(Request(Controls(instruments=(0,)), None), 256)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        allowed = guide.allowed()
        assert not allowed[v.END]
        row = guide.push(int(rng.choice(np.flatnonzero(allowed))))
        assert row is not None and row[-2:].tolist() == [128, 128]


def test_a_request_that_cannot_be_kept_is_refused():
    with pytest.raises(InputError, match="bars is 0"):
        Request(Controls(), 0)
    with pytest.raises(InputError, match="keep_meter"):
        Request(Controls(), 1, keep_meter=True)


@given(grid=..., data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_a_gap_is_filled_with_what_was_asked_for_and_nothing_else(grid: GridScore, data, seed: int):
    assume(grid.n_bars)
    first = data.draw(st.integers(0, grid.n_bars - 1))
    last = data.draw(st.integers(first + 1, min(grid.n_bars, first + 6)))
    instruments = tuple(sorted(data.draw(st.sets(st.integers(0, len(INSTRUMENTS) - 1), max_size=3))))
    beside = grid.bars(first, last) if instruments else None
    onset = grid.notes[:, ONSET]
    in_gap = (onset >= grid.bar_ticks[first]) & (onset < grid.bar_ticks[last])
    around = GridScore(grid.meters, grid.tempos, grid.notes[~in_gap])
    gap = Gap(around, first, last, beside, instruments, Place(3, 3 + grid.n_bars))
    playing = tuple(sorted({*grid.instruments, *instruments}))
    fullest = data.draw(st.none() | st.integers(1, 5))
    request = Request(Controls(instruments=playing), last - first, all_play=bool(instruments), fullest=fullest, gap=gap)
    guide = write(request, seed, context=8192)
    made = collect(guide.events)
    for instrument in made.instruments if fullest else ():
        onset = made.notes[made.notes[:, INSTRUMENT] == instrument, ONSET]
        assert np.histogram(onset, made.bar_ticks)[0].max() <= fullest
    assert (made.meters == grid.meters[first:last]).all() and (made.tempos == grid.tempos[first:last]).all()
    assert len(made.notes) and (made.notes[:, ONSET] + made.notes[:, DURATION] <= made.n_ticks).all()
    if instruments:
        assert set(made.instruments) == set(instruments)
    elif playing:
        assert set(made.instruments) <= set(playing)
    start = grid.bar_ticks[first]
    for onset, instrument, pitch, duration, _ in grid.notes[grid.notes[:, ONSET] < start].tolist():
        same = made.notes[(made.notes[:, INSTRUMENT] == instrument) & (made.notes[:, PITCH] == pitch)]
        assert instrument == DRUMS or (same[:, ONSET] >= onset + duration - start).all()


def test_beside_what_stands_a_note_is_as_likely_as_the_model_has_it():
    meters, tempos = np.full(2, v.METER_INDEX[4, 4]), np.full(2, 20)
    around = GridScore(meters, tempos, np.zeros((0, 5), int))
    beside = GridScore(meters, tempos, np.array([(0, 19, 60, 96, 3), (48, 3, 64, 24, 7), (150, 3, 70, 30, 5)]))
    guide = MuseGuide(Request(Controls(instruments=(3, 19)), 2, gap=Gap(around, 0, 2, beside, (10,))), 4096)
    rng, n_weighed, goes_on = np.random.default_rng(1), 0, True
    while goes_on:
        logits = rng.normal(0, 3, v.N_TOKENS)
        allowed, weighed = guide.allowed(), guide.weigh(logits)
        told, drawn = (np.exp(each - np.logaddexp.reduce(each)) for each in (logits, weighed))
        written = np.flatnonzero(allowed[v.NOTE.slice]) + v.NOTE.first
        written = written[(written - v.NOTE.first) // v.N_PITCHES == 10]
        if weighed is not logits:
            n_weighed += len(written) > 0
            assert drawn[written] == pytest.approx(told[written], rel=1e-6)
            assert drawn[allowed].sum() == pytest.approx(1)
        chosen = np.where(allowed, drawn, 0)
        goes_on = guide.push(int(rng.choice(v.N_TOKENS, p=chosen / chosen.sum()))) is not None
    assert n_weighed > 5


@pytest.mark.parametrize("seed", range(60))
def test_the_last_one_to_enter_a_short_gap_still_can(seed: int):
    meters = np.full(2, v.meter_index("1/32"))
    gap = Gap(GridScore(meters, np.zeros(2, int), np.zeros((0, 5), int)), 0, 2, None, (0, 1, 2))
    request = Request(Controls(instruments=(0, 1, 2)), 2, gap=gap)
    assert collect(write(request, seed, haste=0.2).events).instruments == (0, 1, 2)


def test_what_is_read_before_a_gap_is_as_in_training():
    grid = collect(write(Request(Controls(instruments=(0, 19)), 6), 1).events)
    onset, instrument = grid.notes[:, ONSET], grid.notes[:, INSTRUMENT]
    in_gap = (onset >= grid.bar_ticks[2]) & (onset < grid.bar_ticks[5])
    around = GridScore(grid.meters, grid.tempos, grid.notes[~in_gap])
    header, place = Controls(instruments=(0, 19)), Place(2, 30)
    left = GridScore(grid.meters, grid.tempos, grid.notes[instrument != 0])
    guide = MuseGuide(Request(header, 3, gap=Gap(around, 2, 5, left.bars(2, 5), (0,), place)), 4096)
    drawn = sequence(header.tokens(), without(grid, 2, 5, place))
    prompt = guide.prompt()
    assert (drawn.rows[: len(prompt)] == prompt).all()
    written = drawn.tokens[len(prompt) : -1].tolist()
    for token, row in zip(written, drawn.rows[len(prompt) :], strict=False):
        assert guide.allowed()[token]
        assert (guide.push(token) == row).all()
    missing = (instrument == 0) & in_gap
    assert (collect(guide.events).notes == grid.notes[missing] - [grid.bar_ticks[2], 0, 0, 0, 0]).all()


def test_what_stands_beside_a_gap_is_written_where_it_stands_and_as_it_is():
    meters, tempos = np.full(3, v.METER_INDEX[4, 4]), np.full(3, 20)
    around = GridScore(meters, tempos, np.zeros((0, 5), int))
    beside = GridScore(meters, tempos, np.array([(0, 19, 60, 200, 3), (24, 0, 64, 24, 7), (250, 37, 70, 30, 5)]))
    for seed in range(40):
        guide = MuseGuide(Request(Controls(instruments=(0, 19, 37)), 3, gap=Gap(around, 0, 3, beside, (0,))), 4096)
        rng = np.random.default_rng(seed)
        tokens, goes_on = [], True
        while goes_on:
            tokens.append(int(rng.choice(np.flatnonzero(guide.allowed()))))
            goes_on = guide.push(tokens[-1]) is not None
        everything, new = decode(tokens[:-1]), collect(guide.events)
        both = np.concatenate([new.notes, beside.notes])
        assert GridScore(meters, tempos, both) == everything and set(new.instruments) == {0}
        assert (encode(everything).tokens == tokens[:-1]).all()


def test_a_gap_of_another_length_than_asked_for_is_refused():
    grid = GridScore(np.full(3, v.METER_INDEX[4, 4]), np.full(3, 20), np.zeros((0, 5)))
    with pytest.raises(InputError, match="bars is 3; a gap has 2"):
        Request(Controls(), 3, gap=Gap(grid, 0, 2))
