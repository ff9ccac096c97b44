"""Harmonised melodies: what is promised holds for any melody, whatever the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.score import Keys, Meters, Notes, Score, Tempos, Text, Track
from musegen.music.chorales import RANGES, VOICES
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.filling import Filling, transposition
from musegen.music.gibbs import GibbsConfig
from musegen.music.harmonizing import find_melody, harmonized
from musegen.music.onsets import Onsets, OnsetsConfig
from musegen.music.voices import line_of

HOW = Filling(GibbsConfig(n_passes=2), 2, seed=1)
METERS = [(4, 4), (3, 4), (6, 8), (7, 8), (5, 16), (2, 2), (1, 8)]


@pytest.fixture(scope="module")
def models() -> tuple[Coconet, Onsets]:
    torch.manual_seed(0)
    return Coconet(CoconetConfig(n_layers=3, n_channels=8, n_heads=2)).eval(), Onsets(OnsetsConfig(1, 8)).eval()


@st.composite
def melodies(draw, lowest: int = 0, highest: int = 127) -> Score:
    """Any tune: ornaments and tuplets finer than the grid, rests, repeats, legato, pick-ups, meters, tempos."""
    tpq = draw(st.sampled_from([480, 96, 24, 120, 7, 1000]))
    middle = draw(st.integers(lowest, highest))
    near = st.integers(-9, 9).map(lambda interval: min(max(middle + interval, lowest), highest))
    lengths = st.sampled_from([1, 1, 2, 0.5, 4, 1 / 3, 0.25, 1 / 12, 1.5])
    rows, tick = [], draw(st.sampled_from([0, 0, tpq, 2 * tpq, tpq // 2]))
    for pitch, length, gap, share in draw(
        st.lists(
            st.tuples(near, lengths, st.sampled_from([0, 0, 0, 0.25, 1, 3]), st.sampled_from([1, 1, 0.8, 1.2])),
            min_size=1,
            max_size=12,
        )
    ):
        duration = max(round(length * tpq), 1)
        rows.append((tick, max(round(duration * share), 1), pitch, draw(st.integers(1, 127))))
        tick += duration + round(gap * tpq)
    meters = draw(st.lists(st.sampled_from(METERS), min_size=1, max_size=2))
    starts = [0, draw(st.integers(1, 8)) * tpq][: len(meters)]
    track = Track(
        draw(st.sampled_from(["", "tune"])), draw(st.integers(0, 127)), False, Notes(*zip(*rows, strict=True))
    )
    score = Score(tpq, (track,), Tempos([0, tpq], [400_000, 700_000]), Meters(starts, *zip(*meters, strict=True)))
    return replace(score, keys=Keys([0], [-2], [1]), texts=(Text(0, "words"),))


def is_one_at_a_time(score: Score) -> bool:
    try:
        find_melody(score)
    except InputError:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(melodies(36, 81).filter(is_one_at_a_time), st.sampled_from(VOICES), st.integers(0, 9))
def test_the_melody_comes_back_and_the_others_stay_in_their_ranges(
    models: tuple[Coconet, Onsets], score: Score, voice: str, seed: int
):
    melody = find_melody(score)
    found = harmonized(*models, score, melody, voice, None, replace(HOW, seed=seed))
    assert [track.name for track in found.tracks] == list(VOICES)
    assert (found.tempos, found.meters, found.keys, found.texts, found.ticks_per_quarter) == (
        score.tempos, score.meters, score.keys, score.texts, score.ticks_per_quarter,
    )  # fmt: skip
    place = VOICES.index(voice)
    assert found.tracks[place] == replace(melody, name=voice)
    shift = shift_of(score, melody, place)
    for track, (low, high) in zip(found.tracks, RANGES, strict=True):
        if track.name == voice:
            continue
        assert track.program == melody.program and track.end_ticks <= score.end_ticks + score.ticks_per_quarter // 4 + 1
        assert (track.notes.end_ticks[:-1] <= track.notes.start_ticks[1:]).all()
        assert (track.notes.pitch.astype(int) + shift >= low).all() and (
            track.notes.pitch.astype(int) + shift <= high
        ).all()
    assert found == harmonized(*models, score, melody, voice, None, replace(HOW, seed=seed))


def shift_of(score: Score, melody: Track, place: int) -> int:
    """By how much the melody is moved: 0 if it fits."""
    pitches, _ = line_of(melody.notes, score.ticks_per_quarter, 4 * melody.end_ticks // score.ticks_per_quarter + 1)
    grid = np.full((len(pitches), 4), -1)
    grid[:, place] = pitches
    low, high = RANGES[place]
    shift = transposition(grid, grid >= 0)
    sung = pitches[pitches >= 0]
    assert shift == 0 or not ((low <= sung) & (sung <= high)).all()
    return shift


@settings(max_examples=30, deadline=None)
@given(melodies().filter(is_one_at_a_time), st.sampled_from(VOICES))
def test_any_pitch_is_harmonised_or_refused(models: tuple[Coconet, Onsets], score: Score, voice: str):
    melody = find_melody(score)
    try:
        found = harmonized(*models, score, melody, voice, None, HOW)
    except InputError as error:
        assert "transpose it" in str(error)
        return
    assert found.tracks[VOICES.index(voice)].notes == melody.notes


def quarters(*pitches: int | None, **more: object) -> Score:
    score = Score.from_notes([(pitch, 1) for pitch in pitches])
    return replace(score, tracks=(replace(score.tracks[0], **more),))  # type: ignore[arg-type]


def test_everybody_rests_where_the_melody_rests_for_a_beat(models: tuple[Coconet, Onsets]):
    score = quarters(67, 69, None, 71, 72, None, None, 74)
    found = harmonized(*models, score, score.tracks[0], "soprano", None, HOW)
    for track in found.tracks:
        sounds = np.zeros(32, dtype=bool)
        for note in track.notes:
            sounds[note.start_ticks // 120 : -(-note.end_ticks // 120)] = True
        assert sounds.reshape(8, 4).all(axis=1).tolist() == [True, True, False, True, True, False, False, True]
        assert not sounds.reshape(8, 4)[[2, 5, 6]].any()


def test_through_shorter_rests_the_others_sing_on(models: tuple[Coconet, Onsets]):
    score = Score.from_notes([(67, 0.5), (None, 0.5), (69, 2)])
    found = harmonized(*models, score, score.tracks[0], "soprano", None, HOW)
    for track in found.tracks[1:]:
        assert track.notes.duration_ticks.sum() == 3 * 480


def test_after_a_fermata_everybody_begins_and_at_its_end_stands_still(models: tuple[Coconet, Onsets]):
    score = Score.from_notes([(67, 1), (67, 2), (67, 1), (67, 1)])
    track = replace(score.tracks[0], texts=(Text(480, "fermata"),))
    for seed in range(5):
        found = harmonized(*models, score, track, "soprano", None, replace(HOW, seed=seed))
        for voice in found.tracks:
            starts = set(voice.notes.start_ticks.tolist())
            assert 3 * 480 in starts and not starts & set(range(2 * 480 + 1, 3 * 480))


@pytest.mark.parametrize("n_beats", [4, 800])
def test_one_bar_and_two_hundred(models: tuple[Coconet, Onsets], n_beats: int):
    score = quarters(*[60 + beat * 5 % 12 for beat in range(n_beats)])
    found = harmonized(*models, score, score.tracks[0], "soprano", (52, 52, 52, 52), replace(HOW, n_candidates=1))
    assert found.end_ticks == score.end_ticks
    assert all(track.notes.duration_ticks.sum() == score.end_ticks for track in found.tracks)
    assert [track.program for track in found.tracks] == [52] * 4


def test_what_is_no_melody_is_refused():
    chord = Score(480, (Track("piano", 0, False, Notes([0, 0], [480, 480], [60, 64], [80, 80])),))
    with pytest.raises(InputError, match="one note at a time, but in track 'piano' pitches 60 and 64"):
        find_melody(chord)
    with pytest.raises(InputError, match="melody has no notes"):
        find_melody(Score(480))
    tune, drums = quarters(60, 62).tracks[0], Track("", 0, True, Notes([0], [1], [36], [80]))
    two = Score(480, (replace(tune, name="flute"), replace(tune, name="oboe"), drums))
    with pytest.raises(InputError, match="several tracks: 1 'flute', 2 'oboe'; say which with track"):
        find_melody(two)
    with pytest.raises(InputError, match="track must be 1 to 3"):
        find_melody(two, 4)
    with pytest.raises(InputError, match="track 3 of melody has drums"):
        find_melody(two, 3)
    assert find_melody(two, 2).name == "oboe"
    assert find_melody(Score(480, (replace(tune, name="Melody"), replace(tune, name="oboe"), drums))).name == "Melody"
