"""What the training loop trains in this room: Muse on a prepared corpus."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from musegen.core.checkpoint import Checkpoint, load
from musegen.errors import CheckpointError, DataError, HeldOutWarning
from musegen.midi.instruments import INSTRUMENTS
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus
from musegen.music.features import FEATURES
from musegen.music.muse import Muse, MuseConfig
from musegen.music.sequences import Sequence, SequenceConfig, draw
from musegen.train.recipe import Positive, Range
from musegen.train.task import OptimizerConfig, Phase, Task

_N_SETTINGS = 24  # of each style at the most, in a checkpoint

Share = Annotated[float, Range(0.0, 1.0)]


@dataclass(frozen=True)
class MuseTaskConfig:
    """What Muse is trained on, and how.

    Args:
        data: a folder that `musegen data prepare` made.
        batch_size: sequences a batch.
        label_temperature: a label is drawn in proportion to its tokens to this power: 1 as they are, 0 all alike.
        infill: share of sequences that ask for what is missing.
        drop_control: chance that a control is unknown.
        drop_place: chance that position and countdown are unknown.
        transpose: semitones at most.
        n_valid: sequences that validation looks at.
        held_out: labels that nothing is learned from, where the data has them, such as one to fine-tune on.
        base: the folder of a trained Muse to go on from, with its weights and its styles; None to begin anew.
        style: the label of all pieces; None for those of the data.
        optimizer: the optimizer.
    """

    data: Path
    batch_size: Positive = 16
    label_temperature: Share = 0.5
    infill: Share = 0.25
    drop_control: Share = 0.15
    drop_place: Share = 0.15
    transpose: Annotated[int, Range(0, 11)] = 5
    n_valid: Positive = 96
    held_out: tuple[str, ...] = ()
    base: Path | None = None
    style: str | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


def build_muse(config: MuseConfig) -> Muse:
    """Returns a Muse for the vocabulary and side features of this room."""
    return Muse(config, torch.from_numpy(v.factors()), tuple(FEATURES.values()))


class MuseTask(Task):
    """Next-token prediction on windows of pieces.

    Args:
        model_config: the model's shape.
        config: data and how it is drawn.

    Raises:
        DataError: the data is missing, was prepared with another vocabulary, or has no piece to train or validate on,
            or there are more styles than a Muse has room for.
        CheckpointError: the base is damaged, or has another shape or vocabulary.

    Warns:
        HeldOutWarning: the pieces of a style are too few to hold one out.
    """

    score = "valid_nats_per_token"
    prefetch = True

    def __init__(self, model_config: MuseConfig, config: MuseTaskConfig):
        self.config = config
        self.model_config = model_config
        self.corpus = Corpus(config.data)
        self.sequences = SequenceConfig(config.infill, config.drop_control, config.drop_place, config.transpose)
        self.labels = [config.style] * len(self.corpus) if config.style else self.corpus.labels
        self.base = None if config.base is None else muse_checkpoint(config.base)
        known = self.base.config["styles"] if self.base else []
        new = [style for style in sorted(set(self.labels)) if style not in (*known, *config.held_out)]
        if len(known) + len(new) > v.N_STYLES:
            raise DataError(f"there are {len(known) + len(new)} styles; a Muse has room for {v.N_STYLES}")
        self.styles = {label: slot for slot, label in enumerate([*known, *new])}
        self.train, self.valid = (self._pieces(split) for split in ("train", "valid"))
        if config.style and not len(self.valid):
            self.valid = self.train  # a handful of files can spare none; fine-tuning is short
        for name, pieces in (("train", self.train), ("valid", self.valid)):
            if not len(pieces):
                raise self.corpus.lacks("no piece with a beat", name, advice="")
        if self.valid is self.train:
            few = f"{len(self.train)} pieces with a beat are too few to hold any out"
            warnings.warn(
                f"{few}: the score is on those that are learned, and says nothing of new music", HeldOutWarning, 3
            )
        self.weights = self._weights(self.train)
        self.model = build_muse(model_config)
        if self.base:
            self.base.restore(self.model)
        self.modules: dict[str, nn.Module] = {"muse": self.model}
        self.phases = (Phase("next-token", ("muse",), config.optimizer),)

    def _pieces(self, split: str) -> np.ndarray:
        """Returns the pieces of a split whose label is one of the styles."""
        pieces = self.corpus.select(split)
        return pieces[[self.labels[index] not in self.config.held_out for index in pieces]]

    def _weights(self, pieces: np.ndarray) -> np.ndarray:
        """Returns how likely each piece is drawn: its label's tempered share, and within it its share of tokens."""
        labels = np.array([self.styles[self.labels[index]] for index in pieces])
        n_tokens = self.corpus.n_tokens[pieces].astype(np.float64)
        per_label = np.bincount(labels, n_tokens)  # 0 where a base knows a style and the data does not
        weights = n_tokens / per_label[labels] * per_label[labels] ** self.config.label_temperature
        return weights / weights.sum()

    def _draw(self, index: int, rng: np.random.Generator, config: SequenceConfig) -> Sequence:
        record = self.corpus.shards.records[index]
        style = self.styles[self.labels[index]]
        limits = (record["low"], record["high"])
        return draw(self.corpus.piece(index), style, limits, self.model_config.context + 1, config, rng)

    def batch(self, phase: str, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Returns inputs (B, T, 6) and targets (B, T); short sequences share a row, and headers are not targets."""
        rows = [self._row(rng) for _ in range(self.config.batch_size)]
        return _stack(rows, self.model_config.context + 1)

    def _row(self, rng: np.random.Generator) -> list[Sequence]:
        row, room = [], self.model_config.context + 1
        while room > 0:
            row.append(self._draw(int(rng.choice(self.train, p=self.weights)), rng, self.sequences))
            room -= len(row[-1].tokens)
        return row

    def loss(self, phase: str, batch: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Returns the mean loss in nats a token."""
        inputs, targets = batch
        return self.model.loss(inputs, targets), {"tokens": float(targets.numel())}

    def validate(self) -> dict[str, float]:
        """Returns nats a token and a note on fixed windows of held-out pieces, with all controls known."""
        rng = np.random.default_rng(0)
        plain = SequenceConfig(infill=0.0, drop_control=0.0, drop_place=0.0, transpose=0, louder=0, faster=0)
        pieces = self.valid[rng.permutation(np.arange(self.config.n_valid) % len(self.valid))]
        nats, n_tokens, n_notes = 0.0, 0, 0
        size = self.model_config.context + 1
        for start in range(0, len(pieces), self.config.batch_size):
            drawn = [[self._draw(int(index), rng, plain)] for index in pieces[start : start + self.config.batch_size]]
            inputs, targets = (torch.from_numpy(array).to(self.device) for array in _stack(drawn, size))
            losses = self.model.losses(inputs, targets)
            nats += float(losses.sum())
            n_tokens += len(losses)
            n_notes += int(((targets >= v.NOTE.first) & (targets < v.NOTE.first + v.NOTE.size)).sum())
        return {self.score: nats / n_tokens, "valid_nats_per_note": nats / n_notes}

    def checkpoint_config(self) -> dict[str, Any]:
        """Returns what a checkpoint says of itself.

        That is its shape and vocabulary and, of each style, how many pieces taught it and what some of them are like:
        whoever asks for a style without saying more gets the instruments, meter, tempo and opening loudness of one of
        these.
        """
        own = {style: [i for i in self.train if self.labels[i] == style] for style in self.styles}
        pieces = {style: len(indices) for style, indices in own.items() if indices}
        settings = {
            style: [self._setting(i) for i in indices[:: -(-len(indices) // _N_SETTINGS) or 1]]
            for style, indices in own.items()
            if indices
        }
        known = self.base.config if self.base else {"pieces": {}, "settings": {}}
        return {
            "family": "muse",
            "model": vars(self.model_config),
            "vocabulary": v.fingerprint(),
            "styles": list(self.styles),
            "pieces": {**known["pieces"], **pieces},
            "settings": {**known["settings"], **settings},
        }

    def _setting(self, index: int) -> dict[str, Any]:
        """Returns a piece's instruments, its most frequent meter, and its middle tempo and velocity.

        Files that count 1/4 or shorter bars throughout do not know their meter: they are taken for 4/4.
        """
        piece = self.corpus.piece(index)
        meter = int(np.bincount(piece.meters).argmax())
        known = v.METER_TICKS[meter] > v.TICKS_PER_QUARTER
        numerator, denominator = v.METERS[meter] if known else (4, 4)
        lengths = piece.tokens[(piece.tokens >= v.LENGTH.first) & (piece.tokens < v.LENGTH.first + v.LENGTH.size)]
        levels = (lengths - v.LENGTH.first) % len(v.VELOCITIES)
        return {
            "instruments": [INSTRUMENTS[i].name for i in self.corpus.shards.records[index]["instruments"]],
            "meter": f"{numerator}/{denominator}",
            "tempo": v.TEMPOS_BPM[int(np.median(piece.tempos))],
            "velocity": v.VELOCITIES[int(np.median(levels))],
        }


def muse_checkpoint(folder: Path) -> Checkpoint:
    """Returns the checkpoint of a Muse.

    Raises:
        CheckpointError: there is none with this vocabulary.
    """
    found = load(folder)
    if found.config.get("family") != "muse" or found.config.get("vocabulary") != v.fingerprint():
        raise CheckpointError(f"{folder} is no Muse with this vocabulary")
    return found


def _stack(rows: list[list[Sequence]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs (B, T, 6) and targets (B, T) of rows of sequences, cut to `size` tokens a row.

    Targets are -1 in headers and gaps, which are given and not predicted, and behind the end of a row.
    """
    inputs = np.zeros((len(rows), size, 1 + len(FEATURES)), dtype=np.int64)
    targets = np.full((len(rows), size), -1, dtype=np.int64)
    for row, sequences in enumerate(rows):
        start = 0
        for sequence in sequences:
            end = min(start + len(sequence.tokens), size)
            inputs[row, start:end, 0] = sequence.tokens[: end - start]
            inputs[row, start:end, 1:] = sequence.features[: end - start]
            targets[row, start + sequence.n_header : end] = sequence.tokens[sequence.n_header : end - start]
            start = end
    targets[targets == v.GAP] = -1
    return inputs[:, :-1], targets[:, 1:]
