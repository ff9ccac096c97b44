"""`musegen bench decode`: how many tokens a second Muse writes, beside Hugging Face's GPT-2 of the same shape.

Prompts are random, so that each way does the same work and none of it depends on what is drawn. A rate is that of the
tokens behind the prompt, whose own time stands beside it. The bound is measured in the same run: a token needs every
weight once, and the keys and values of all positions before it in each row, at the speed at which memory is read.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musegen.api.arguments import MAX_CANDIDATES, whole
from musegen.api.models import DEFAULT_MODEL, muse
from musegen.bench.precision import held_out, nats_of_precisions
from musegen.core.decode import Engine, decode
from musegen.music import vocabulary as v
from musegen.music.compiled import PRECISIONS, CompiledEngine, can_compile
from musegen.music.corpus import Corpus
from musegen.music.engines import NumpyEngine
from musegen.music.features import FEATURES
from musegen.music.muse import PRESETS, Muse, MuseConfig
from musegen.music.tasks import build_muse

OnProgress = Callable[[str, int, int], None]
Run = Callable[[int, int], tuple[float, float]]
"""Decodes that many tokens behind that many of a prompt; returns the seconds until the first, and all."""

BATCHES = (1, 8, 32)
MOST_NEW = {8: 64, 32: 24}
"""How many tokens are written at most with so many rows or more: more would take long and tell no more."""

ENSEMBLES: dict[str, dict[str, Any]] = {
    "piano": {"instruments": ("piano",)},
    "piano, chopin": {"instruments": ("piano",), "composer": "chopin"},  # guided: two rows a piece
    "quartet": {"instruments": ("violin", "viola", "cello", "contrabass")},
    "band": {
        "instruments": ("drums", "electric-bass", "electric-guitar", "piano", "strings", "trumpet", "saxophone"),
    },
}
"""What is composed, by name."""

PEER = "transformers"
COMPILED, IN_NUMPY = "musegen", "musegen, no compiler"
_READ = 1 << 26  # float32 numbers: far more than a cache holds
_READ_TURNS = 7
_BARS = 16
_BESIDE = 8
# Bytes of a weight, and of a number of the cache.
_BYTES = {"float32": (4, 4), "bfloat16": (2, 2), "int8": (1, 2)}


def compare(
    batches: Sequence[int] = BATCHES,
    *,
    n_prompt: int = 512,
    n_new: int = 512,
    turns: int = 3,
    data: str | Path | None = None,
    with_music: bool = True,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures decoding of muse-small's shape with random weights, each way in turn, and what the trained model does.

    Args:
        batches: sequences side by side, 1 to 64 each.
        n_prompt: positions of a prompt, 1 to 1,022.
        n_new: tokens that are written, 2 to 1,024 less the prompt; with 8 rows or more it is `MOST_NEW` at most.
        turns: how often each is measured; medians are given.
        data: shards that `prepare_data` made, on whose held-out pieces the precisions are judged; None takes what the
            trained model writes in float32.
        with_music: measure also the trained model: what fewer bits cost, and how far ahead of its playing it writes.
        on_progress: called with what is measured, how much of it is done, and of how much.

    Returns:
        What was measured; `decoding`, a row for each way, precision and batch (8 bits beside the peer's float32);
        `precision`, nats a token of each; and `music`, a row for each ensemble.

    Raises:
        InputError: a number is out of range.
        DataError: the shards cannot be used.
    """
    config = PRESETS["muse-small"]
    for batch in batches:
        whole("batch", batch, 1, MAX_CANDIDATES)
    n_prompt = whole("prompt", n_prompt, 1, config.context - 2)
    n_new = whole("new", n_new, 2, config.context - n_prompt)
    turns = whole("turns", turns, 1, 100)
    pieces = None if data is None else held_out(Corpus(Path(data)), muse(DEFAULT_MODEL).config.context)
    tell = on_progress or (lambda *_: None)
    bandwidth = read_bytes_per_second()
    rows: list[dict[str, Any]] = []
    for done, batch in enumerate(sorted(set(batches))):
        tell("Decoding", done, len(batches))
        most = min([n_new, *(most for n_rows, most in MOST_NEW.items() if n_rows <= batch)])
        rows += _decoding(config, batch, n_prompt, most, turns, bandwidth)
    tell("Decoding", len(batches), len(batches))
    one = {(row["way"], row["dtype"]): row["tokens_per_second"] for row in rows if row["batch"] == 1}
    for row in rows:
        alone = one.get((row["way"], row["dtype"]))
        row["times_one_row"] = row["tokens_per_second"] / alone if alone else None
    return {
        "threads": torch.get_num_threads(),
        "prompt": n_prompt,
        "turns": turns,
        "gb_per_second_read": bandwidth / 1e9,
        "compiled": can_compile(build_muse(config)),
        "peer": PEER if has_peer() else f"{PEER} is not installed: pip install 'musegen[bench]'",
        "decoding": rows,
        "precision": nats_of_precisions(pieces, tell) if with_music else [],
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


def bytes_a_step(model: Muse, n_rows: int, n_before: float, of_weight: int, of_cache: int) -> float:
    """Returns what a step reads: the weights that multiply, and the keys and values of `n_before` positions a row.

    Args:
        model: what decodes.
        n_rows: sequences side by side.
        n_before: positions that each of them holds.
        of_weight: bytes of a weight.
        of_cache: bytes of a number of the cache.
    """
    weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("inputs."))
    return of_weight * weights + of_cache * n_rows * 2 * model.config.n_layers * model.config.d_model * n_before


class _Free:
    """A guide (`core.decode.Guide`) that allows everything, for so many tokens."""

    def __init__(self, prompt: np.ndarray, n_new: int):
        self._prompt, self._left = prompt, n_new
        self._allowed = np.ones(v.N_TOKENS, dtype=bool)

    def prompt(self) -> np.ndarray:
        return self._prompt

    def weigh(self, logits: np.ndarray) -> np.ndarray:
        return logits

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
    measured = medians_behind_prompts(_ways(model, n_rows), n_prompt, n_new, turns)
    rates = {key: n_rows * (n_new - 1) / (whole - first) for key, (first, whole) in measured.items()}
    rows = []
    for (way, dtype), rate in rates.items():
        first, seconds = measured[way, dtype]
        beside = PEER, "float32" if dtype == "int8" else dtype
        of_weight, of_cache = _BYTES[dtype] if way != IN_NUMPY else (_BYTES[dtype][0], 4)
        n_bytes = bytes_a_step(model, n_rows, n_prompt + n_new / 2, of_weight, of_cache)
        rows.append(
            {
                "way": way,
                "dtype": dtype,
                "batch": n_rows,
                "new": n_new,
                "tokens_per_second": rate,
                "times_the_peer": rate / rates[beside] if beside in rates else None,
                "prompt_seconds": first,
                "times_the_peer_with_prompt": measured[beside][1] / seconds if beside in rates else None,
                "share_of_bound": rate * n_bytes / (n_rows * bandwidth),
            }
        )
    return rows


def _ways(model: Muse, n_rows: int) -> dict[tuple[str, str], Run]:
    """Returns what is measured, by way and precision."""
    engines: dict[tuple[str, str], Callable[[], Engine]] = {
        (IN_NUMPY, "float32"): lambda: NumpyEngine(model, n_rows),
        (IN_NUMPY, "int8"): lambda: NumpyEngine(model, n_rows, int8=True),
    }
    for precision in PRECISIONS if can_compile(model) else ():
        engines[COMPILED, precision] = partial(CompiledEngine, model, n_rows, precision)
    ways: dict[tuple[str, str], Run] = {key: partial(_run, engine, n_rows) for key, engine in engines.items()}
    if has_peer():
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            ways[PEER, name] = _peer(model.config, n_rows, dtype)
    return ways


def _run(make: Callable[[], Engine], n_rows: int, n_prompt: int, n_new: int) -> tuple[float, float]:
    """Decodes with an engine of its own: a `Run`."""
    prompts = np.random.default_rng(0).integers(1, 16, (n_rows, n_prompt, 1 + len(FEATURES)))
    started = time.perf_counter()
    steps = decode(make(), [_Free(prompt, n_new) for prompt in prompts])
    next(steps)
    first = time.perf_counter() - started
    for _ in steps:
        pass
    return first, time.perf_counter() - started


def medians_behind_prompts(
    ways: Mapping[tuple[str, str], Run], n_prompt: int, n_new: int, turns: int
) -> dict[tuple[str, str], tuple[float, float]]:
    """Returns the median seconds of each, until the first token and in all; they are measured in turn."""
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in ways}
    for run in ways.values():
        run(1, 2)  # warms up
    for _ in range(turns):
        for key, run in ways.items():
            taken[key].append(run(n_prompt, n_new))
    return {
        key: (statistics.median(first for first, _ in both), statistics.median(seconds for _, seconds in both))
        for key, both in taken.items()
    }


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


def _peer(config: MuseConfig, n_rows: int, dtype: torch.dtype) -> Run:
    """Returns what decodes with Hugging Face's GPT-2 of the same shape."""
    model = gpt2(importlib.import_module(PEER), config).eval().to(dtype)

    def run(n_prompt: int, n_new: int) -> tuple[float, float]:
        prompts = torch.randint(1, v.N_TOKENS, (n_rows, n_prompt))
        logits_at: list[float] = []

        def note_the_time(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            logits_at.append(time.perf_counter())
            return logits

        started = time.perf_counter()
        with quiet():
            model.generate(  # type: ignore[operator]
                prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=n_new, min_new_tokens=n_new,
                do_sample=True, top_k=0, pad_token_id=0, logits_processor=[note_the_time],
            )  # fmt: skip
        return logits_at[0] - started, time.perf_counter() - started

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
    """Returns a row for each ensemble: bars a second, how many times faster than it plays, and what eight cost."""
    from musegen import api

    def seconds_of(n: int, asked: dict[str, Any], seed: int) -> tuple[float, list[float]]:
        started = time.perf_counter()
        scores = api.compose(**asked, bars=_BARS, tempo=120, meter="4/4", seed=seed, n=n)
        return time.perf_counter() - started, [score.duration_seconds for score in scores]

    rows = []
    for done, (name, asked) in enumerate(ENSEMBLES.items()):
        tell("Music", done, len(ENSEMBLES))
        bars, faster = [], []
        for turn in range(turns):
            seconds, [played] = seconds_of(1, asked, turn)
            bars.append(_BARS / seconds)
            faster.append(played / seconds)
        beside, _ = seconds_of(_BESIDE, asked, 0)  # once: it takes long
        rows.append(
            {
                "ensemble": name,
                "instruments": len(asked["instruments"]),
                "bars_per_second": statistics.median(bars),
                "times_faster_than_played": statistics.median(faster),
                f"bars_per_second_of_{_BESIDE}": _BESIDE * _BARS / beside,
            }
        )
    tell("Music", len(ENSEMBLES), len(ENSEMBLES))
    return rows
