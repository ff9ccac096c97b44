"""Restored scores: what is kept stays to the tick, and what is missing is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.score import Controls, Meters, Notes, Score, Track
from musegen.music.chorales import RANGES, VOICES
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.filling import Filling
from musegen.music.gibbs import GibbsConfig
from musegen.music.onsets import Onsets, OnsetsConfig
from musegen.music.restoring import Erasure, restored

HOW = Filling(GibbsConfig(n_passes=2), 2, seed=1)


@pytest.fixture(scope="module")
def models() -> tuple[Coconet, Onsets]:
    torch.manual_seed(0)
    return Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval(), Onsets(OnsetsConfig(1, 8)).eval()


@st.composite
def four_parts(draw) -> Score:
    """Four voices with rests, notes across bar lines and off the grid, and a fifth track."""
    tpq = draw(st.sampled_from([480, 96, 7]))
    tracks = []
    for name, (low, high) in zip(VOICES, RANGES, strict=True):
        tick, rows = 0, [(0, tpq, (low + high) // 2, 80)]
        tick = tpq
        for length, is_rest in draw(
            st.lists(st.tuples(st.sampled_from([1, 2, 0.5, 1 / 3, 3.1]), st.booleans()), max_size=8)
        ):
            duration = max(round(length * tpq), 1)
            if not is_rest:
                rows.append((tick, duration, draw(st.integers(low, high)), 70))
            tick += duration
        tracks.append(Track(name, 52, False, Notes(*zip(*rows, strict=True)), Controls([0], [7], [99])))
    drums = Track("kit", 0, True, Notes([0, tpq], [9, 9], [36, 38], [80, 80]))
    order = draw(st.permutations(range(5)))
    meter = draw(st.sampled_from([(4, 4), (3, 4), (6, 8), (5, 16)]))
    return Score(tpq, tuple([*tracks, drums][place] for place in order), meters=Meters([0], [meter[0]], [meter[1]]))


def bar_ticks(score: Score) -> float:
    return 4 * score.ticks_per_quarter * score.meters[0].numerator / score.meters[0].denominator


@settings(max_examples=60, deadline=None)
@given(four_parts(), st.integers(1, 4), st.integers(0, 2), st.lists(st.sampled_from(VOICES), min_size=1, unique=True))
def test_everything_else_stays(models: tuple[Coconet, Onsets], score: Score, first: int, more: int, voices: list[str]):
    last = first + more
    try:
        found = restored(*models, score, Erasure((first, last), tuple(voices)), HOW)
    except InputError as error:
        is_gap = (first - 2) * bar_ticks(score) >= score.end_ticks
        assert ("a first bar from 1 to" if is_gap else "nothing to restore") in str(error)
        return
    start, end = int((first - 1) * bar_ticks(score)), int(last * bar_ticks(score))
    assert len(found.tracks) == len(score.tracks)
    for before, after in zip(score.tracks, found.tracks, strict=True):
        if before.name not in voices:
            assert after == before
            continue
        assert replace(after, notes=before.notes) == before
        outside = (before.notes.start_ticks < start) | (before.notes.start_ticks >= end)
        kept = {tuple(note) for note in before.notes[outside]}
        new = [note for note in after.notes if tuple(note) not in kept]
        assert kept <= {tuple(note) for note in after.notes}
        low, high = RANGES[VOICES.index(before.name)]
        slack = score.ticks_per_quarter // 4 + 1  # bars of 5/16 at 7 ticks a quarter begin between two sixteenths
        assert all(low <= note.pitch <= high and start - slack <= note.start_ticks < end + slack for note in new)
        order = np.argsort(after.notes.start_ticks, kind="stable")
        ends = after.notes.end_ticks[order]
        for note in new:  # no new note sounds together with any other
            together = (after.notes.start_ticks < note.end_ticks) & (after.notes.end_ticks > note.start_ticks)
            assert together.sum() == 1 and len(ends)


def test_erased_bars_are_full_again(models: tuple[Coconet, Onsets]):
    whole = Score(480, tuple(track(name, voice) for voice, name in enumerate(VOICES)))
    found = restored(*models, whole, Erasure((2, 3), ("alto", "tenor")), HOW)
    for voice in (1, 2):
        assert found.tracks[voice].notes.duration_ticks.sum() == 4 * 4 * 480
        assert found.tracks[voice].notes != whole.tracks[voice].notes
    erased = [
        replace(t, notes=t.notes[(t.notes.start_ticks < 1920) | (t.notes.start_ticks >= 3840)]) for t in whole.tracks
    ]
    missing = replace(whole, tracks=(whole.tracks[0], erased[1], whole.tracks[2], whole.tracks[3]))
    found = restored(*models, missing, Erasure(None), HOW)
    assert found.tracks[1].notes.duration_ticks.sum() == 4 * 4 * 480
    assert (found.tracks[0], *found.tracks[2:]) == (whole.tracks[0], *whole.tracks[2:])


def track(name: str, voice: int) -> Track:
    low, high = RANGES[voice]
    return Track(
        name, 52, False, Notes(np.arange(16) * 480, np.full(16, 480), np.full(16, (low + high) // 2), np.full(16, 80))
    )


def test_a_missing_voice_gets_a_track(models: tuple[Coconet, Onsets]):
    score = Score(480, tuple(track(VOICES[voice], voice) for voice in (0, 2, 3)))
    found = restored(*models, score, Erasure(None, ("alto",)), HOW)
    assert [t.name for t in found.tracks] == ["soprano", "tenor", "bass", "alto"] and found.tracks[:3] == score.tracks
    assert found.tracks[3].notes.duration_ticks.sum() == 16 * 480 and found.tracks[3].program == 52


def test_bars_behind_the_end_can_be_written(models: tuple[Coconet, Onsets]):
    score = Score(480, tuple(track(name, voice) for voice, name in enumerate(VOICES)))
    found = restored(*models, score, Erasure((5, 6)), HOW)
    assert found.end_ticks == 6 * 1920
    with pytest.raises(InputError, match=r"bars is 0-2; score has 4, .* from 1 to 5 .* to 204"):
        restored(*models, score, Erasure((0, 2)), HOW)
    with pytest.raises(InputError, match="bars is 3-2000; score has 4"):
        restored(*models, score, Erasure((3, 2000)), HOW)


def test_nothing_to_restore_is_said(models: tuple[Coconet, Onsets]):
    score = Score(480, tuple(track(name, voice) for voice, name in enumerate(VOICES)))
    with pytest.raises(InputError, match="nothing to restore"):
        restored(*models, score, Erasure(None), HOW)
