"""`musegen bench coconet`: how long it takes to harmonise a soprano, beside what the machine could do at best.

The limit is measured in the same run. A pass is recorded: every convolution and matrix product that it does, with its
shapes, precision and layout in memory. Each is then done alone, over and over. A pass takes at least as long as these
together, and at least as long as moving what they read and write at the speed that memory is copied with. Shares of
the limit are in processor seconds, so that what else the machine does counts little.

`python -m musegen.bench.coconet NETWORK BARS` is the process whose memory is measured; it prints a number.
"""

import gc
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from musegen import registry
from musegen.api.arguments import MAX_BARS, MAX_CANDIDATES, MAX_PASSES, whole
from musegen.bench.memory import print_rise, rise_of_child
from musegen.errors import InputError, UnknownNameError
from musegen.music.chorales import OUTSIDE, Grid, Mask, with_ends
from musegen.music.coconet import PRESETS, Coconet
from musegen.music.gibbs import GibbsConfig, gibbs

OnProgress = Callable[[str, int, int], None]
NETWORKS = ("rolls", "doodle", "straight")
BARS = (2, 8, 32)
_STEPS_PER_BAR = 16
_BARS_OF_GROWTH = (2, 4, 8, 16, 32, 64, 128)
_BARS_OF_CANDIDATES = 8
_SCALE = (25, 27, 29, 30, 32, 34, 36, 37)  # classes of C major from middle C
_TURNS = 3
_PRODUCT_TURNS = 7
_COPIED = 1 << 26  # bytes


@dataclass
class Product:
    """A convolution or matrix product of a pass, and how often a pass does it.

    Args:
        call: does it again.
        flops: floating-point operations of one; a multiplication and an addition are two.
        n_bytes: what one reads and writes.
        count: how many of these shapes a pass does.
    """

    call: Callable[[], Any]
    flops: int
    n_bytes: int
    count: int = 1


class _Recorder(TorchDispatchMode):
    """Keeps every convolution and product that is done under it, by shape, layout and precision."""

    def __init__(self):
        super().__init__()
        self.products: dict[tuple[Any, ...], Product] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count_flops = flop_registry.get(func._overloadpacket)
        if count_flops is not None:
            key = (func, *(_signature(arg) for arg in args))
            if key in self.products:
                self.products[key].count += 1
            else:
                tensors = [arg for arg in (*args, out) if isinstance(arg, Tensor)]
                n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
                flops = int(count_flops(*args, **kwargs, out_val=out))
                self.products[key] = Product(lambda: func(*args, **kwargs), flops, n_bytes)
        return out


def _signature(arg: Any) -> Any:
    return (arg.shape, arg.stride(), arg.dtype) if isinstance(arg, Tensor) else str(arg)


def products(model: Coconet, cells: Tensor, mask: Tensor) -> list[Product]:
    """Returns the convolutions and matrix products that one pass does, exactly as it does them.

    Args:
        model: in eval mode.
        cells: (B, T, V) classes.
        mask: (B, T, V) bool.
    """
    with _Recorder() as recorder:
        model.predict(cells, mask)
    return list(recorder.products.values())


def limit_seconds(found: Sequence[Product], bytes_per_second: float) -> tuple[float, float]:
    """Returns the least processor seconds of a pass: of its products alone, and of what they read and write."""
    with torch.no_grad():
        computing = sum(_least_seconds(product.call, _PRODUCT_TURNS) * product.count for product in found)
    return computing, sum(product.n_bytes * product.count for product in found) / bytes_per_second


def copied_bytes_per_second() -> float:
    """Measures how many bytes memory reads and writes in a second when a block larger than the caches is copied."""
    block = torch.ones(_COPIED, dtype=torch.uint8)
    target = torch.empty_like(block)
    return 2 * _COPIED / _least_seconds(lambda: target.copy_(block), _PRODUCT_TURNS)


def compare(
    networks: Sequence[str] | None = None,
    *,
    passes: int | None = None,
    candidates: Sequence[int] = (1, 4, 16),
    bars: Sequence[int] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measures how long it takes to harmonise a soprano.

    Args:
        networks: among `NETWORKS`; None for all. Rolls has the weights that ship with musegen, the others random ones.
        passes: of the sampler; None for its default.
        candidates: how many are made side by side, in turn, of 8 bars with Rolls.
        bars: lengths in bars of 4/4; None for 2, 8 and 32, and only 2 for the straight network, which is slow.
        on_progress: called with what is measured, how much of it is done, and of how much.

    Returns:
        What was measured and, as lists of rows, `speed`, `growth` and `candidates`; if Rolls was measured,
        `growth_exponent`: the time of a pass grows as the length to this power. Seconds are those of users, parallels
        mended; passes a second and their share of the limit are of the passes alone (`seconds_unmended`).

    Raises:
        InputError: there is no such network, or a number is out of range:
            passes 1 to 10,000, candidates 1 to 64, bars 1 to 1,000.
    """
    names = list(networks or NETWORKS)
    for name in names:
        if name not in NETWORKS:
            raise UnknownNameError("network", name, NETWORKS)
    config = GibbsConfig() if passes is None else GibbsConfig(n_passes=whole("passes", passes, 1, MAX_PASSES))
    for what, numbers, most in (("candidates", candidates, MAX_CANDIDATES), ("bars", bars or BARS, MAX_BARS)):
        if not numbers:
            raise InputError(f"{what} is empty; allowed are whole numbers from 1 to {most:,}")
        for number in numbers:
            whole(what, number, 1, most)
    tell = on_progress or (lambda *_: None)
    bandwidth = copied_bytes_per_second()
    speed = []
    for name in names:
        lengths = list(bars) if bars else [2] if name == "straight" else list(BARS)
        for done, length in enumerate(lengths):
            tell(name, done, len(lengths))
            speed.append(_speed(name, length, config, bandwidth))
        tell(name, len(lengths), len(lengths))
    report = {
        "passes": config.n_passes,
        "threads": torch.get_num_threads(),
        "turns": _TURNS,
        "gb_per_second_copied": bandwidth / 1e9,
        "speed": speed,
    }
    if "rolls" in names:
        model = _model("rolls")
        growth = _growth(model, tell)
        report["growth_exponent"] = exponent([row["bars"] for row in growth], [row["cpu_seconds"] for row in growth])
        report |= {"growth": growth, "candidates": _candidates(model, candidates, config, tell)}
    return report


def exponent(lengths: Sequence[float], seconds: Sequence[float]) -> float:
    """Returns the power of the length that seconds grow with, by least squares between the logarithms."""
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def _speed(name: str, n_bars: int, config: GibbsConfig, bandwidth: float) -> dict[str, Any]:
    """Returns the row of figures of a network and a length."""
    model = _model(name)
    cells, free = _soprano_given(n_bars, 1)
    passes_alone = replace(config, n_mendings=0)  # a mending is up to four passes, and how many there are is chance
    whole, alone = _median_seconds([lambda c=c: _harmonize(model, cells, free, c) for c in (config, passes_alone)])
    found = products(model, torch.from_numpy(cells), torch.from_numpy(free))
    computing, moving = limit_seconds(found, bandwidth)
    a_pass = _median_seconds([lambda: model.predict(torch.from_numpy(cells), torch.from_numpy(free))])[0][1]
    flops = sum(product.flops * product.count for product in found)
    return {
        "network": name,
        "bars": n_bars,
        "seconds": whole[0],
        "cpu_seconds": whole[1],
        "seconds_unmended": alone[0],
        "passes_per_second": config.n_passes / alone[0],
        "limit_passes_per_second": torch.get_num_threads() / max(computing, moving),
        "share_of_limit": max(computing, moving) * config.n_passes / alone[1],
        "share_of_limit_of_the_network": max(computing, moving) / a_pass,
        "gflop_per_pass": flops / 1e9,
        "gflop_per_cpu_second_of_products": flops / computing / 1e9,
        "peak_mib": _peak_mebibytes(name, n_bars),
    }


def _growth(model: Coconet, tell: OnProgress) -> list[dict[str, Any]]:
    rows = []
    for done, n_bars in enumerate(_BARS_OF_GROWTH):
        tell("Growth", done, len(_BARS_OF_GROWTH))
        cells, free = (torch.from_numpy(array) for array in _soprano_given(n_bars, 1))
        seconds, cpu_seconds = _median_seconds([lambda c=cells, f=free: model.predict(c, f)])[0]
        rows.append({"bars": n_bars, "seconds": seconds, "cpu_seconds": cpu_seconds})
    tell("Growth", len(_BARS_OF_GROWTH), len(_BARS_OF_GROWTH))
    return rows


def _candidates(model: Coconet, numbers: Sequence[int], config: GibbsConfig, tell: OnProgress) -> list[dict[str, Any]]:
    """Returns a row for each number of candidates: made in one batch, and one by one."""
    rows = []
    one = _soprano_given(_BARS_OF_CANDIDATES, 1)
    for done, number in enumerate(numbers):
        tell("Candidates", done, len(numbers))
        many = _soprano_given(_BARS_OF_CANDIDATES, number)

        def one_by_one(number: int = number) -> None:
            for _ in range(number):
                _harmonize(model, *one, config)

        together, apart = _median_seconds([lambda m=many: _harmonize(model, *m, config), one_by_one])
        rows.append({"candidates": number, "bars": _BARS_OF_CANDIDATES, "seconds": together[0],
                     "seconds_one_by_one": apart[0], "cpu_seconds": together[1],
                     "cpu_seconds_one_by_one": apart[1]})  # fmt: skip
    tell("Candidates", len(numbers), len(numbers))
    return rows


def _model(name: str) -> Coconet:
    """Returns the weights that ship, or a network of random ones: how long it takes does not depend on them."""
    if name == "rolls":
        model = registry.load_model("coconet")
        assert isinstance(model, Coconet)
        return model
    torch.manual_seed(0)
    config = next(config for config in PRESETS.values() if config.network == name)
    return Coconet(config).eval()


def _soprano_given(n_bars: int, n_rows: int) -> tuple[Grid, Mask]:
    """Returns cells (B, T, V) with a scale up and down in quarters, and which are free: the other three voices."""
    notes = np.resize(np.array((*_SCALE, *_SCALE[::-1])), n_bars * 4).repeat(_STEPS_PER_BAR // 4)
    cells = with_ends(np.stack([notes] * 4, axis=1).astype(np.int64))
    free = cells != OUTSIDE
    free[:, 0] = False
    return np.repeat(cells[None], n_rows, axis=0), np.repeat(free[None], n_rows, axis=0)


def _harmonize(model: Coconet, cells: Grid, free: Mask, config: GibbsConfig) -> None:
    for _ in gibbs(model, cells, free, config):
        pass


def _least_seconds(call: Callable[[], Any], n_turns: int) -> float:
    """Returns the least processor seconds of a call, of turns that last some milliseconds each."""
    call()
    started = time.process_time()
    call()
    n_calls = max(1, math.ceil(0.003 / max(time.process_time() - started, 1e-7)))
    taken = []
    for _ in range(n_turns):
        started = time.process_time()
        for _ in range(n_calls):
            call()
        taken.append((time.process_time() - started) / n_calls)
    return min(taken)


def _median_seconds(calls: Sequence[Callable[[], Any]]) -> list[tuple[float, float]]:
    """Returns seconds on the clock and of the processors for each call: medians over turns, after one that warms up."""
    taken: list[list[tuple[float, float]]] = [[] for _ in calls]
    for turn in range(-1, _TURNS):
        for index, call in enumerate(calls):
            gc.collect()
            clock, cpu = time.perf_counter(), time.process_time()
            call()
            if turn >= 0:
                taken[index].append((time.perf_counter() - clock, time.process_time() - cpu))
    medians = (np.median(turns, axis=0).tolist() for turns in taken)
    return [(clock, cpu) for clock, cpu in medians]


def _peak_mebibytes(name: str, n_bars: int) -> float | None:
    """Returns how far two passes raise a process of their own above what it takes with the network loaded."""
    return rise_of_child("musegen.bench.coconet", name, str(n_bars))


def main() -> None:
    """Makes two passes and prints the rise in MiB."""
    name, n_bars = sys.argv[1], int(sys.argv[2])
    model = _model(name)
    _harmonize(model, *_soprano_given(1, 1), GibbsConfig(n_passes=2))  # what is made once, whatever the length
    print_rise(lambda: _harmonize(model, *_soprano_given(n_bars, 1), GibbsConfig(n_passes=2)))


if __name__ == "__main__":
    main()
