"""A trained Muse fine-tuned on a folder: its styles stay, and the new one has a name."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from musegen import api, registry
from musegen.core.checkpoint import load
from musegen.errors import CheckpointError, InputError
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
        ({"base": "muse-small"}, "base, style and data are all needed"),
        ({"recipe": "muse-small", "style": "mine"}, "base, style and data are all needed"),
        ({"base": "no-such", "style": "mine", "data": "songs"}, "unknown model 'no-such'"),
    ],
)
def test_what_is_missing_is_named(options: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "songs").mkdir()
    with pytest.raises(InputError, match=message):
        api.train(**options)
