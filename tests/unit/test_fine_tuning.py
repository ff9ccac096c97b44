"""A trained Muse fine-tuned on a folder: its styles stay, and the new one has a name."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from musegen import api, registry
from musegen.cli import train as command
from musegen.core.checkpoint import load
from musegen.errors import CheckpointError, HeldOutWarning, InputError, RecipeError
from musegen.midi.score import Notes, Score, Track
from musegen.music.muse import MuseConfig
from musegen.music.tasks import MuseTask, MuseTaskConfig

QUICK = ["train.steps=3", "train.warmup_steps=1", "train.decay_steps=1", "train.validate_every=3", "task.n_valid=2"]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    folder.mkdir()
    for n in range(4):
        rng = np.random.default_rng(n)
        notes = Notes(240 * np.arange(64), np.full(64, 240), rng.integers(50, 80, 64), np.full(64, 80))
        Score(480, (Track("lead", 40, False, notes),)).write(folder / f"{n}.mid")
    return folder


def test_a_folder_of_midi_gets_a_name(tiny_muse: str, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "run"
    with pytest.warns(HeldOutWarning, match="4 pieces with a beat are too few to hold any out"):
        done = api.train(None, QUICK, data=songs, base=tiny_muse, style="mine", out=out)
    assert done["finished"] and done["step"] == 3
    models = tmp_path / "models"
    api.export(out, models / "tuned")
    base = registry.checkpoint_config(tiny_muse)
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", os.pathsep.join([str(models)]))
    tuned = registry.checkpoint_config("tuned")
    assert tuned["styles"] == [*base["styles"], "mine"]
    assert tuned["pieces"] == {**base["pieces"], "mine": 4} and tuned["model"] == base["model"]
    assert tuned["settings"]["bach"] == base["settings"]["bach"]
    assert tuned["settings"]["mine"][0]["instruments"] == ["violin"]
    [score] = api.compose(composer="mine", bars=2, seed=1, model="tuned")
    assert [track.name for track in score.tracks] == ["violin"]


def test_the_command_says_that_nothing_is_held_out(
    tiny_muse: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command.train(settings=QUICK, data=songs, base=tiny_muse, style="mine", out=tmp_path / "run", as_json=True)
    [warning] = json.loads(capsys.readouterr().out)["warnings"]
    assert "too few to hold any out" in warning


def test_the_shards_of_a_style_are_measured_before_and_after(
    tiny_muse: str, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for n in range(4, 12):  # enough to hold some out
        notes = Notes(240 * np.arange(64), np.full(64, 240), 50 + (n * np.arange(64) ** 2) % 31, np.full(64, 80))
        Score(480, (Track("lead", 40, False, notes),)).write(songs / f"{n}.mid")
    out, models = tmp_path / "run", tmp_path / "models"
    api.train(None, QUICK, data=songs, base=tiny_muse, style="My  band", out=out)
    api.export(out, models / "tuned")
    before = api.evaluate_muse(out / "shards", split="test", model=tiny_muse)
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(models))
    after = api.evaluate_muse(out / "shards", split="test", model="tuned")
    # In other letters it is the style that the base knows.
    assert registry.checkpoint_config("tuned")["styles"] == ["bach", "saint-saens", "My Band"]
    for report in (before, after):
        assert [row["label"] for row in report["labels"]] == ["My Band"] and report["n_pieces"] == 1
    assert before["labels"][0]["nats_per_token"] != after["labels"][0]["nats_per_token"]


@pytest.mark.filterwarnings("ignore::musegen.errors.HeldOutWarning")
def test_resuming_with_another_style_names_what_differs(tiny_muse: str, songs: Path, tmp_path: Path):
    options = {"overrides": QUICK, "data": songs, "base": tiny_muse, "out": tmp_path / "run"}
    api.train(None, style="mine", **options)
    with pytest.raises(RecipeError, match=r"task.styles was \['mine'\] when the run began, got \['yours'\]"):
        api.train(None, style="yours", resume=True, **options)


@pytest.mark.filterwarnings("ignore::musegen.errors.HeldOutWarning")
def test_it_begins_with_the_weights_of_the_base(tiny_muse: str, songs: Path, tmp_path: Path):
    shards, folder = tmp_path / "shards", registry.checkpoint_folder(tiny_muse)
    api.prepare_data(songs, shards)
    config = MuseConfig(**registry.checkpoint_config(tiny_muse)["model"])
    task = MuseTask(config, MuseTaskConfig(shards, base=folder, style="mine"))
    for name, tensor in load(folder).tensors.items():
        assert (task.model.state_dict()[name] == tensor).all()
    again = MuseTask(config, MuseTaskConfig(shards, base=folder, style="bach"))
    assert again.styles == {"bach": 0, "saint-saens": 1, "My Band": 2}
    json.dumps(task.checkpoint_config())


def test_a_base_of_another_kind_is_refused(songs: Path, tmp_path: Path):
    shards = tmp_path / "shards"
    api.prepare_data(songs, shards)
    with pytest.raises(CheckpointError, match="no Muse with this vocabulary"):
        MuseTask(MuseConfig(), MuseTaskConfig(shards, base=registry.checkpoint_folder("coconet"), style="mine"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "recipe is missing; name one, or a model to fine-tune"),
        ({"base": "muse-small"}, "style is missing; to fine-tune"),
        ({"base": "muse-small", "style": "mine"}, "data is missing; to fine-tune"),
        ({"recipe": "muse-small", "style": "mine"}, "base is missing; to fine-tune"),
        ({"base": "no-such", "style": "mine", "data": "songs"}, "unknown model 'no-such'"),
        ({"base": "coconet", "style": "mine", "data": "songs"}, "model is 'coconet', of the family coconet"),
        ({"base": "muse-small", "style": " ", "data": "songs"}, "style is ' '; allowed are names"),
        ({"base": "muse-small", "style": "x", "data": "songs", "overrides": ["train.steps=1"]}, "warmup_steps"),
    ],
)
def test_what_is_missing_is_named(options: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "songs").mkdir()
    with pytest.raises((InputError, RecipeError), match=message):
        api.train(**options)
    assert [item.name for item in tmp_path.iterdir()] == ["songs"], "nothing is prepared before all is checked"
