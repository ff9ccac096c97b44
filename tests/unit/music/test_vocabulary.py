"""The token table."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.facts import key_name
from musegen.midi.instruments import DRUMS, INSTRUMENTS
from musegen.midi.score import Key
from musegen.music import vocabulary as v


def test_blocks_tile_the_table():
    blocks = list(v.BLOCKS.values())
    assert blocks[0].first == 0
    assert all(a.first + a.size == b.first for a, b in itertools.pairwise(blocks))
    assert blocks[-1].first + blocks[-1].size == v.N_TOKENS < 1 << 16


def test_every_token_has_a_description_of_its_own():
    assert len({v.describe(token) for token in range(v.N_TOKENS)}) == v.N_TOKENS


def test_descriptions():
    assert [v.describe(token) for token in (v.PAD, v.START, v.END, v.GAP, v.FILL, v.BAR, v.TIE)] == [
        "pad", "start", "end", "gap", "fill", "bar", "tie",
    ]  # fmt: skip
    assert v.describe(v.wait_token(12)) == "wait 12"
    assert v.describe(v.note_token(17, 69)) == "note violin 69"
    assert v.describe(v.length_token(96, 7)) == "length 96 velocity 120"
    assert v.describe(v.METER.first + v.METER_INDEX[6, 8]) == "meter 6/8"


@pytest.mark.parametrize("token", [-1, v.N_TOKENS])
def test_no_such_token(token):
    with pytest.raises(InputError, match=f"token is {token}"):
        v.describe(token)


def test_every_meter_is_a_whole_number_of_ticks():
    for (numerator, denominator), ticks in zip(v.METERS, v.METER_TICKS, strict=True):
        assert ticks * denominator == numerator * v.TICKS_PER_WHOLE
    assert v.METER_TICKS.max() == v.MAX_BAR_TICKS


@given(st.integers(1, 2000))
def test_durations(ticks):
    writable = [d + 96 * k for k in range(22) for d in v.DURATIONS]
    one = np.array([ticks])
    assert v.is_duration(one).item() == (ticks in writable)
    assert v.longest_duration(one).item() == max(d for d in writable if d <= ticks)
    nearest = v.nearest_duration(one).item()
    assert nearest in writable and abs(nearest - ticks) == min(abs(d - ticks) for d in writable)


def test_nothing_and_less_is_no_duration():
    assert not v.is_duration(np.array([0, -1, -96, -97])).any()


@pytest.mark.parametrize("bpm", v.TEMPOS_BPM)
def test_tempo_levels(bpm):
    assert v.TEMPOS_BPM[v.tempo_level(bpm)] == v.TEMPOS_BPM[v.tempo_level(bpm * 1.01)] == bpm


@pytest.mark.parametrize("bpm", [9.9, 641, float("nan")])
def test_no_such_tempo(bpm):
    with pytest.raises(InputError, match="allowed are 10 to 640"):
        v.tempo_level(bpm)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("C", "C major"), ("c", "C minor"), ("F#m", "F# minor"), ("Bb major", "Bb major"), ("bb", "Bb minor"),
        ("b", "B minor"), ("B", "B major"), ("A♭", "Ab major"), ("g# minor", "Ab minor"), ("D# maj", "Eb major"),
        ("Cb", "B major"), ("  e MINOR ", "E minor"), ("CM", "C major"),
    ],
)  # fmt: skip
def test_keys(name, key):
    assert v.KEYS[v.key_index(name)] == key


@pytest.mark.parametrize(
    ("name", "signature", "key"),
    [
        ("a minor", (0, True), "A minor"), ("G", (1, False), "G major"), ("Bb", (-2, False), "Bb major"),
        ("Gb", (-6, False), "Gb major"), ("F#", (6, False), "F# major"), ("eb", (-6, True), "Eb minor"),
        ("d#m", (6, True), "D# minor"), ("Cb", (-7, False), "Cb major"), ("C#", (7, False), "C# major"),
        ("G# major", (-4, False), "Ab major"), ("Fb minor", (1, True), "E minor"), ("B#", (0, False), "C major"),
    ],
)  # fmt: skip
def test_a_signature_is_that_of_the_name_that_was_asked_for(name, signature, key):
    sharps, is_minor = v.key_signature(name)
    assert (sharps, is_minor) == signature
    assert key_name(Key(0, sharps, is_minor)) == key


@pytest.mark.parametrize("name", ["", "H", "C##", "C dur", "minor", "#"])
def test_no_such_key(name):
    with pytest.raises(InputError, match="allowed are names such as"):
        v.key_index(name)


@pytest.mark.parametrize("name", ["4/4", "3/4", " 6 / 8", "32/32"])
def test_meters(name):
    assert v.METERS[v.meter_index(name)] == tuple(map(int, name.split("/")))


@pytest.mark.parametrize("name", ["", "4", "4/", "/4", "4/3", "0/4", "5/1", "33/32", "4/4/4", "-3/4", "four/four"])
def test_no_such_meter(name):
    with pytest.raises(InputError, match="meter is"):
        v.meter_index(name)


def test_factors_tell_all_tokens_apart():
    factors = v.factors()
    assert factors.shape == (v.N_TOKENS, 3)
    assert len(np.unique(factors, axis=0)) == v.N_TOKENS
    used = np.unique(factors)
    assert np.array_equal(used, np.arange(len(used)))  # 0 for none, and no row of the factor table is idle


def test_notes_share_factors():
    factors = v.factors()
    violin, flute = factors[v.note_token(17, 60)], factors[v.note_token(35, 60)]
    assert violin[0] != flute[0] and np.array_equal(violin[1:], flute[1:])
    octave = factors[v.note_token(17, 72)]
    assert octave[0] == violin[0] and octave[1] != violin[1] and octave[2] == violin[2]
    drum = factors[v.note_token(DRUMS, 60)]
    assert drum[1] != violin[1] and drum[2] == 0


def test_the_fingerprint_is_that_of_the_shipped_weights():
    assert len(INSTRUMENTS) == 39
    assert v.fingerprint() == "4e5e7f17b58e1e90"
