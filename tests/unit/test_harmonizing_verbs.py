"""Harmonising, restoring and writing chorales in Python, with the weights that ship."""

from dataclasses import replace
from pathlib import Path

import pytest

from musegen import api
from musegen.errors import InputError, UnknownNameError
from musegen.midi.score import Notes, Score, Track
from musegen.music.chorales import VOICES

TUNE = [(67, 1), (69, 1), (71, 1), (72, 1), (None, 1), (74, 0.5), (72, 0.5), (71, 1), (69, 1), (67, 2)]


def melodies(folder: Path) -> dict[str, object]:
    score = Score.from_notes(TUNE)
    score.write(folder / "tune.mid")
    score.write(folder / "tune.musicxml")
    return {
        "list": TUNE,
        "score": score,
        "path": folder / "tune.mid",
        "notation": str(folder / "tune.musicxml"),
        "pretty_midi": score.to_pretty_midi(),
        "music21": score.to_music21(),
        "mido": score.to_mido(),
        "array": score.to_notes(),
    }


def test_any_kind_of_melody_comes_back_as_it_was(tmp_path: Path):
    for kind, melody in melodies(tmp_path).items():
        score = api.harmonize(melody, passes=2, seed=1)  # type: ignore[arg-type]
        assert [track.name for track in score.tracks] == list(VOICES), kind
        own = [
            (note.pitch, note.start_ticks / score.ticks_per_quarter, note.duration_ticks / score.ticks_per_quarter)
            for note in score.tracks[0].notes
        ]
        start, expected = 0.0, []
        for pitch, beats in TUNE:
            expected += [] if pitch is None else [(pitch, start, beats)]
            start += beats
        assert own == expected, kind


def test_passes_are_told_and_can_be_stopped():
    told: list[tuple[int, int]] = []
    api.harmonize(TUNE, passes=5, seed=1, on_pass=lambda done, of: told.append((done, of)))
    n_most = told[0][1]
    assert n_most > 5 and told[:5] == [(done, n_most) for done in range(1, 6)] and told[-1] == (n_most, n_most)
    assert told == sorted(set(told))

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.harmonize(TUNE, passes=10_000, seed=1, on_pass=stop)


def test_candidates_change_what_is_written_and_a_seed_decides():
    one, best = (api.harmonize(TUNE, passes=2, candidates=n, seed=1) for n in (1, 8))
    assert one != best and best == api.harmonize(TUNE, passes=2, candidates=8, seed=1)


def test_voices_and_instruments():
    score = api.harmonize([(pitch and pitch - 24, beats) for pitch, beats in TUNE], voice="bass", passes=2)
    assert score.tracks[3].notes.pitch.max() == 50 and score.tracks[0].program == 0
    score = api.harmonize(TUNE, passes=2, instruments=["flute", "oboe", "horn", "bassoon"])
    assert [track.program for track in score.tracks] == [73, 68, 60, 70]
    assert "--instruments flute,oboe,horn,bassoon" in score.texts[0].text


def test_a_chorale_is_in_the_key_asked_for_and_can_be_restored():
    score = api.chorale(bars=4, key="e minor", passes=8, seed=2)
    assert (score.keys[0].sharps, score.keys[0].is_minor) == (1, True) and score.end_ticks == 16 * 480
    whole = api.infill(score, bars=(2, 3), voices=["bass"], passes=2, seed=1)
    assert whole.tracks[:3] == score.tracks[:3] and whole.tracks[3] != score.tracks[3]
    silent = replace(score, tracks=(*score.tracks[:3], replace(score.tracks[3], notes=score.tracks[3].notes[:0])))
    assert api.infill(silent, passes=2, seed=1).tracks[3].notes.duration_ticks.sum() == 16 * 480


def test_wrong_arguments_are_named():
    with pytest.raises(UnknownNameError, match="unknown voice 'descant'"):
        api.harmonize(TUNE, voice="descant")
    with pytest.raises(InputError, match="melody has no notes"):
        api.harmonize([])
    with pytest.raises(InputError, match="melody has no notes"):
        api.harmonize([(None, 4)])
    with pytest.raises(InputError, match="temperature is -1"):
        api.harmonize(TUNE, temperature=-1)
    with pytest.raises(InputError, match="temperature is 'a'"):
        api.harmonize(TUNE, temperature="a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="instruments is 5"):
        api.harmonize(TUNE, instruments=5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="key is 5"):
        api.chorale(key=5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no notes that last"):
        api.harmonize(Score(480, (Track("", 0, False, Notes([0], [0], [60], [80])),)))
    with pytest.raises(InputError, match="bars is 3"):
        api.infill(Score(480), bars=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="last bar is 2"):
        api.infill(Score(480), bars=(3, 2))
    with pytest.raises(InputError, match="voices is 'alto'"):
        api.infill(Score(480), voices="alto")
    with pytest.raises(InputError, match="bars is 1001"):
        api.chorale(bars=1001)
    with pytest.raises(InputError, match="drums, which sing no voice"):
        api.chorale(instruments="drums")
