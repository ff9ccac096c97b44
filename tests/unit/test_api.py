"""What the verbs promise, checked on what a MIDI file says when it is read again."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from musegen import api, registry
from musegen.errors import DataError, InputError, MeterWarning, ScoreFileError, UnknownNameError
from musegen.midi.instruments import INSTRUMENTS, class_of, instrument_index
from musegen.midi.score import Controls, Keys, Meters, Notes, PitchBends, Score, Tempos, TextKind, Track
from musegen.midi.units import bpm_to_us_per_quarter

Verb = Callable[..., list[Score]]


@pytest.fixture
def compose(tiny_muse: str) -> Verb:
    return partial(api.compose, model=tiny_muse, seed=1)


@pytest.fixture
def continue_score(tiny_muse: str) -> Verb:
    return partial(api.continue_score, model=tiny_muse, seed=1, bars=3)


def read_again(score: Score, tmp_path: Path) -> Score:
    score.write(tmp_path / "written.mid")
    return Score.read(tmp_path / "written.mid")


def check_new_notes(score: Score, first: int, n_bars: int, bar_ticks: float) -> set[str]:
    """What begins at tick `first` or later keeps to the bars and ranges; returns who plays it."""
    end = first + n_bars * bar_ticks
    playing, starts = set(), []
    for track in score.tracks:
        new = track.notes[track.notes.start_ticks >= first]
        if not len(new):
            continue
        instrument = INSTRUMENTS[class_of(track.program, track.is_drum)]
        playing.add(instrument.name)
        assert instrument.low <= new.pitch.min() and new.pitch.max() <= instrument.high
        assert new.end_ticks.max() <= end
        starts += new.start_ticks.tolist()
    assert max(starts) >= end - bar_ticks - 1, "the last bar is empty"
    return playing


# Composing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruments", "n_bars", "meter"),
    [
        (["piano"], 1, "4/4"),
        (["Violin", " cello ", "piano"], 4, "3/4"),
        (["drums"], 3, "7/8"),
        (["flute", "oboe", "clarinet", "bassoon", "horn", "trumpet", "tuba", "timpani", "strings", "drums"], 2, "5/4"),
    ],
    ids=lambda value: str(value) if not isinstance(value, list) else value[0],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_promises_hold_in_the_file(
    compose: Verb, tmp_path: Path, instruments: list[str], n_bars: int, meter: str, seed: int
):
    [made] = compose(instruments=instruments, bars=n_bars, meter=meter, tempo=97.3, seed=seed)
    score = read_again(made, tmp_path)
    assert score == made
    numerator, denominator = map(int, meter.split("/"))
    bar_ticks = 4 * score.ticks_per_quarter * numerator // denominator
    playing = check_new_notes(score, 0, n_bars, bar_ticks)
    assert playing == {INSTRUMENTS[instrument_index(name)].name for name in instruments}
    assert [(m.start_ticks, m.numerator, m.denominator) for m in score.meters] == [(0, numerator, denominator)]
    assert score.tempos == Tempos([0], bpm_to_us_per_quarter([97.3]))
    assert api.info(score)["n_bars"] == n_bars


def test_instruments_and_meter_that_are_not_given_are_those_of_a_piece_of_the_composer(compose: Verb):
    for name, playing, meter in (
        ("BACH", {"organ"}, (0, 3, 2)),
        (" Saint  Saens ", {"violin", "piano"}, (0, 6, 8)),
        ("my band", {"piano", "drums"}, (0, 4, 4)),
    ):
        [score] = compose(composer=name, bars=2)
        assert {track.name for track in score.tracks} == playing
        assert list(score.meters) == [meter]


@pytest.mark.parametrize(("composer", "velocity"), [("bach", 24), ("saint-saens", 104)])
def test_a_piece_begins_as_loud_as_one_of_the_composer(compose: Verb, composer: str, velocity: int):
    [score] = compose(composer=composer, bars=4, seed=1)
    rows = [np.column_stack([track.notes.start_ticks, track.notes.velocity]) for track in score.tracks]
    notes = np.concatenate(rows)
    is_first = notes[:, 0] == notes[:, 0].min()
    assert (notes[is_first, 1] == velocity).all() and (notes[~is_first, 1] != velocity).any()


def test_the_same_seed_gives_the_same_bytes_and_the_text_says_how(compose: Verb, tiny_muse: str, tmp_path: Path):
    asked = {
        "composer": "Bach",
        "instruments": ["piano", "drums"],
        "bars": 2,
        "key": "f# minor",
        "density": "low",
        "n": 2,
    }
    first, second = (compose(**asked, seed=np.int64(9)) for _ in range(2))
    assert first == second and first[0] != first[1]
    assert compose(**asked, seed=10) != first
    [(tick, text, kind)] = first[1].texts
    assert (tick, kind) == (0, TextKind.MARKER)
    words = shlex.split(text, comments=True)
    assert text.endswith(" # piece 2 of 2")
    assert words[:2] == ["musegen", "compose"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    expected = {"--composer": "bach", "--instruments": "piano,drums", "--bars": "2", "--key": "f# minor", "-n": "2"}
    expected |= {
        "--density": "low",
        "--seed": "9",
        "--temperature": str(api.DEFAULT_TEMPERATURE),
        "--top-p": str(api.DEFAULT_TOP_P),
        "--guidance": str(api.DEFAULT_GUIDANCE),
    }
    assert given == expected | {"--model": tiny_muse}
    assert read_again(first[1], tmp_path).texts == first[1].texts


def test_the_key_that_is_asked_for_is_on_the_score(compose: Verb, tmp_path: Path):
    [score] = compose(bars=1, instruments=["piano"], key="e♭ minor")
    assert read_again(score, tmp_path).keys == Keys([0], [-6], [1])
    [score] = compose(bars=1, instruments=["piano"])
    assert not len(score.keys)


def test_a_drawn_seed_is_written_down(compose: Verb):
    [drawn] = compose(seed=None, bars=1, instruments=["piano"])
    words = shlex.split(drawn.texts[0][1])
    assert compose(seed=int(words[words.index("--seed") + 1]), bars=1, instruments=["piano"]) == [drawn]


def test_every_finished_bar_is_told_in_order(compose: Verb):
    told: list[tuple[int, int]] = []
    compose(bars=3, n=2, instruments=["piano"], on_bar=lambda row, bars: told.append((row, bars)))
    for row in range(2):
        assert [bars for r, bars in told if r == row] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"composer": "bahc"}, UnknownNameError, "composer 'bahc'; nearest: bach"),
        ({"instruments": ["pianoo"]}, UnknownNameError, "instrument 'pianoo'; nearest: piano"),
        ({"instruments": ["Bass"]}, UnknownNameError, "nearest: acoustic-bass, bassoon, contrabass, electric-bass,"),
        ({"instruments": []}, InputError, "instruments"),
        ({"instruments": "piano"}, InputError, r"\['piano'\]"),
        ({"instruments": [i.name for i in INSTRUMENTS[:16]]}, InputError, "channels for 15"),
        ({"bars": 0}, InputError, "bars is 0"),
        ({"bars": 2.5}, InputError, "bars is 2.5"),
        ({"key": "H"}, InputError, "key is 'H'"),
        ({"tempo": float("nan")}, InputError, "tempo is nan"),
        ({"meter": "4/5"}, InputError, "meter is '4/5'"),
        ({"density": "lots"}, InputError, "density is 'lots'"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"temperature": -0.1}, InputError, "temperature is -0.1"),
        ({"top_p": 0}, InputError, "top_p is 0"),
        ({"guidance": 10.5}, InputError, "guidance is 10.5; allowed are 0 to 10"),
        ({"n": 65}, InputError, "n is 65"),
        ({"model": "muse-tinny"}, UnknownNameError, "nearest: muse-tiny"),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else None,
)
def test_arguments_are_checked_before_the_model_is_loaded(
    tiny_muse: str, monkeypatch: pytest.MonkeyPatch, arguments: dict, error: type[Exception], words: str
):
    monkeypatch.setattr(registry, "load_model", lambda name: pytest.fail("the model was loaded"))
    for verb in (api.compose, partial(api.continue_score, "no-such-file.mid")):
        with pytest.raises(error, match=words):
            verb(**{"model": tiny_muse, **arguments})


# Continuing -----------------------------------------------------------------------------------------------------------


def melody(pitches: list[int], ticks: int, start: int = 0, velocity: int = 70) -> Notes:
    """Notes one after the other, each so many ticks long."""
    n = len(pitches)
    return Notes(start + ticks * np.arange(n), np.full(n, ticks), np.array(pitches), np.full(n, velocity))


def check_continued(
    prompt: Score, longer: Score, first: int, n_bars: int, bar_ticks: float, tmp_path: Path
) -> set[str]:
    """The prompt is in there as it was, and behind it are so many bars; returns who plays them."""
    assert read_again(longer, tmp_path) == longer
    assert longer.ticks_per_quarter == prompt.ticks_per_quarter
    assert longer.texts[: len(prompt.texts)] == prompt.texts
    assert len(longer.tracks) >= len(prompt.tracks)
    for old, new in zip(prompt.tracks, longer.tracks, strict=False):
        assert (new.name, new.program, new.is_drum) == (old.name, old.program, old.is_drum)
        assert new.notes[new.notes.start_ticks < first] == old.notes
        assert new.controls[: len(old.controls)] == old.controls
        assert new.pitch_bends[: len(old.pitch_bends)] == old.pitch_bends
    assert longer.tempos[longer.tempos.start_ticks < first] == prompt.tempos[prompt.tempos.start_ticks < first]
    assert longer.meters[longer.meters.start_ticks < first] == prompt.meters[prompt.meters.start_ticks < first]
    return check_new_notes(longer, first, n_bars, bar_ticks)


PIANO = Track("Right hand", 2, False, melody([60, 64, 67, 65], 480))
TRIPLE, SEVEN = Meters([0], [3], [4]), Meters([0], [7], [8])
PROMPTS = {
    "pick-up bar": (Score(480, (PIANO,), meters=Meters([0, 480], [1, 3], [4, 4])), 480 + 3 * 480, 3 * 480),
    "odd meter": (Score(480, (Track("", 0, False, melody([60, 62] * 7, 240)),), meters=SEVEN), 2 * 7 * 240, 7 * 240),
    "drums only": (Score(96, (Track("Kit", 0, True, melody([36, 42, 38, 42], 48)),)), 384, 384),
    "one note": (Score(480, (Track("", 40, False, melody([72], 10)),), meters=TRIPLE), 3 * 480, 3 * 480),
    "tempo off the levels": (Score(480, (PIANO,), Tempos([0, 960], [617_284, 555_555])), 1920, 1920),
    "very slow": (Score(480, (PIANO,), Tempos([0], [16_000_000])), 1920, 1920),
    "100 ticks a quarter": (Score(100, (Track("", 6, False, melody([60, 62, 64], 50)),), meters=TRIPLE), 300, 300),
    "10 ticks a quarter": (Score(10, (Track("", 0, False, melody([60, 62, 64], 5)),)), 40, 40),
    "changes behind the end": (
        Score(480, (PIANO,), Tempos([0, 3000], [500_000] * 2), Meters([0, 1920, 3840], [4, 3, 2], [4] * 3)),
        *(1920, 3 * 480),
    ),
    "a new meter a hair after the bar line": (
        Score(480, (PIANO,), meters=Meters([0, 1927], [4, 3], [4, 4])),
        1927,
        1440,
    ),
    "a bar cut short at an odd tick": (Score(480, (PIANO,), meters=Meters([0, 1220], [4, 3], [4, 4])), 2660, 1440),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_the_prompt_stays_and_new_bars_follow_on_the_bar_line(continue_score: Verb, tmp_path: Path, name: str):
    prompt, first, bar_ticks = PROMPTS[name]
    [longer] = continue_score(prompt)
    playing = check_continued(prompt, longer, first, 3, bar_ticks, tmp_path)
    assert playing == {INSTRUMENTS[class_of(track.program, track.is_drum)].name for track in prompt.tracks}
    assert longer.meters == prompt.meters[prompt.meters.start_ticks <= first]
    assert longer.tempos == prompt.tempos[prompt.tempos.start_ticks <= first]


def test_tracks_of_one_class_stay_apart(continue_score: Verb, tmp_path: Path):
    prompt = Score(
        480,
        (
            Track("Right hand", 0, False, melody([72, 76, 79, 77], 480)),
            Track("Left hand", 1, False, melody([43, 48], 960)),
            Track("Fiddle", 40, False, melody([88], 1920)),
        ),
        keys=Keys([0], [1], [0]),
        texts=((0, "made by hand"),),
    )
    [longer] = continue_score(prompt, bars=4)
    assert check_continued(prompt, longer, 1920, 4, 1920, tmp_path) == {"piano", "violin"}
    assert [track.name for track in longer.tracks] == ["Right hand", "Left hand", "Fiddle"]
    right, left = (track.notes[track.notes.start_ticks >= 1920].pitch for track in longer.tracks[:2])
    assert len(right) and len(left) and left.max() < right.min()
    assert longer.keys == prompt.keys


def test_other_instruments_meter_and_tempo_begin_on_the_bar_line(continue_score: Verb, tmp_path: Path):
    prompt = Score(480, (PIANO,))
    [longer] = continue_score(prompt, instruments=["piano", "flute"], meter="3/4", tempo=97.3)
    assert check_continued(prompt, longer, 1920, 3, 1440, tmp_path) == {"piano", "flute"}
    assert longer.meters == Meters([0, 1920], [4, 3], [4, 4])
    assert longer.tempos == Tempos([0, 1920], [500_000, int(bpm_to_us_per_quarter([97.3])[0])])
    [only_flute] = continue_score(prompt, instruments=["flute"])
    assert check_continued(prompt, only_flute, 1920, 3, 1920, tmp_path) == {"flute"}


def test_another_key_begins_on_the_bar_line(continue_score: Verb, tmp_path: Path):
    prompt = Score(480, (PIANO,), keys=Keys([0, 3000], [1, 2], [0, 0]))
    for key, keys in (("G", Keys([0], [1], [0])), ("e", Keys([0, 1920], [1, 1], [0, 1]))):
        [longer] = continue_score(prompt, key=key)
        check_continued(prompt, longer, 1920, 3, 1920, tmp_path)
        assert longer.keys == keys
    [new] = continue_score(prompt, key="e", only_new=True)
    assert new.keys == Keys([0], [1], [1])
    [longer] = continue_score(Score(480, (PIANO,)), key="Bb")
    assert longer.keys == Keys([1920], [-2], [0])


def test_a_meter_that_the_grid_cannot_name_goes_on_in_four_quarters(continue_score: Verb, tmp_path: Path):
    prompt = Score(480, (PIANO,), meters=Meters([0], [17], [4]))
    with pytest.warns(MeterWarning, match=r"the prompt is in 17/4, .*; the new bars are in 4/4"):
        [longer] = continue_score(prompt)
    check_continued(prompt, longer, 1920, 3, 1920, tmp_path)
    assert longer.meters == Meters([0, 1920], [17, 4], [4, 4])
    continue_score(prompt, meter="3/4")  # a warning would be an error here


def test_controllers_stay_and_are_let_go(continue_score: Verb, tmp_path: Path):
    pedal = Controls([0, 0, 960], [7, 64, 64], [90, 0, 127])
    track = Track("", 0, False, melody([60, 64, 67, 65], 480), pedal, PitchBends([480], [1000]))
    prompt = Score(480, (track,))
    [longer] = continue_score(prompt)
    check_continued(prompt, longer, 1920, 3, 1920, tmp_path)
    [new] = longer.tracks
    assert list(new.controls[len(pedal) :]) == [(1920, 64, 0)]
    assert list(new.pitch_bends[1:]) == [(1920, 0)]


@pytest.mark.parametrize(("program", "is_drum"), [(0, False), (0, True)], ids=["piano", "drums"])
def test_keys_that_are_down_over_the_bar_line_are_told_apart(
    continue_score: Verb, tmp_path: Path, program: int, is_drum: bool
):
    pitches = np.arange(27, 88)
    ringing = Notes(np.full(61, 1440), np.full(61, 700), pitches, np.full(61, 80))
    prompt = Score(480, (Track("", program, is_drum, ringing),))
    for seed in range(3):
        [longer] = continue_score(prompt, seed=seed)
        check_continued(prompt, longer, 1920, 3, 1920, tmp_path)


def test_only_new_is_the_rest_from_tick_0(continue_score: Verb, tmp_path: Path):
    prompt = Score(100, (Track("Hand", 2, False, melody([60, 62, 64], 100)),), Tempos([0], [617_284]), TRIPLE)
    [longer] = continue_score(prompt, instruments=["piano", "flute"])
    [new] = continue_score(prompt, instruments=["piano", "flute"], only_new=True)
    assert read_again(new, tmp_path) == new
    assert (new.meters, new.tempos) == (prompt.meters, prompt.tempos)
    assert [(t.name, t.program) for t in new.tracks] == [("Hand", 2), ("flute", 73)]
    for whole, rest in zip(longer.tracks, new.tracks, strict=True):
        behind = whole.notes[whole.notes.start_ticks >= 300]
        assert rest.notes.start_ticks.tolist() == (behind.start_ticks - 300).tolist()
        assert all((a == b).all() for a, b in zip(rest.notes.columns()[1:], behind.columns()[1:], strict=True))
    assert "--only-new" in new.texts[0][1] and "--only-new" not in longer.texts[0][1]


def test_a_file_is_continued_as_the_score_in_it(continue_score: Verb, tmp_path: Path):
    score = Score(480, (PIANO,))
    score.write(tmp_path / "opening bars.mid")
    [from_file], [from_score] = continue_score(str(tmp_path / "opening bars.mid")), continue_score(score)
    assert from_file.tracks == from_score.tracks
    assert shlex.split(from_file.texts[-1][1])[:3] == ["musegen", "continue", "opening bars.mid"]


def test_what_was_continued_can_be_continued(continue_score: Verb, tmp_path: Path):
    [once] = continue_score(Score(480, (PIANO,)))
    [twice] = continue_score(once, seed=2)
    check_continued(once, twice, 4 * 1920, 3, 1920, tmp_path)
    assert len(twice.texts) == 2


def test_nothing_cannot_be_continued(continue_score: Verb, tmp_path: Path):
    with pytest.raises(InputError, match="prompt has no notes"):
        continue_score(Score(480))
    with pytest.raises(ScoreFileError, match="no such file"):
        continue_score(tmp_path / "none.mid")


# What there is, and training ------------------------------------------------------------------------------------------


def test_lists(tiny_muse: str):
    assert [row["name"] for row in api.composers(tiny_muse)] == ["bach", "saint-saens", "My Band"]
    [tiny] = [row for row in api.models() if row["name"] == tiny_muse]
    assert (tiny["family"], tiny["layers"], tiny["width"], tiny["context"]) == ("muse", 1, 32, 256)
    assert len(api.instruments()) == len(INSTRUMENTS)


def test_info_and_plot_take_scores_and_files(tmp_path: Path):
    score = Score(480, (PIANO,))
    score.write(tmp_path / "x.mid")
    described = api.info(tmp_path / "x.mid")
    assert described["quantising"]["n_notes"] == score.n_notes and described["tracks"][0].pop("channel") == 1
    from_objects = [api.info(thing) for thing in (score, score.to_mido(), score.to_pretty_midi(), score.to_music21())]
    assert [facts["n_notes"] for facts in from_objects] == [score.n_notes] * 4
    assert from_objects[0]["tracks"][0].pop("channel") is None and from_objects[0] == described
    api.plot(score, tmp_path / "a.svg")
    api.plot(str(tmp_path / "x.mid"), tmp_path / "b.svg")
    assert {path.name for path in tmp_path.iterdir()} == {"x.mid", "a.svg", "b.svg"}


def test_evaluating_names_what_is_wrong(tiny_muse: str, tmp_path: Path):
    with pytest.raises(UnknownNameError, match="split 'tset'; nearest: test"):
        api.evaluate_muse(tmp_path, model=tiny_muse, split="tset")
    with pytest.raises(DataError):
        api.evaluate_muse(tmp_path, model=tiny_muse)


def test_export_keeps_the_best_weights_in_half_precision(tiny_muse: str, tmp_path: Path):
    import torch

    from musegen import registry
    from musegen.core.checkpoint import load, save

    weights = load(registry.checkpoint_folder(tiny_muse))
    full = {name: t.float() if t.is_floating_point() else t for name, t in weights.tensors.items()}
    save(tmp_path / "run" / "last", {name: t * 0 for name, t in full.items()}, weights.config)
    save(tmp_path / "run" / "best", full, {**weights.config, "training": {"step": 7}})
    report = api.export(tmp_path / "run", tmp_path / "models" / "mine")
    exported = load(tmp_path / "models" / "mine")
    assert report == {"model": "mine", "bytes": (exported.folder / "model.safetensors").stat().st_size, "step": 7}
    for name, tensor in weights.tensors.items():
        assert torch.equal(exported.tensors[name], tensor)


def test_a_prompt_without_a_beat_goes_on_where_it_ends(tiny_muse: str):
    rng = np.random.default_rng(3)
    starts = np.cumsum(rng.integers(100, 700, 60))
    notes = Notes(starts, rng.integers(50, 400, 60), rng.integers(40, 90, 60), rng.integers(40, 90, 60))
    prompt = Score(480, (Track("hands", 0, False, notes),), tempos=Tempos([0, 9000], [400_000, 700_000]))
    [longer] = api.continue_score(prompt, bars=3, seed=1, model=tiny_muse)
    new = longer.tracks[0].notes[60:]
    assert longer.tracks[0].notes[:60] == notes and longer.tempos == prompt.tempos
    ends = prompt.duration_seconds
    assert ends - 2 <= longer.seconds_at(int(new.start_ticks[0])) and longer.duration_seconds <= ends + 8
    assert new.velocity.min() >= 40 and new.velocity.max() < 90
    [alone] = api.continue_score(prompt, bars=3, seed=1, model=tiny_muse, only_new=True)
    assert alone.n_notes == len(new)
    [longer] = api.continue_score(prompt, bars=3, seed=1, model=tiny_muse, key="d")
    [(tick, *signature)] = longer.keys
    assert signature == [-1, True] and starts[-1] < tick <= longer.tracks[0].notes.start_ticks[60]
