"""What the model of onsets is trained on: Bach's chorales from music21's corpus, with some of their onsets known."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musegen.errors import DataError
from musegen.music.chorale_corpus import Chorale, ChoraleCorpus
from musegen.music.chorales import N_VOICES, OUTSIDE, STEPS_PER_BEAT, VOICES, Grid, Mask, to_cells
from musegen.music.onsets import BEGINS, HELD, UNKNOWN, Onsets, OnsetsConfig
from musegen.train.recipe import Positive
from musegen.train.task import OptimizerConfig, Phase, Task

Steps = NDArray[np.int64]

SPLITS = ("train", "valid")
CONDITIONS: dict[str, tuple[int, ...]] = {"nothing": (), "soprano": (0,)}  # the voices whose onsets are known

_PACKAGE = Path(__file__).parents[1]
# Shares of crops of which nothing, one voice, and some voices are known; of the others some cells are.
_NOTHING, _ONE, _SOME = 0.35, 0.25, 0.2
_SOPRANO = 0.6  # share of those with one voice known in which that is the soprano


@dataclass(frozen=True, eq=False)
class Example:
    """A chorale, or a part of it, as the model takes it.

    Args:
        cells: (T, V) classes.
        places: (T,) sixteenths since the bar began.
        bars: (T,) sixteenths in the bar.
        onsets: (T, V) bool: where notes begin.
    """

    cells: Grid
    places: Steps
    bars: Steps
    onsets: Mask

    def known(self, mask: Mask) -> Grid:
        """Returns what is known if the onsets of some cells (T, V) are: (T, V) int64."""
        return np.where(mask, np.where(self.onsets, BEGINS, HELD), UNKNOWN)

    def known_voices(self, voices: tuple[int, ...]) -> Grid:
        """Returns what is known if the onsets of some voices are: (T, V) int64."""
        return self.known(np.broadcast_to(np.isin(np.arange(N_VOICES), voices), self.onsets.shape))


@dataclass(frozen=True)
class OnsetsTaskConfig:
    """What the model of onsets is trained on, and how.

    Args:
        data: a folder that `musegen data chorales` made.
        batch_size: crops a batch.
        n_beats: length of a crop.
        optimizer: the optimizer.
    """

    data: Path
    batch_size: Positive = 16
    n_beats: Positive = 48
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


class OnsetsTask(Task):
    """Any unknown onset, from the grid and from some of the others.

    Args:
        model_config: the model's shape.
        config: data and how it is drawn.

    Raises:
        DataError: the data is missing, or has nothing to train or to validate on.
    """

    score = "valid_nats"
    prefetch = True

    def __init__(self, model_config: OnsetsConfig, config: OnsetsTaskConfig):
        self.config = config
        self.model_config = model_config
        splits = read_examples(config.data)
        self.train, self.valid = splits["train"], splits["valid"]
        n_steps = np.array([len(example.cells) for example in self.train], dtype=np.float64)
        self.weights = n_steps / n_steps.sum()
        self.model = Onsets(model_config)
        self.modules: dict[str, nn.Module] = {"onsets": self.model}
        self.phases = (Phase("onsets", ("onsets",), config.optimizer),)

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> tuple[Grid, Grid, Steps, Steps, Mask]:
        """Returns cells and known (B, T, V), places and bars (B, T), and onsets (B, T, V)."""
        chosen = rng.choice(len(self.train), self.config.batch_size, p=self.weights)
        crops = [crop(self.train[index], self.config.n_beats * STEPS_PER_BEAT, rng) for index in chosen]
        known = np.stack([example.known(known_mask(example.onsets.shape, rng)) for example in crops])
        names = ("cells", "places", "bars", "onsets")
        cells, places, bars, onsets = (np.stack([getattr(example, name) for example in crops]) for name in names)
        return cells, known, places, bars, onsets

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the mean over the cells in doubt, in nats."""
        return self.model.losses(*batch).mean(), {"items": float(len(batch[0]))}

    def validate(self) -> dict[str, float]:
        """Returns nats a cell in doubt of the held-out pieces: nothing known, the soprano known, the mean of both."""
        nats = {
            name: float(torch.cat([self._losses(example, voices) for example in self.valid]).mean())
            for name, voices in CONDITIONS.items()
        }
        return {self.score: float(np.mean(list(nats.values()))), **{f"valid_{name}": nats[name] for name in nats}}

    def _losses(self, example: Example, voices: tuple[int, ...]) -> Tensor:
        arrays = (example.cells, example.known_voices(voices), example.places, example.bars, example.onsets)
        return self.model.losses(*(torch.from_numpy(array).to(self.device)[None] for array in arrays)).double()

    def checkpoint_config(self) -> dict[str, Any]:
        """Returns what a checkpoint says of itself: its shape and the voices."""
        return {"family": "onsets", "model": dataclasses.asdict(self.model_config), "voices": list(VOICES)}


def read_examples(folder: str | Path) -> dict[str, list[Example]]:
    """Reads the chorales of the published split; those in neither part are left out, for the test split is among them.

    Args:
        folder: made by `prepare_chorales`.

    Returns:
        The chorales of "train" and of "valid", in the order of the published split.

    Raises:
        DataError: the folder cannot be used, or a part of the split has no chorale in it.
    """
    corpus = ChoraleCorpus(folder)
    places = {name: index for index, name in enumerate(corpus.names)}
    splits = {}
    for split, names in catalogue_numbers().items():
        splits[split] = [example_of(corpus[places[name]]) for name in names if name in places]
        if not splits[split]:
            raise DataError(f"{folder} holds no chorale of the {split} split")
    return splits


def catalogue_numbers() -> dict[str, list[str]]:
    """Returns the catalogue numbers of the published train and valid split, each once and none in both."""
    # Installed, the manifest lies in the package; in a checkout, beside it.
    folders = [_PACKAGE / "datasets", _PACKAGE.parent / "datasets"]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    split = tomllib.loads((folder / "bach_chorales" / "manifest.toml").read_text("utf-8"))["split"]
    names = {part: list(dict.fromkeys(name for name in split[part] if name)) for part in SPLITS}
    return {**names, "train": [name for name in names["train"] if name not in names["valid"]]}


def example_of(chorale: Chorale) -> Example:
    """Returns a chorale as the model takes it."""
    return Example(to_cells(chorale.grid), chorale.places, chorale.bars, chorale.onsets)


def crop(example: Example, n_steps: int, rng: np.random.Generator) -> Example:
    """Returns `n_steps` sixteenths of a piece from a random place; all of a shorter one, with OUTSIDE behind it."""
    start = int(rng.integers(max(len(example.cells) - n_steps, 0) + 1))
    part = slice(start, start + n_steps)
    cells = example.cells[part]
    missing = n_steps - len(cells)
    return Example(
        np.pad(cells, ((0, missing), (0, 0)), constant_values=OUTSIDE),
        np.pad(example.places[part], (0, missing)),
        np.pad(example.bars[part], (0, missing)),
        np.pad(example.onsets[part], ((0, missing), (0, 0))),
    )


def known_mask(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Draws of which cells (T, V) the onset is known: of none, of one or some voices, or of some cells."""
    kind = rng.random()
    if kind < _NOTHING:
        return np.zeros(shape, dtype=bool)
    if kind < _NOTHING + _ONE:
        voice = 0 if rng.random() < _SOPRANO else int(rng.integers(1, N_VOICES))
        return np.broadcast_to(np.arange(N_VOICES) == voice, shape)
    if kind < _NOTHING + _ONE + _SOME:
        voices = rng.choice(N_VOICES, int(rng.integers(1, N_VOICES)), replace=False)
        return np.broadcast_to(np.isin(np.arange(N_VOICES), voices), shape)
    return rng.random(shape) < rng.random()
