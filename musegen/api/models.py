"""What there is: trained models, the styles that they know, and instruments."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from musegen import registry
from musegen.errors import CheckpointError, InputError
from musegen.midi.instruments import INSTRUMENTS
from musegen.music import vocabulary as v

if TYPE_CHECKING:
    from musegen.music.coconet import Coconet
    from musegen.music.critic import Critic
    from musegen.music.muse import Muse
    from musegen.music.onsets import Onsets

ModelT = TypeVar("ModelT")

DEFAULT_MODEL = "muse-small"
DEFAULT_COCONET = "coconet"
DEFAULT_ONSETS = "coconet-onsets"


def models() -> list[dict[str, Any]]:
    """Returns the trained models: name, family, shape, how far each was trained and its size in bytes."""
    rows = []
    for name, folder in registry.checkpoint_folders().items():
        config = registry.checkpoint_config(name)
        training = config.get("training", {})
        rows.append(
            {
                "name": name,
                "family": config["family"],
                "layers": config.get("model", {}).get("n_layers"),
                "width": config.get("model", {}).get("d_model"),
                "context": config.get("model", {}).get("context"),
                "steps": training.get("step"),
                "nats_per_token": training.get("metrics", {}).get("valid_nats_per_token"),
                "bytes": (folder / "model.safetensors").stat().st_size,
            }
        )
    return rows


def composers(model: str = DEFAULT_MODEL) -> list[dict[str, Any]]:
    """Returns the composers and styles that a model was trained on, with the pieces of each."""
    pieces = registry.checkpoint_config(model).get("pieces", {})
    return [{"name": name, "pieces": pieces.get(name)} for name in styles_of(model)]


def instruments() -> list[dict[str, Any]]:
    """Returns the instrument classes: name, program it is written with, range in MIDI pitches, and all its programs."""
    return [
        {
            "name": instrument.name,
            "program": None if instrument.is_drum else instrument.program,
            "low": instrument.low,
            "high": instrument.high,
            "programs": list(instrument.programs),
        }
        for instrument in INSTRUMENTS
    ]


def styles_of(model: str) -> list[str]:
    """Returns the names of the styles that a trained Muse knows, by slot.

    Raises:
        InputError: there is no such model, or it is of another family.
        CheckpointError: it is damaged, or has another vocabulary.
    """
    config = registry.checkpoint_config(model)
    if config["family"] != "muse":
        raise InputError(f"model is {model!r}, of the family {config['family']}; allowed are models of the family muse")
    if config.get("vocabulary") != v.fingerprint():
        raise CheckpointError(f"model {model} was trained with another vocabulary than this musegen has")
    return list(config["styles"])


def plain(style: str) -> str:
    """Returns a style's name as names are compared: whatever their case, spaces and underscores."""
    return "-".join(style.lower().replace("_", " ").replace("-", " ").split())


def muse(name: str) -> "Muse":
    """Returns a trained Muse; as for `coconet`."""
    from musegen.music.muse import Muse

    return _of_family(name, Muse, "muse")


def coconet(name: str) -> "Coconet":
    """Returns a trained Coconet.

    Raises:
        InputError: there is no such model, or it is of another family.
        CheckpointError: it is damaged.
    """
    from musegen.music.coconet import Coconet

    return _of_family(name, Coconet, "coconet")


def onsets(name: str) -> "Onsets":
    """Returns a trained model of held and repeated notes; as for `coconet`."""
    from musegen.music.onsets import Onsets

    return _of_family(name, Onsets, "onsets")


def critic_folder(model: str) -> Path | None:
    """Returns the folder of the critic of a trained Muse, which is named after it; None if there is none."""
    return registry.checkpoint_folders().get(f"{model}-critic")


def critic(model: str) -> "Critic":
    """Returns the critic of a trained Muse.

    Raises:
        CheckpointError: there is none, or it was trained on other weights.
    """
    from musegen.music.ranking import load_critic

    folder = critic_folder(model)
    if folder is None:
        raise CheckpointError(f"model {model} has no critic; train one, or rank by likelihood")
    return load_critic(folder, muse(model))


def _of_family(name: str, kind: type[ModelT], family: str) -> ModelT:
    if not isinstance(name, str):
        raise InputError(f"model is {name!r}; allowed are names of models of the family {family}")
    model = registry.load_model(name)
    if not isinstance(model, kind):
        found = registry.checkpoint_config(name)["family"]
        raise InputError(f"model is {name!r}, of the family {found}; allowed are models of the family {family}")
    return model
