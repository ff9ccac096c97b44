"""What fewer bits cost: nats a token of each precision of the compiled engine, on the same tokens, step by step.

The tokens are held-out pieces, or what the trained model itself writes in float32: there, what another precision costs
is in the mean the divergence of its distributions from those of float32.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch

from musegen.api.models import DEFAULT_MODEL, muse
from musegen.core.decode import decode
from musegen.music import vocabulary as v
from musegen.music.compiled import PRECISIONS, CompiledEngine, Precision, can_compile
from musegen.music.corpus import Corpus
from musegen.music.features import Place, features
from musegen.music.grammar import MuseGuide
from musegen.music.muse import Muse
from musegen.music.requests import Request
from musegen.music.tokenizer import Controls

_PIECES = 8

OnProgress = Callable[[str, int, int], None]


def nats_of_precisions(pieces: list[np.ndarray] | None, tell: OnProgress) -> list[dict[str, Any]]:
    """Returns a row for each precision of the trained model; none where it cannot be compiled.

    Args:
        pieces: tokens of held-out pieces (`held_out`); None for what the model writes.
        tell: called with what is done, how much of it, and of how much.
    """
    model = muse(DEFAULT_MODEL)
    if not can_compile(model):
        return []
    tell("Precision", 0, len(PRECISIONS))
    tokens = written(model, _PIECES) if pieces is None else pieces
    rows: list[dict[str, Any]] = []
    exact = np.zeros(0)
    for done, precision in enumerate(PRECISIONS):
        losses = losses_of(model, precision, tokens)
        exact = losses if not rows else exact
        rows.append(
            {
                "precision": precision,
                "tokens": len(losses),
                "of": "pieces the model wrote" if pieces is None else "held-out pieces",
                "nats_per_token": float(losses.mean()),
                "more_than_float32": f"{(losses - exact).mean():+.5f}",
            }
        )
        tell("Precision", done + 1, len(PRECISIONS))
    return rows


def held_out(corpus: Corpus, context: int) -> list[np.ndarray]:
    """Returns the tokens of the beginnings of validation pieces, always the same ones, as long as the context.

    Raises:
        DataError: there are none.
    """
    if not len(corpus.select("valid")):
        raise corpus.lacks("no piece with a beat", "valid", advice="")
    chosen = np.random.default_rng(0).permutation(corpus.select("valid"))[:_PIECES]
    return [np.concatenate([[v.START], corpus.piece(int(index)).tokens[: context - 1]]) for index in chosen]


def written(model: Muse, n_pieces: int) -> list[np.ndarray]:
    """Returns the tokens of what a model writes in float32, as long as the context."""
    context, controls = model.config.context, Controls()
    guides = [MuseGuide(Request(controls, None), context) for _ in range(n_pieces)]
    header = controls.tokens()
    steps = islice(decode(CompiledEngine(model, n_pieces, "float32"), guides), context - len(header))
    drawn = np.array([step.tokens for step in steps])
    return [np.concatenate([header, tokens]) for tokens in drawn.T]


def losses_of(model: Muse, precision: Precision, pieces: list[np.ndarray]) -> np.ndarray:
    """Returns -log p (n,) in nats of every token of the pieces behind the first, which `start` is.

    Args:
        model: what predicts them.
        precision: of its weights and cache.
        pieces: tokens (T,) of each.
    """
    engine = CompiledEngine(model, len(pieces), precision)
    inputs = np.zeros((len(pieces), max(map(len, pieces)), 6), dtype=np.int64)
    for row, tokens in enumerate(pieces):
        inputs[row, : len(tokens), 0] = tokens
        inputs[row, : len(tokens), 1:] = features(tokens.astype(np.int64), Place())
    lengths, losses = np.array([len(tokens) for tokens in pieces]), []
    with torch.inference_mode():
        logits = engine.prefill(torch.from_numpy(inputs[:, :1]), slice(0, len(pieces)))
        for t in range(1, inputs.shape[1]):
            [live] = np.nonzero(t < lengths)
            targets = torch.from_numpy(inputs[live, t, 0])
            losses.append(torch.nn.functional.cross_entropy(logits[live].double(), targets, reduction="none").numpy())
            logits = engine.step(torch.from_numpy(inputs[:, t]), torch.from_numpy(t < lengths))
    return np.concatenate(losses)
