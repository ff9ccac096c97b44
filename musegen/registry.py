"""What there is to train and to load: families of models by name, and checkpoints by name.

Everything is resolved when it is asked for: listing names loads no torch.
"""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musegen.errors import CheckpointError, InputError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

_PACKAGE = Path(__file__).parent

REFERENCE = "reference.safetensors"
"""The file in a model's folder that says what real pieces are like (`music.reference`)."""


@dataclass(frozen=True)
class Family:
    """One kind of model, as dotted paths "module:name".

    Args:
        config: the dataclass of its shape.
        build: makes the model from its config.
        task_config: the dataclass of what it is trained on.
        task: the training task, made from both configs.
    """

    config: str
    build: str
    task_config: str
    task: str


FAMILIES: dict[str, Family] = {
    "muse": Family(
        config="musegen.music.muse:MuseConfig",
        build="musegen.music.tasks:build_muse",
        task_config="musegen.music.tasks:MuseTaskConfig",
        task="musegen.music.tasks:MuseTask",
    ),
    "critic": Family(
        config="musegen.music.critic:CriticConfig",
        build="musegen.music.critic:Critic",
        task_config="musegen.music.critic_task:CriticTaskConfig",
        task="musegen.music.critic_task:CriticTask",
    ),
    "coconet": Family(
        config="musegen.music.coconet:CoconetConfig",
        build="musegen.music.coconet:Coconet",
        task_config="musegen.music.infilling:CoconetTaskConfig",
        task="musegen.music.infilling:CoconetTask",
    ),
    "onsets": Family(
        config="musegen.music.onsets:OnsetsConfig",
        build="musegen.music.onsets:Onsets",
        task_config="musegen.music.onset_task:OnsetsTaskConfig",
        task="musegen.music.onset_task:OnsetsTask",
    ),
}


def resolve(path: str) -> Any:
    """Returns what a dotted path "module:name" names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def family(name: str) -> Family:
    """Returns a family of models.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in FAMILIES:
        raise UnknownNameError("kind of model", name, FAMILIES)
    return FAMILIES[name]


def checkpoint_folders() -> dict[str, Path]:
    """Returns the folders of the trained models by name: those in MUSEGEN_CHECKPOINTS and those that musegen brings."""
    own = os.environ.get("MUSEGEN_CHECKPOINTS")
    # Installed, they lie in the package; in a checkout, beside it.
    installed = _PACKAGE / "checkpoints"
    places = [Path(own)] if own else []
    places.append(installed if installed.is_dir() else _PACKAGE.parent / "checkpoints")
    found: dict[str, Path] = {}
    for place in places:
        for file in sorted(place.glob("*/model.safetensors")):
            found.setdefault(file.parent.name, file.parent)
    return found


def checkpoint_folder(name: str) -> Path:
    """Returns the folder of a trained model.

    Raises:
        UnknownNameError: there is none of this name.
    """
    folders = checkpoint_folders()
    if name not in folders:
        raise UnknownNameError("model", name, folders)
    return folders[name]


def checkpoint_config(name: str) -> dict[str, Any]:
    """Returns what a trained model says of itself.

    Raises:
        UnknownNameError: there is none of this name.
        CheckpointError: its config.json cannot be read.
    """
    path = checkpoint_folder(name) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(config, dict) or config.get("family") not in FAMILIES:
        raise CheckpointError(f"{path} names no family of models that this musegen knows")
    return config


def load_model(name: str) -> "nn.Module":
    """Returns a trained model in eval mode, in float32; the same one to all who ask.

    Raises:
        UnknownNameError: there is none of this name.
        CheckpointError: it is damaged, or of no family that this musegen knows.
    """
    return _load(checkpoint_folder(name))


@lru_cache(maxsize=4)
def _load(folder: Path) -> "nn.Module":
    from musegen.core.checkpoint import load
    from musegen.train.recipe import from_table

    checkpoint = load(folder)
    try:
        kind = family(str(checkpoint.config.get("family")))
        model = resolve(kind.build)(from_table(resolve(kind.config), checkpoint.config.get("model", {}), "model"))
    except InputError as error:  # of whoever wrote the checkpoint, and not of whoever loads it
        raise CheckpointError(f"{folder}: {error}") from None
    checkpoint.restore(model)
    return model.eval().requires_grad_(False)


def recipe_path(name: str | Path) -> Path:
    """Returns the file of a recipe: a path as it is, or the name of one that musegen brings.

    Raises:
        UnknownNameError: there is neither a file nor a recipe of this name.
    """
    if Path(name).suffix == ".toml" or Path(name).is_file():
        return Path(name)
    known = {path.stem: path for path in sorted((_PACKAGE / "recipes").glob("*.toml"))}
    if str(name) not in known:
        raise UnknownNameError("recipe", str(name), known)
    return known[str(name)]
