import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.music.accompanying import Accompanist
from musegen.music.coconet import Coconet, CoconetConfig


@pytest.fixture(scope="module")
def coconet() -> Coconet:
    torch.manual_seed(0)
    model = Coconet(CoconetConfig("rolls", n_layers=3, n_channels=8, n_heads=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return model


@settings(max_examples=150, deadline=None)
@given(chords=st.lists(st.lists(st.integers(0, 127), min_size=1, max_size=8), min_size=1, max_size=4))
def test_voices_lie_below_the_melody_whatever_is_played(coconet, chords):
    voices = Accompanist(coconet, n_beats=2)
    for chord in chords:
        added = voices.add(chord)
        assert len(added) <= max(4 - len(set(chord)), 0)
        assert added == sorted(set(added), reverse=True)
        assert not set(added) & set(chord)
        assert all(0 <= pitch < max(chord) for pitch in added)


def test_one_note_in_a_soprano_s_range_gets_voices(coconet):
    voices = Accompanist(coconet)
    assert all(1 <= len(voices.add([pitch])) <= 3 for pitch in range(64, 82))


def test_the_same_seed_and_chords_give_the_same_voices_and_the_past_matters(coconet):
    melody = [72, 74, 76, 77, 79, 77, 76, 74]

    def played(seed, forgets=False):
        voices = Accompanist(coconet, seed=seed)
        found = []
        for pitch in melody:
            if forgets:
                voices.forget()
            found.append(voices.add([pitch]))
        return found

    assert played(1) == played(1)
    assert played(1) != played(2)
    assert played(1) != played(1, forgets=True)


@pytest.mark.parametrize("pitches", [[], [128], [-1, 60]])
def test_what_is_no_chord_is_refused(coconet, pitches):
    with pytest.raises(InputError, match="pitches is"):
        Accompanist(coconet).add(pitches)


@pytest.mark.parametrize(("name", "value"), [("temperature", 0), ("temperature", 6), ("n_beats", 0), ("n_beats", 65)])
def test_what_is_out_of_range_is_refused(coconet, name, value):
    with pytest.raises(InputError, match=f"{name} is"):
        Accompanist(coconet, **{name: value})
