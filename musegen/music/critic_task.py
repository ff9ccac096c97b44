"""What the critic is trained on: Muse's hidden states at real and at written music (`excerpts`)."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musegen.errors import DataError
from musegen.music import vocabulary as v
from musegen.music.critic import Critic, CriticConfig
from musegen.train.recipe import Positive
from musegen.train.shards import open_shards
from musegen.train.task import OptimizerConfig, Phase, Task

_HELD_BACK = 8  # one in so many training pieces is not learned from: it tells when to stop
_N_RESAMPLES = 400
_AT_ONCE = 16  # pieces that are judged side by side in validation

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CriticTaskConfig:
    """What a critic is trained on, and how.

    Args:
        data: a folder that `musegen data critic` made.
        batch_size: pieces a batch, half of them real.
        n_positions: positions in a row that are looked at of each, at most.
        optimizer: the optimizer.
    """

    data: Path
    batch_size: Positive = 32
    n_positions: Positive = 256
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass(frozen=True)
class Judged:
    """Music to be judged.

    Args:
        piece: the number of the piece that it comes from, or that it was written in the place of.
        is_real: whether it is a piece's own.
        hidden: (T, C) float16, Muse's hidden states.
    """

    piece: int
    is_real: bool
    hidden: np.ndarray


class CriticTask(Task):
    """Telling real music from what Muse wrote in its place.

    The best weights are those that do best on one in eight of the training pieces, which are not learned from: the
    figures of the held-out split have no part in the choice.

    Args:
        model_config: the critic's shape.
        config: what it is trained on.

    Raises:
        DataError: the data is missing, is of a Muse of another width, or lacks a kind to train or validate on.
    """

    score = "held_back_nats"
    prefetch = True

    def __init__(self, model_config: CriticConfig, config: CriticTaskConfig):
        self.config = config
        self.model_config = model_config
        splits, self.meta = read_judged(config.data)
        if self.meta["d_model"] != model_config.d_model:
            raise DataError(f"{config.data} is of a muse of width {self.meta['d_model']}, not {model_config.d_model}")
        places = {piece: place for place, piece in enumerate(dict.fromkeys(one.piece for one in splits["train"]))}
        self.held_back = [one for one in splits["train"] if not places[one.piece] % _HELD_BACK]
        self.train = [one for one in splits["train"] if places[one.piece] % _HELD_BACK]
        self.valid = splits["valid"]
        for name in ("train", "held_back", "valid"):
            if {one.is_real for one in getattr(self, name)} != {False, True}:
                raise DataError(f"{config.data} has too few pieces: none to {name.replace('_', ' ')} of one kind")
        kinds = [[one for one in self.train if one.is_real == is_real] for is_real in (False, True)]
        self.pairs = list(zip(*kinds, strict=True))
        self.model = Critic(model_config)
        self.modules: dict[str, nn.Module] = {"critic": self.model}
        self.phases = (Phase("verdict", ("critic",), config.optimizer),)

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> tuple[np.ndarray, Bools, Bools]:
        """Returns hidden states (B, T, C), which of them count (B, T), and which pieces are real (B,).

        Each real piece comes with what was written in its place.
        """
        places = rng.integers(len(self.pairs), size=max(self.config.batch_size // 2, 1))
        return _stack([_crop(one, self.config.n_positions, rng) for place in places for one in self.pairs[place]])

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the mean loss in nats a piece."""
        return self.model.losses(*batch).mean(), {"items": float(len(batch[0]))}

    def validate(self) -> dict[str, float]:
        """Returns nats of the pieces held back, and nats, accuracy and AUC on the held-out split, with standard errors.

        Pieces are resampled for the errors, with all that was written in their place.
        """
        kept, told = self.held_back, self.valid
        logits, is_real = self._logits(told), np.array([one.is_real for one in told])
        pieces = np.array([one.piece for one in told])
        figures = {"valid_accuracy": accuracy, "valid_auc": auc}
        errors = {name: _error(figure, logits, is_real, pieces) for name, figure in figures.items()}
        return {
            self.score: nats(self._logits(kept), np.array([one.is_real for one in kept])),
            "valid_nats": nats(logits, is_real),
            **{name: figure(logits, is_real) for name, figure in figures.items()},
            **{f"{name}_se": error for name, error in errors.items()},
            "valid_pieces": float(len(np.unique(pieces))),
        }

    def _logits(self, judged: list[Judged]) -> Floats:
        parts = []
        for start in range(0, len(judged), _AT_ONCE):
            hidden, counted, _ = _stack(judged[start : start + _AT_ONCE])
            rows = (torch.from_numpy(array).to(self.device) for array in (hidden, counted))
            parts.append(self.model(*rows).cpu().numpy())
        return np.concatenate(parts)

    def checkpoint_config(self) -> dict[str, Any]:
        """Returns what a checkpoint says of itself: its shape, and the hash of its Muse."""
        return {
            "family": "critic",
            "model": dataclasses.asdict(self.model_config),
            "vocabulary": v.fingerprint(),
            "muse": self.meta["muse"],
        }


def read_judged(folder: Path) -> tuple[dict[str, list[Judged]], dict[str, Any]]:
    """Reads what `excerpts.prepare_excerpts` made: music by split, and what it says of itself.

    Raises:
        DataError: the folder cannot be used.
    """
    shards = open_shards(folder)
    if "muse" not in shards.meta or shards.meta.get("vocabulary") != v.fingerprint():
        raise DataError(f"{folder} holds nothing to train a critic on; make it with musegen data critic")
    splits: dict[str, list[Judged]] = {"train": [], "valid": []}
    for index, record in enumerate(shards.records):
        states = shards.array(index, "hidden").reshape(-1, shards.meta["d_model"])
        ends = np.cumsum(record["n"]).tolist()
        for piece, is_real, n, end in zip(record["piece"], record["is_real"], record["n"], ends, strict=True):
            splits[record["split"]].append(Judged(piece, bool(is_real), states[end - n : end]))
    return splits, shards.meta


def _crop(one: Judged, n_positions: int, rng: np.random.Generator) -> Judged:
    start = int(rng.integers(max(len(one.hidden) - n_positions, 0) + 1))
    return dataclasses.replace(one, hidden=one.hidden[start : start + n_positions])


def _stack(judged: list[Judged]) -> tuple[np.ndarray, Bools, Bools]:
    lengths = np.array([len(one.hidden) for one in judged])
    hidden = np.zeros((len(judged), int(lengths.max()), judged[0].hidden.shape[1]), dtype=np.float16)
    for row, one in enumerate(judged):
        hidden[row, : len(one.hidden)] = one.hidden
    return hidden, np.arange(hidden.shape[1]) < lengths[:, None], np.array([one.is_real for one in judged])


# --- Figures of verdicts: log-odds (n,) that pieces are real, and whether they are (n,)


def nats(logits: Floats, is_real: Bools) -> float:
    """Returns the mean of -log p of what each piece is."""
    return float(np.logaddexp(0, np.where(is_real, -logits, logits)).mean())


def accuracy(logits: Floats, is_real: Bools) -> float:
    """Returns the mean of the shares of real and of written pieces that are told right."""
    right = (logits > 0) == is_real
    return float((right[is_real].mean() + right[~is_real].mean()) / 2)


def auc(logits: Floats, is_real: Bools) -> float:
    """Returns how often a real piece has the higher log-odds than a written one; a tie counts half."""
    ours, theirs = logits[is_real][:, None], logits[~is_real]
    return float(((ours > theirs) + (ours == theirs) / 2).mean())


def _error(figure: Any, logits: Floats, is_real: Bools, pieces: np.ndarray) -> float:
    """Returns the standard error of a figure, over pieces drawn again (the bootstrap)."""
    rng, members = np.random.default_rng(0), [np.flatnonzero(pieces == piece) for piece in np.unique(pieces)]
    drawn = [rng.integers(len(members), size=len(members)) for _ in range(_N_RESAMPLES)]
    rows = [np.concatenate([members[place] for place in places]) for places in drawn]
    return float(np.std([figure(logits[row], is_real[row]) for row in rows], ddof=1))
