"""`musegen bench train`: tokens a second of a training step, beside Hugging Face's GPT-2 of the same shape.

A step is the loss of a batch and its gradients; the optimizer is left out on both sides. Batch, threads and precision
are the same.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch

from musegen.api.arguments import whole
from musegen.bench.decode import PEER, gpt2, has_peer, medians, quiet
from musegen.core.device import has_fast_bfloat16, keep_freed_memory
from musegen.music import vocabulary as v
from musegen.music.features import FEATURES
from musegen.music.muse import PRESETS
from musegen.music.tasks import build_muse

OnProgress = Callable[[str, int, int], None]


def compare(batch: int = 4, *, turns: int = 3, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Measures training steps of muse-small's shape, each way in turn.

    Args:
        batch: sequences of 1,024 tokens, 1 to 1,024.
        turns: how often each is measured; medians are given.
        on_progress: called with what is measured, how much of it is done, and of how much.

    Returns:
        What was measured, and `training`, a row for each way and precision: float32, and bfloat16 where it is fast.

    Raises:
        InputError: a number is out of range.
    """
    config = PRESETS["muse-small"]
    batch, turns = whole("batch", batch, 1, 1024), whole("turns", turns, 1, 100)
    tell = on_progress or (lambda *_: None)
    keep_freed_memory()
    torch.manual_seed(0)
    tokens = torch.randint(1, v.N_TOKENS, (batch, config.context + 1))
    inputs = torch.cat([tokens[:, :-1, None], torch.ones(batch, config.context, len(FEATURES), dtype=torch.int64)], 2)
    model = build_muse(config).train()
    losses: dict[str, Callable[[], torch.Tensor]] = {"musegen": lambda: model.loss(inputs, tokens[:, 1:])}
    modules: dict[str, torch.nn.Module] = {"musegen": model}
    if has_peer():
        peer = gpt2(importlib.import_module(PEER), config, dropout=0.0).train()
        modules[PEER] = peer

        def loss() -> torch.Tensor:
            with quiet():
                return peer(tokens[:, :-1], labels=tokens[:, :-1]).loss

        losses[PEER] = loss
    precisions = ["float32", *(["bfloat16"] if has_fast_bfloat16() else [])]
    rows = []
    for done, precision in enumerate(precisions):
        tell("Training", done, len(precisions))
        seconds = medians([_step(modules[way], loss, precision) for way, loss in losses.items()], turns)
        rates = {way: tokens[:, 1:].numel() / taken for way, taken in zip(losses, seconds, strict=True)}
        rows += [
            {
                "way": way,
                "dtype": precision,
                "tokens_per_second": rate,
                "times_the_peer": rate / rates[PEER] if PEER in rates else None,
            }
            for way, rate in rates.items()
        ]
    tell("Training", len(precisions), len(precisions))
    return {
        "threads": torch.get_num_threads(),
        "batch": batch,
        "tokens": config.context,
        "turns": turns,
        "peer": PEER if has_peer() else f"{PEER} is not installed: pip install 'musegen[bench]'",
        "training": rows,
    }


def _step(model: torch.nn.Module, loss: Callable[[], torch.Tensor], precision: str) -> Callable[[], None]:
    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            made = loss()
        made.backward()
        for parameter in model.parameters():
            parameter.grad = None

    return run
