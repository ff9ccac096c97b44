"""Harmonising, restoring and writing chorales in Python, with the weights that ship."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from musegen import api
from musegen.errors import DataError, InputError, UnknownNameError
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
    with pytest.raises(InputError, match=r"bars is \(3, 2\)"):
        api.infill(Score(480), bars=(3, 2))
    with pytest.raises(InputError, match="voices is 'alto'"):
        api.infill(Score(480), voices="alto")
    with pytest.raises(InputError, match="bars is 1001"):
        api.chorale(bars=1001)
    with pytest.raises(InputError, match="drums, which sing no voice"):
        api.chorale(instruments="drums")


def _named_voices(n_bars: int, names: tuple[str, ...] = VOICES) -> Score:
    pitches = dict(zip(VOICES, (72, 67, 60, 48), strict=True))
    starts = [480 * beat for beat in range(4 * n_bars)]
    n = len(starts)
    lines = {name: Notes(starts, [480] * n, [pitches[name]] * n, [80] * n) for name in names}
    return Score(480, tuple(Track(name, 0, False, notes) for name, notes in lines.items()))


@pytest.mark.parametrize("bars", [None, (2, 2)])
def test_a_named_track_is_never_taken_for_another_voice(bars: tuple[int, int] | None):
    score = _named_voices(3, ("soprano", "alto", "bass"))
    with pytest.raises(InputError, match="tenor missing, and not among voices to write"):
        api.infill(score, bars=bars, voices=["alto"], passes=1, seed=1)


def test_bars_may_lengthen_a_score_and_leave_no_gap():
    score = _named_voices(2)
    for bars in [(3, 4), (2, 3)]:
        found = api.infill(score, bars=bars, passes=1, seed=1)
        assert found.end_ticks > score.end_ticks and found.end_ticks <= 1920 * bars[1]
    with pytest.raises(InputError, match="bars is 4-4; score has 2, so allowed are a first bar from 1 to 3 "):
        api.infill(score, bars=(4, 4), passes=1, seed=1)


@pytest.mark.parametrize("bars", [(5, 3), (0, 1), (True, 2), 3, (1, "2")])
def test_bars_that_are_none_are_named_so(bars: object):
    with pytest.raises(InputError, match=r"^bars is .*; allowed are the first bar, 1 or more"):
        api.infill(_named_voices(2), bars=bars)  # type: ignore[arg-type]


def test_arguments_of_other_types_are_refused():
    with pytest.raises(InputError, match="model is None"):
        api.harmonize(TUNE, model=None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="voices is 4"):
        api.infill(_named_voices(2), bars=(1, 1), voices=4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="track is True"):
        api.harmonize(TUNE, track=True)
    with pytest.raises(InputError, match="bars is True"):
        api.chorale(bars=True)
    with pytest.raises(InputError, match="of the family onsets; allowed are models of the family coconet"):
        api.harmonize(TUNE, model="coconet-onsets")
    with pytest.raises(UnknownNameError, match=r"nearest: bassoon.*ensembles: choir, strings"):
        api.chorale(instruments="kazoo")


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ([[67, 60, 55, 48]] * 32, [[67, 60, 55, 48]] * 32),
        ([[67, 60, 55, 48], [69, 60, 53, 48]] * 16, [[67, 60, 55, 48]] * 32),
        ([[67, 60, 55, 48]], [[67, 60, 55, 48]]),
    ],
)
def test_chorales_without_movement_can_be_evaluated(tmp_path: Path, train: list[list[int]], valid: list[list[int]]):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"train": [train], "valid": [valid]}))
    report = api.evaluate_chorales(path, passes=1)
    assert report["bach"]["melodic_intervals"] is None
    json.dumps(report, allow_nan=False)


def test_data_that_is_not_there_is_named_with_the_command_that_makes_it(tmp_path: Path):
    file = tmp_path / "file.json"
    file.write_text("{}")
    for path, what in [(file, "is a file"), (tmp_path / "no", "does not exist"), (tmp_path, "holds no finished")]:
        with pytest.raises(DataError, match=f"{what}.*musegen data chorales"):
            api.evaluate_onsets(path)
    with pytest.raises(DataError, match=r"^out is .*file\.json, which is a file"):
        api.prepare_chorales(file)
