"""New chorales: as long as asked for, from a key and back to it."""

import numpy as np
import pytest
import torch

from musegen.music.chorales import RANGES, VOICES
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.filling import Filling
from musegen.music.gibbs import GibbsConfig
from musegen.music.new_chorale import key_of, new_chorale
from musegen.music.onsets import Onsets, OnsetsConfig

KEYS = [(tonic, mode) for tonic in range(12) for mode in ("major", "minor")]


@pytest.mark.parametrize(("tonic", "mode"), KEYS)
def test_a_chorale_ends_in_its_key(tonic: int, mode: str):
    torch.manual_seed(0)
    models = Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval(), Onsets(OnsetsConfig(1, 8)).eval()
    n_bars = 1 + tonic % 3
    score = new_chorale(*models, n_bars, tonic, mode, (52, 52, 52, 52), Filling(GibbsConfig(2), 2))
    assert [track.name for track in score.tracks] == list(VOICES)
    for track, (low, high) in zip(score.tracks, RANGES, strict=True):
        assert track.notes.duration_ticks.sum() == track.end_ticks == n_bars * 1920
        assert ((track.notes.pitch >= low) & (track.notes.pitch <= high)).all()
    last = np.array([int(track.notes.pitch[-1]) for track in score.tracks])
    assert set((last - tonic) % 12) == {0, 3 if mode == "minor" else 4, 7} and last[-1] % 12 == tonic
    assert (np.diff(last) < 0).all() and score.tracks[-1].notes.pitch[0] % 12 == tonic
    key = score.keys[0]
    assert (7 * key.sharps + 9 * key.is_minor) % 12 == tonic and key.is_minor == (mode == "minor")


def test_signatures_are_the_usual_ones():
    assert [key_of(tonic, "major").sharps for tonic in (0, 7, 5, 2, 10, 3)] == [0, 1, -1, 2, -2, -3]
    assert [key_of(tonic, "minor").sharps for tonic in (9, 4, 2, 0)] == [0, 1, -1, -3]
