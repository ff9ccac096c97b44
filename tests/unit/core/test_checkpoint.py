"""Checkpoints: what is saved comes back, damage is an error, and a failure half way leaves the old one."""

import json
import os
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from musegen.core import checkpoint
from musegen.errors import CheckpointError

CONFIG = {"model": "toy", "n_layers": 2, "styles": ["bach", "Dvořák"], "metrics": {"nats": 1.25, "step": None}}


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"weight": torch.randn(4, 3), "ids": torch.arange(70000), "flag": torch.tensor(True)}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_round_trip(tmp_path: Path):
    folder = tmp_path / "new" / "toy"
    checkpoint.save(folder, tensors(), CONFIG)
    assert names(folder) == {"model.safetensors", "config.json"}
    loaded = checkpoint.load(folder)
    assert loaded.config == CONFIG == checkpoint.load_config(folder) == json.loads((folder / "config.json").read_text())
    assert loaded.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert torch.equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype


def test_half_precision(tmp_path: Path):
    checkpoint.save(tmp_path, tensors(), CONFIG, torch.float16)
    loaded = checkpoint.load(tmp_path).tensors
    assert loaded["weight"].dtype == torch.float16
    assert torch.equal(loaded["ids"], tensors()["ids"])
    torch.testing.assert_close(loaded["weight"].float(), tensors()["weight"], atol=1e-3, rtol=1e-3)


def test_too_big_for_half_precision(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"weight has values that torch\.float16 cannot hold, up to 70000"):
        checkpoint.save(tmp_path, {"weight": torch.tensor([7e4])}, {}, torch.float16)
    assert names(tmp_path) == set()


def test_views_and_shared_memory(tmp_path: Path):
    weight = torch.randn(6, 4)
    checkpoint.save(tmp_path, {"a": weight, "b": weight.T, "c": weight[::2]}, {})
    loaded = checkpoint.load(tmp_path).tensors
    assert torch.equal(loaded["b"], weight.T)
    assert torch.equal(loaded["c"], weight[::2])


def test_the_same_content_is_the_same_file(tmp_path: Path):
    for name in ("a", "b"):
        checkpoint.save(tmp_path / name, tensors(), CONFIG)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_can_read_it(tmp_path: Path):
    checkpoint.save(tmp_path, tensors(), CONFIG)
    reference = tmp_path / "reference"
    reference.touch()
    for name in ("model.safetensors", "config.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)


def test_saving_again_replaces_it_and_leaves_other_files(tmp_path: Path):
    (tmp_path / "card.md").write_text("card")
    checkpoint.save(tmp_path, tensors(), {"step": 1})
    checkpoint.save(tmp_path, {"other": torch.ones(2)}, {"step": 2})
    loaded = checkpoint.load(tmp_path)
    assert (loaded.config, set(loaded.tensors)) == ({"step": 2}, {"other"})
    assert names(tmp_path) == {"card.md", "model.safetensors", "config.json"}


@pytest.mark.parametrize("n_replaced", [0, 1])
def test_a_failure_half_way_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_replaced: int):
    checkpoint.save(tmp_path, {"w": torch.tensor([1.0])}, {"step": 1})
    replace, done = os.replace, []

    def failing(source, target):
        if len(done) == n_replaced:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(tmp_path, {"w": torch.tensor([2.0])}, {"step": 2})
    loaded = checkpoint.load(tmp_path)
    expected = 1 + n_replaced  # tensors and configuration always belong together
    assert (loaded.tensors["w"].item(), loaded.config) == (expected, {"step": expected})
    assert names(tmp_path) == {"model.safetensors", "config.json"}


def test_an_interrupt_while_writing_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint.save(tmp_path, {"w": torch.tensor([1.0])}, {"step": 1})

    def interrupted(self, data):
        self.open("wb").close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"w": torch.tensor([2.0])}, {"step": 2})
    assert checkpoint.load(tmp_path).config == {"step": 1}
    assert names(tmp_path) == {"model.safetensors", "config.json"}


@pytest.mark.parametrize("damage", ["empty", "random", "short header", "truncated", "extended", "header only"])
def test_damaged_files(tmp_path: Path, damage: str):
    checkpoint.save(tmp_path, tensors(), CONFIG)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(
        {
            "empty": b"",
            "random": torch.randint(0, 256, (5000,), dtype=torch.uint8).numpy().tobytes(),
            "short header": whole[:20],
            "truncated": whole[:-1],
            "extended": whole + b"\0",
            "header only": whole[:header],
        }[damage]
    )
    for read in (checkpoint.load, checkpoint.load_config):
        with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged") as error:
            read(tmp_path)
        assert "\n" not in str(error.value)


def test_not_a_checkpoint(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match=r"holds no checkpoint: there is no file model\.safetensors"):
            checkpoint.load(folder)


def test_somebody_elses_safetensors(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"w": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="no configuration in its header"):
        checkpoint.load(tmp_path)
    for text in ("{", "[1]"):
        safetensors.torch.save_file({"w": torch.ones(1)}, path, {"config": text})
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpoint.load(tmp_path)


def test_bad_targets(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save(tmp_path / "file", tensors(), {})
    with pytest.raises(CheckpointError, match="JSON values only"):
        checkpoint.save(tmp_path / "x", tensors(), {"a": object()})
    with pytest.raises(CheckpointError, match="JSON values only"):
        checkpoint.save(tmp_path / "x", tensors(), {"a": float("nan")})


def test_restore(tmp_path: Path):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    checkpoint.save(tmp_path, source.state_dict(), {}, torch.float16)
    checkpoint.load(tmp_path).restore(target)
    assert target.weight.dtype == torch.float32
    torch.testing.assert_close(target.weight, source.weight, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(3, 4), r"does not fit the model: bias has shape \(2,\) where the model has \(4,\), and 1 more"),
        (nn.Linear(3, 2, bias=False), "does not fit the model: bias is not in the model$"),
        (nn.Sequential(nn.Linear(3, 2)), r"0\.weight is missing, and 3 more"),
    ],
)
def test_restore_into_another_model(tmp_path: Path, module: nn.Module, message: str):
    checkpoint.save(tmp_path, nn.Linear(3, 2).state_dict(), {})
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path).restore(module)
