"""`musegen bench decode`: how many tokens a second Muse writes, beside Hugging Face's GPT-2 of the same shape.

Prompts are random, so that each way does the same work and none of it depends on what is drawn. The bound is measured
in the same run: a token needs every weight once, and the keys and values of all positions before it in each row, at the
speed at which memory is read.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from musegen.api.arguments import MAX_CANDIDATES, whole
from musegen.core.decode import decode
from musegen.music import vocabulary as v
from musegen.music.engines import NumpyEngine
from musegen.music.features import FEATURES
from musegen.music.muse import PRESETS, Muse, MuseConfig, MuseEngine
from musegen.music.tasks import build_muse

OnProgress = Callable[[str, int, int], None]

BATCHES = (1, 8, 32)
ENSEMBLES = {
    "piano": ("piano",),
    "quartet": ("violin", "viola", "cello", "contrabass"),
    "band": ("drums", "electric-bass", "electric-guitar", "piano", "strings", "trumpet", "saxophone"),
}
PEER = "transformers"
_READ = 1 << 26  # float32 numbers: far more than a cache holds
_READ_TURNS = 7
_BARS = 16
_BYTES = {"float32": (4, 4), "bfloat16": (2, 2), "int8": (1, 4)}  # of a weight, and of a number of the cache


def compare(
    batches: Sequence[int] = BATCHES,
    *,
    n_prompt: int = 512,
    n_new: int = 512,
    turns: int = 3,
    with_music: bool = True,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures decoding of muse-small's shape with random weights, each way in turn.

    Args:
        batches: sequences side by side, 1 to 64 each.
        n_prompt: positions of a prompt, 1 to 1,023.
        n_new: tokens that are written, 1 to 1,024 less the prompt.
        turns: how often each is measured; medians are given.
        with_music: measure also how far ahead of its playing the trained model writes.
        on_progress: called with what is measured, how much of it is done, and of how much.

    Returns:
        What was measured; `decoding`, a row for each way, precision and batch (8 bits beside the peer's float32); and
        `music`, a row for each ensemble.

    Raises:
        InputError: a number is out of range.
    """
    config = PRESETS["muse-small"]
    for batch in batches:
        whole("batch", batch, 1, MAX_CANDIDATES)
    n_prompt = whole("prompt", n_prompt, 1, config.context - 1)
    n_new = whole("new", n_new, 1, config.context - n_prompt)
    turns = whole("turns", turns, 1, 100)
    tell = on_progress or (lambda *_: None)
    bandwidth = read_bytes_per_second()
    rows = [
        row
        for done, batch in enumerate(batches)
        for row in (tell("Decoding", done, len(batches)), *_decoding(config, batch, n_prompt, n_new, turns, bandwidth))
        if row
    ]
    tell("Decoding", len(batches), len(batches))
    return {
        "threads": torch.get_num_threads(),
        "prompt": n_prompt,
        "new": n_new,
        "turns": turns,
        "gb_per_second_read": bandwidth / 1e9,
        "peer": PEER if has_peer() else f"{PEER} is not installed: pip install 'musegen[bench]'",
        "decoding": rows,
        "music": _music(turns, tell) if with_music else [],
    }


def read_bytes_per_second() -> float:
    """Measures how many bytes a second are read of a block that no cache holds."""
    block = torch.ones(_READ)
    taken = []
    for _ in range(_READ_TURNS):
        started = time.perf_counter()
        block.sum()
        taken.append(time.perf_counter() - started)
    return 4 * _READ / min(taken)


def bytes_a_step(model: Muse, n_rows: int, n_before: float, dtype: str) -> float:
    """Returns what a step reads: the weights that multiply, and the keys and values of `n_before` positions a row."""
    weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("inputs."))
    cache = 2 * model.config.n_layers * model.config.d_model * n_before
    of_weight, of_cache = _BYTES[dtype]
    return of_weight * weights + of_cache * n_rows * cache


class _Free:
    """A guide (`core.decode.Guide`) that allows everything, for so many tokens."""

    def __init__(self, prompt: np.ndarray, n_new: int):
        self._prompt, self._left = prompt, n_new
        self._allowed = np.ones(v.N_TOKENS, dtype=bool)

    def prompt(self) -> np.ndarray:
        return self._prompt

    def allowed(self) -> np.ndarray:
        return self._allowed

    def push(self, token: int) -> np.ndarray | None:
        self._left -= 1
        return np.array([token] + [0] * len(FEATURES)) if self._left else None


def _decoding(
    config: MuseConfig, n_rows: int, n_prompt: int, n_new: int, turns: int, bandwidth: float
) -> list[dict[str, Any]]:
    """Returns the rows of one batch."""
    torch.manual_seed(0)
    model = build_muse(config).eval().requires_grad_(False)
    prompts = np.random.default_rng(0).integers(1, 16, (n_rows, n_prompt, 1 + len(FEATURES)))
    smaller = build_muse(config).eval().requires_grad_(False).bfloat16()

    def ours(engine: Callable[[Muse, int], MuseEngine], model: Muse) -> Callable[[], None]:
        def run() -> None:
            guides = [_Free(prompt, n_new) for prompt in prompts]
            for _ in decode(engine(model, n_rows), guides):
                pass

        return run

    ways: dict[tuple[str, str], Callable[[], None]] = {
        ("musegen", "float32"): ours(NumpyEngine, model),
        ("musegen", "int8"): ours(partial(NumpyEngine, int8=True), model),
        ("musegen, in torch", "float32"): ours(MuseEngine, model),
        ("musegen, in torch", "bfloat16"): ours(MuseEngine, smaller),
    }
    if has_peer():
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            ways[PEER, name] = _peer(config, n_rows, n_prompt, n_new, dtype)
    seconds = medians(list(ways.values()), turns)
    rates = {key: n_rows * n_new / taken for key, taken in zip(ways, seconds, strict=True)}
    rows = []
    for (way, dtype), rate in rates.items():
        n_bytes = bytes_a_step(model, n_rows, n_prompt + n_new / 2, dtype)
        peer = rates.get((PEER, "float32" if dtype == "int8" else dtype))
        rows.append(
            {
                "way": way,
                "dtype": dtype,
                "batch": n_rows,
                "tokens_per_second": rate,
                "times_the_peer": rate / peer if peer else None,
                "share_of_bound": rate * n_bytes / (n_rows * bandwidth),
            }
        )
    return rows


def has_peer() -> bool:
    """Whether there is something to compare with."""
    return importlib.util.find_spec(PEER) is not None


def gpt2(transformers: Any, config: MuseConfig, dropout: float = 0.1) -> torch.nn.Module:
    """Returns Hugging Face's GPT-2 in the shape of a Muse, with random weights."""
    shape = transformers.GPT2Config(
        vocab_size=v.N_TOKENS, n_positions=config.context, n_embd=config.d_model, n_layer=config.n_layers,
        n_head=config.n_heads, bos_token_id=0, eos_token_id=0, resid_pdrop=dropout, embd_pdrop=dropout,
        attn_pdrop=dropout,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(shape)


def _peer(config: MuseConfig, n_rows: int, n_prompt: int, n_new: int, dtype: torch.dtype) -> Callable[[], None]:
    """Returns what decodes with Hugging Face's GPT-2 of the same shape."""
    model = gpt2(importlib.import_module(PEER), config).eval().to(dtype)
    prompts = torch.randint(1, v.N_TOKENS, (n_rows, n_prompt))

    def run() -> None:
        with quiet():
            model.generate(  # type: ignore[operator]
                prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=n_new, min_new_tokens=n_new,
                do_sample=True, top_k=0, pad_token_id=0,
            )  # fmt: skip

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Has the peer say nothing of its settings."""
    logging = importlib.import_module(f"{PEER}.utils.logging")
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def medians(runs: Sequence[Callable[[], None]], turns: int) -> list[float]:
    """Returns the median seconds of each run, all of them in turn; the first turn warms up."""
    taken: list[list[float]] = [[] for _ in runs]
    for turn in range(-1, turns):
        for run, seconds in zip(runs, taken, strict=True):
            started = time.perf_counter()
            run()
            if turn >= 0:
                seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


def _music(turns: int, tell: OnProgress) -> list[dict[str, Any]]:
    """Returns a row for each ensemble: bars a second, and how many times faster than it plays it is written."""
    from musegen import api

    rows = []
    for done, (name, instruments) in enumerate(ENSEMBLES.items()):
        tell("Music", done, len(ENSEMBLES))
        bars, faster = [], []
        for turn in range(turns):
            started = time.perf_counter()
            [score] = api.compose(instruments=instruments, bars=_BARS, tempo=120, meter="4/4", seed=turn)
            seconds = time.perf_counter() - started
            bars.append(_BARS / seconds)
            faster.append(score.duration_seconds / seconds)
        median = {"bars_per_second": statistics.median(bars), "times_faster_than_played": statistics.median(faster)}
        rows.append({"ensemble": name, "instruments": len(instruments), **median})
    tell("Music", len(ENSEMBLES), len(ENSEMBLES))
    return rows
