"""`musegen bench attention`: what the sparsity patterns cost as sequences grow.

`python -m musegen.bench.attention PATTERN POSITIONS` is the process whose memory is measured; it prints a number.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from musegen.api.arguments import whole
from musegen.bench.coconet import exponent
from musegen.bench.memory import print_rise, rise_of_child
from musegen.core.attention import MultiHeadAttention
from musegen.core.sparsity import Dense, Fixed, Pattern, Strided
from musegen.errors import InputError, UnknownNameError

OnProgress = Callable[[str, int, int], None]

PATTERNS: dict[str, Pattern] = {"dense": Dense(), "fixed": Fixed(128, 16), "strided": Strided(128)}
POSITIONS = (1024, 2048, 4096, 8192, 16384)
_MOST = 1 << 17
_D_MODEL, _N_HEADS = 256, 4
_N_STEPS = 20


def compare(
    positions: Sequence[int] = POSITIONS,
    *,
    patterns: Sequence[str] | None = None,
    turns: int = 3,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures one layer of attention, 256 wide with 4 heads, in float32 on one sequence.

    Args:
        positions: lengths of the sequence, 128 to 131,072.
        patterns: among `PATTERNS`; None for all.
        turns: how often each is measured; medians are given.
        on_progress: called with what is measured, how much of it is done, and of how much.

    Returns:
        What was measured; `attention`, for each pattern and length the seconds of a forward and backward pass, how far
        it raises the memory of a process, the milliseconds of a step that appends the last position, and the memory
        that decoding takes, its cache; and `exponents`, the powers of the length with which these grow, where there are
        two lengths or more.

    Raises:
        InputError: there is no such pattern, or a number is out of range.
    """
    names = list(patterns or PATTERNS)
    for name in names:
        if name not in PATTERNS:
            raise UnknownNameError("pattern", name, PATTERNS)
    if not positions:
        raise InputError(f"positions is empty; allowed are numbers from 128 to {_MOST:,}")
    lengths = sorted({whole("positions", length, 128, _MOST) for length in positions})
    turns = whole("turns", turns, 1, 100)
    tell = on_progress or (lambda *_: None)
    rows: list[dict[str, Any]] = []
    for name in names:
        for done, length in enumerate(lengths):
            tell(name, done, len(lengths))
            step_seconds, cache_mib = _step(name, length)
            rows.append(
                {
                    "pattern": name,
                    "positions": length,
                    "seconds": _pass_seconds(name, length, turns),
                    "peak_mib": rise_of_child("musegen.bench.attention", name, str(length)),
                    "step_ms": 1000 * step_seconds,
                    "cache_mib": cache_mib,
                }
            )
        tell(name, len(lengths), len(lengths))
    return {
        "threads": torch.get_num_threads(),
        "turns": turns,
        "attention": rows,
        "exponents": [_exponents(name, rows) for name in names] if len(lengths) > 1 else [],
    }


def _exponents(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    own = [row for row in rows if row["pattern"] == name]
    found: dict[str, Any] = {"pattern": name}
    for key in ("seconds", "peak_mib", "step_ms", "cache_mib"):
        known = [(row["positions"], row[key]) for row in own if row[key]]
        found[key] = exponent(*zip(*known, strict=True)) if len(known) > 1 else None
    return found


def _layer(name: str, n_positions: int) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(_D_MODEL, _N_HEADS, PATTERNS[name], n_positions)


def _pass(layer: MultiHeadAttention, n_positions: int) -> None:
    x = torch.randn(1, n_positions, _D_MODEL, requires_grad=True)
    layer(x).sum().backward()


def _pass_seconds(name: str, n_positions: int, turns: int) -> float:
    layer, taken = _layer(name, n_positions), []
    _pass(layer, n_positions)
    for _ in range(turns):
        gc.collect()
        started = time.perf_counter()
        _pass(layer, n_positions)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _step(name: str, n_positions: int) -> tuple[float, float]:
    """Returns the seconds of a step at the last position, of one row, and the MiB of its cache."""
    layer, taken = _layer(name, n_positions).eval(), []
    with torch.inference_mode():
        cache, x = layer.init_cache(1), torch.randn(1, 1, _D_MODEL)
        for _ in range(_N_STEPS):  # a step may be repeated
            started = time.perf_counter()
            layer.step(x, cache, torch.tensor([n_positions - 1]))
            taken.append(time.perf_counter() - started)
    return statistics.median(taken), sum(kept.nbytes for kept in (*cache.keys, *cache.values)) / (1 << 20)


def main() -> None:
    """Makes one pass and prints how far it raised the memory, in MiB."""
    name, n_positions = sys.argv[1], int(sys.argv[2])
    _pass(_layer(name, 128), 128)  # what is made once, whatever the length
    print_rise(lambda: _pass(_layer(name, n_positions), n_positions))


if __name__ == "__main__":
    main()
