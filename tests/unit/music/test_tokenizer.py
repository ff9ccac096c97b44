"""Tokens: there and back, whole and one at a time, and what is no music."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.instruments import instrument_index
from musegen.music import vocabulary as v
from musegen.music.grid import GridScore
from musegen.music.tokenizer import Bar, Controls, Decoder, GridNote, collect, decode, decode_events, encode

GOLDEN = Path(__file__).parents[2] / "golden" / "tokens.txt"
NOTE, LENGTH = v.note_token(0, 60), v.length_token(24, 4)


def hand_written() -> GridScore:
    """A pick-up of drums, a violin over a held cello, a new meter and tempo, an empty bar and a tied note."""
    drums, violin, cello = (instrument_index(name) for name in ("drums", "violin", "cello"))
    meters = [v.METER_INDEX[m] for m in ((1, 4), (4, 4), (6, 8), (6, 8), (16, 4))]
    tempos = [v.TEMPOS_BPM.index(bpm) for bpm in (96, 96, 132, 132, 132)]
    notes = [
        (0, drums, 38, 6, 3),
        (12, drums, 36, 6, 5),
        (24, cello, 43, 96, 4),
        (24, violin, 67, 24, 4),
        (24, violin, 71, 24, 4),
        (48, violin, 69, 12, 6),
        (60, violin, 69, 36, 6),
        (120, violin, 67, 72, 7),
        (264 + 200, cello, 36, 2 * 96 + 48, 0),
    ]
    return GridScore(np.array(meters), np.array(tempos), np.array(notes))


def test_golden():
    controls = Controls(
        style=3, instruments=(38, 17, 19), key=v.key_index("G"), tempo=25, meter=v.meter_index("4/4"), density=1
    )
    tokens = [*controls.tokens(), *encode(hand_written()).tokens.tolist(), v.END]
    assert "".join(f"{token:5} {v.describe(token)}\n" for token in tokens) == GOLDEN.read_text(encoding="utf-8")
    assert decode(tokens) == hand_written()


@given(grid=...)
def test_decoding_gives_the_grid_back(grid: GridScore):
    body = encode(grid)
    assert decode(body.tokens) == grid
    assert decode([*Controls(style=1, tempo=3, meter=5).tokens(), *body.tokens, v.END]) == grid


@given(grid=...)
def test_bar_starts(grid: GridScore):
    body = encode(grid)
    assert np.array_equal(body.bar_starts, [*np.flatnonzero(body.tokens == v.BAR), len(body.tokens)])


@given(grid=...)
def test_events_come_in_order_and_as_soon_as_they_are_certain(grid: GridScore):
    decoder, events, tokens = Decoder(), [], encode(grid).tokens.tolist()
    n_bars = 0
    for token in tokens:
        came = decoder.push(token)
        assert len(came) <= 1
        events += came
        assert isinstance(came[0] if came else None, GridNote) == (token in v.LENGTH)
        # A bar is certain with the first token behind its meter and tempo.
        is_line = token == v.BAR or token in v.METER or token in v.TEMPO
        n_bars += token == v.BAR
        assert sum(isinstance(event, Bar) for event in events) == n_bars - is_line
    events += decoder.push(v.END)
    assert decoder.ended and events == list(decode_events(tokens))
    assert collect(events) == grid
    places = [event.tick if isinstance(event, Bar) else event.onset for event in events]
    assert places == sorted(places)


ANY = st.integers(0, v.N_TOKENS - 1)
LIKELY = st.sampled_from([v.BAR, v.BAR, NOTE, LENGTH, NOTE, LENGTH, v.TIE, v.END, v.GAP, v.FILL, v.wait_token(60)])


@settings(max_examples=300)
@given(st.lists(st.one_of(LIKELY, LIKELY, ANY, st.integers(-3, v.N_TOKENS + 3)), max_size=30))
def test_any_tokens_decode_or_are_an_input_error(tokens):
    try:
        grid = decode(tokens)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert decode(encode(grid).tokens) == grid


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([v.wait_token(1)], "wait 1 stands before the first bar"),
        ([v.START, NOTE, LENGTH], "note piano 60 stands before the first bar"),
        ([v.BAR, LENGTH], "length 24 velocity 72 cannot stand inside a bar"),
        ([v.BAR, v.TIE], "tie cannot stand"),
        ([v.BAR, v.START], "start cannot stand"),
        ([v.BAR, NOTE, v.BAR], "bar follows a note; allowed are tie and length"),
        ([v.BAR, NOTE, v.TIE, v.END], "end follows a note"),
        ([v.BAR, NOTE, LENGTH, v.METER.first], "meter 1/1 cannot stand"),
        ([v.BAR, v.wait_token(96)], "wait 96 crosses the bar line"),
        ([v.BAR, v.wait_token(95), v.wait_token(1)], "wait 1 crosses"),
        ([v.BAR, v.END, v.BAR], "bar comes after the end"),
        ([v.BAR, v.N_TOKENS], f"token is {v.N_TOKENS}"),
        ([-1], "token is -1"),
    ],
)
def test_tokens_that_cannot_stand(tokens, message):
    with pytest.raises(InputError, match=message):
        decode(tokens)


def test_a_sequence_may_stop_anywhere():
    assert decode([]).n_bars == decode([v.START, v.END]).n_bars == 0
    assert decode([v.BAR]).n_bars == 1
    assert len(decode([v.BAR, NOTE, LENGTH, NOTE, v.TIE]).notes) == 1


def test_controls_have_one_order():
    controls = Controls(style=79, instruments=(5, 2), key=0, tempo=1, meter=2, density=0)
    assert [v.describe(token) for token in controls.tokens()] == [
        "start", "style 79", "instrument harpsichord", "instrument vibraphone", "key C major", "tempo 22", "meter 3/1",
        "density low",
    ]  # fmt: skip
    assert Controls().tokens() == [v.START]
