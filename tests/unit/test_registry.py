from pathlib import Path

import pytest

from musegen import registry
from musegen.errors import CheckpointError, UnknownNameError


def test_every_family_is_there():
    from torch import nn

    for family in registry.FAMILIES.values():
        for path in (family.config, family.build, family.task_config, family.task):
            assert callable(registry.resolve(path))
    config = registry.resolve(registry.family("muse").config)
    assert isinstance(registry.resolve(registry.family("muse").build)(config(d_model=32, n_layers=1)), nn.Module)
    with pytest.raises(UnknownNameError, match="kind of model 'mus'; nearest: muse"):
        registry.family("mus")


def test_own_checkpoints_come_before_those_that_ship(tiny_muse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert {tiny_muse, "muse-small"} <= registry.checkpoint_folders().keys()
    (tmp_path / "muse-small").mkdir()
    (tmp_path / "muse-small" / "model.safetensors").touch()
    (tmp_path / "no-weights").mkdir()
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path))
    assert registry.checkpoint_folder("muse-small") == tmp_path / "muse-small"
    assert "no-weights" not in registry.checkpoint_folders()
    monkeypatch.delenv("MUSEGEN_CHECKPOINTS")
    assert registry.checkpoint_folder("muse-small") != tmp_path / "muse-small"
    with pytest.raises(UnknownNameError, match="model 'muse-smal'; nearest: muse-small"):
        registry.checkpoint_folder("muse-smal")


def test_a_model_is_loaded_once_for_inference_in_float32(tiny_muse: str):
    import torch

    model = registry.load_model(tiny_muse)
    assert model is registry.load_model(tiny_muse)
    assert not model.training
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32 and not parameter.requires_grad


@pytest.mark.parametrize(
    ("text", "words"), [("{", "cannot be read"), ("[]", "no family"), ('{"family": "muze"}', "no family")]
)
def test_a_damaged_description_is_a_checkpoint_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
):
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").touch()
    (tmp_path / "mine" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        registry.checkpoint_config("mine")
    with pytest.raises(CheckpointError, match="mine"):
        registry.load_model("mine")


@pytest.mark.parametrize(
    "changes", [{"family": "muze"}, {"model": {"d_modell": 32}}, {"model": {"d_model": 64, "n_layers": 1}}]
)
def test_weights_that_do_not_fit_their_description_are_a_checkpoint_error(
    tiny_muse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict
):
    from musegen.core.checkpoint import load, save

    tiny = load(registry.checkpoint_folder(tiny_muse))
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path))
    save(tmp_path / "mine", tiny.tensors, tiny.config | changes)
    with pytest.raises(CheckpointError, match="mine"):
        registry.load_model("mine")


def test_recipes_are_found_by_name_or_path(tmp_path: Path):
    assert registry.recipe_path("muse-small").name == "muse-small.toml"
    assert registry.recipe_path("my.toml") == Path("my.toml")
    (tmp_path / "mine").touch()
    assert registry.recipe_path(tmp_path / "mine") == tmp_path / "mine"
    with pytest.raises(UnknownNameError, match="recipe 'muse-smal'; nearest: muse-small"):
        registry.recipe_path("muse-smal")
