"""Training: data prepared, models trained and exported."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musegen import registry
from musegen.api.arguments import MAX_SEED, whole
from musegen.api.models import DEFAULT_MODEL, plain, styles_of
from musegen.api.ordering import Order, sampling_of
from musegen.errors import InputError

PathLike = str | os.PathLike[str]

_FINE_TUNING = "muse-fine-tuning"
_PREPARED = "corpus.json"  # what a folder of shards has and one of MIDI files has not


def prepare_data(folder: PathLike, out: PathLike, *, n_workers: int | None = None) -> dict[str, Any]:
    """Turns a folder of MIDI into shards to train on, and returns a report.

    Raises:
        DataError: there is no such folder, or nothing in it can be used.
    """
    from musegen.music.corpus import prepare_corpus

    return prepare_corpus(Path(folder), Path(out), n_workers=n_workers)


def prepare_chorales(out: PathLike, *, n_workers: int | None = None) -> dict[str, Any]:
    """Reads Bach's chorales out of music21's corpus into a folder to train on, and returns a report.

    Args:
        out: the folder. What is already there is not read again.
        n_workers: processes; None for one a core.

    Raises:
        DataError: music21 is not installed, or without its corpus.
    """
    from musegen.music.chorale_corpus import prepare_chorales as prepare

    corpus = prepare(Path(out), n_workers=n_workers)
    left_out = [{"file": Path(failure.item).name, "reason": failure.reason} for failure in corpus.shards.failures]
    return {"out": str(out), "n_chorales": len(corpus), "left_out": left_out}


def prepare_excerpts(
    data: PathLike,
    out: PathLike,
    *,
    model: str = DEFAULT_MODEL,
    pieces: int = 480,
    seed: int = 1,
    n_workers: int | None = None,
) -> dict[str, Any]:
    """Makes what a Muse's critic is trained on, excerpts of real music and of its own, and returns a report.

    Args:
        data: shards that `prepare_data` made.
        out: the folder. What is already there is not made again.
        model: a trained Muse.
        pieces: how many training pieces, and four times as many as held-out ones, 1 to 1,000,000; at most all.
        seed: of everything drawn, 0 or more.
        n_workers: processes; None for one a core.

    Raises:
        InputError: there is no such model, or a number is out of range.
        DataError: the shards cannot be used.
        CheckpointError: the model is damaged.
    """
    from musegen.music.corpus import Corpus
    from musegen.music.excerpts import prepare_excerpts as prepare

    pieces, seed = whole("pieces", pieces, 1, 1_000_000), whole("seed", seed, 0, MAX_SEED)
    styles_of(model)
    folder = registry.checkpoint_folder(model)
    made = prepare(Corpus(Path(data)), folder, Path(out), sampling_of(Order()), pieces, seed, n_workers)
    n = {split: sum(len(row["n"]) for row in made.records if row["split"] == split) for split in ("train", "valid")}
    return {"out": str(out), "model": model, "n_excerpts": n, "failures": [asdict(one) for one in made.failures]}


def roundtrip(folder: PathLike, *, n_workers: int | None = None) -> dict[str, Any]:
    """Sends every file of a folder through grid and tokens and back, and returns what that changed.

    Raises:
        DataError: there is no such folder, or nothing in it can be used.
    """
    from musegen.music.corpus import roundtrip_corpus

    return roundtrip_corpus(Path(folder), n_workers=n_workers)


def train(
    recipe: PathLike | None = None,
    overrides: Sequence[str] = (),
    *,
    data: PathLike | None = None,
    base: str | None = None,
    style: str | None = None,
    resume: bool = False,
    out: PathLike | None = None,
) -> dict[str, Any]:
    """Trains what a recipe says, and returns how the run ended.

    Args:
        recipe: the name of a recipe that musegen brings, or a file; None for that of fine-tuning.
        overrides: settings to change, such as "train.max_hours=1".
        data: what to train on, in place of the recipe's `task.data`; to fine-tune, also a folder of MIDI files, whose
            shards are then in the run's folder, with `style` as their label.
        base: a trained Muse to fine-tune.
        style: what the music of `data` is called, so that `compose` can be asked for it; one that the base knows is
            learned further.
        resume: go on from the newest state in `out`.
        out: the run's folder; `runs/<recipe>` if None.

    Raises:
        InputError: neither a recipe nor a base is given, or of base, style and data not all, or they are not usable.
        RecipeError: the recipe or an override is wrong.
        DataError: the data it names cannot be used.
        CheckpointError: the base is damaged.

    Warns:
        HeldOutWarning: the pieces of `style` are too few to hold one out, and the score is on those that are learned.
    """
    from musegen.train.recipe import from_table, load

    if recipe is None and base is None and style is None:
        raise InputError("recipe is missing; name one, or a model to fine-tune")
    if base is not None or style is not None:
        style = _style(base, style, data)
    path = registry.recipe_path(Path(_FINE_TUNING if recipe is None else recipe))
    folder = Path(out) if out is not None else Path("runs") / (style or path.stem)
    start = None if base is None else registry.checkpoint_folder(base)
    is_raw = start is not None and data is not None and not (Path(data) / _PREPARED).is_file()
    shards = folder / "shards" if is_raw else data
    given = {
        "task.data": None if shards is None else os.fspath(shards),
        "task.base": None if start is None else os.fspath(start),
        "task.style": style,
    }
    texts = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value is not None]
    read = load(path, [*overrides, *texts])
    kind = registry.family(read.name)
    shape = read.model_table if base is None else registry.checkpoint_config(base)["model"]
    model_config = from_table(registry.resolve(kind.config), shape, "model")
    task_config = from_table(registry.resolve(kind.task_config), read.task_table, "task")
    if is_raw and data is not None and not (resume and (folder / "shards" / _PREPARED).is_file()):
        from musegen.music.corpus import prepare_corpus

        prepare_corpus(Path(data), folder / "shards", label=style)
    from musegen.core.device import seed_everything
    from musegen.train.loop import run

    seed_everything(read.train.seed)
    task = registry.resolve(kind.task)(model_config, task_config)
    return {"out": str(folder), **asdict(run(task, read.train, folder, resume))}


def _style(base: str | None, style: str | None, data: PathLike | None) -> str:
    """Returns the name of a style to learn: if the base knows it in other letters, as it is written there.

    Raises:
        InputError: an argument is missing, the base is no Muse, or the name is empty.
    """
    for name, value in (("base", base), ("style", style), ("data", data)):
        if value is None:
            raise InputError(
                f"{name} is missing; to fine-tune, a trained model (--from), style and data are all needed"
            )
    assert base is not None and style is not None
    if not plain(style):
        raise InputError(f"style is {style!r}; allowed are names, such as 'my songs'")
    return next((known for known in styles_of(base) if plain(known) == plain(style)), style.strip())


def export(run: PathLike, out: PathLike) -> dict[str, Any]:
    """Writes a run's best weights as a checkpoint to ship, in half precision.

    Args:
        run: the folder of a training run.
        out: the checkpoint's folder; its name is the model's name.

    Raises:
        CheckpointError: the run has no weights, or the checkpoint cannot be written.
    """
    import torch

    from musegen.core.checkpoint import load, save

    source = next((Path(run) / name for name in ("best", "last") if (Path(run) / name).is_dir()), Path(run))
    checkpoint = load(source)
    save(Path(out), checkpoint.tensors, checkpoint.config, torch.float16)
    size = (Path(out) / "model.safetensors").stat().st_size
    return {"model": Path(out).name, "bytes": size, **checkpoint.config.get("training", {})}
