"""Music from a trained Muse, as an iterator of bars and notes."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from musegen.core.decode import Engine, decode
from musegen.core.guidance import GuidedEngine
from musegen.core.sampling import Sampling
from musegen.music import vocabulary as v
from musegen.music.engines import engine_for
from musegen.music.grammar import MuseGuide
from musegen.music.grid import GridScore
from musegen.music.muse import Muse
from musegen.music.requests import Request
from musegen.music.tokenizer import Bar, GridNote, collect


class Generation:
    """Several pieces written side by side.

    Args:
        model: in eval mode.
        requests: what each piece is to be.
        sampling: how tokens are drawn. Its guidance is by what the guide cannot promise: style, key and density of the
            requests; above 1 it is not of how long and how loud notes are. Any but 1 costs as much as twice as many
            pieces.
        seed: the same seed gives the same pieces, 0 or more.

    Attributes:
        nats: -log p of the tokens that each piece got, among those allowed, as they were drawn at temperature 1.
        n_tokens: how many these are.
    """

    def __init__(self, model: Muse, requests: Sequence[Request], sampling: Sampling, seed: int):
        self.guides = [MuseGuide(request, model.config.context) for request in requests]
        self.nats = [0.0] * len(self.guides)
        self.n_tokens = [0] * len(self.guides)
        self._engine = _engine(model, requests, sampling.guidance)
        self._sampling, self._seed = sampling, seed

    def __iter__(self) -> Iterator[tuple[int, Bar | GridNote]]:
        """Yields (row, event) as soon as a bar or note is certain; what the prompts held is not repeated."""
        seen = [len(guide.events) for guide in self.guides]
        for step in decode(self._engine, self.guides, self._sampling, self._seed):
            for row, (guide, log_probability) in enumerate(zip(self.guides, step.log_probabilities, strict=True)):
                self.nats[row] -= log_probability or 0.0
                self.n_tokens[row] += log_probability is not None
                for event in guide.events[seen[row] :]:
                    yield row, event
                seen[row] = len(guide.events)

    def grids(self) -> list[GridScore]:
        """Returns the pieces as far as they are written, prompts included."""
        return [collect(guide.events) for guide in self.guides]


def _engine(model: Muse, requests: Sequence[Request], guidance: float) -> Engine:
    n_rows = len(requests)
    if guidance == 1:
        return engine_for(model, n_rows)
    # How long and how loud a note is goes no further than the model was taught: else it grows louder than real music.
    scale = np.full(v.N_TOKENS, guidance, dtype=np.float32)
    scale[v.LENGTH.slice] = scale[v.TIE] = min(guidance, 1)
    return GuidedEngine(engine_for(model, 2 * n_rows), n_rows, scale, _without_wishes)


def _without_wishes(inputs: Tensor) -> Tensor:
    keep = torch.ones(len(inputs), dtype=torch.bool)
    for block in (v.STYLE, v.KEY, v.DENSITY):
        keep &= (inputs[:, 0] < block.first) | (inputs[:, 0] >= block.first + block.size)
    return inputs[keep]
