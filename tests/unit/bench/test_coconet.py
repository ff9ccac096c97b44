"""What a pass costs by count, and what the comparison says, with networks small enough to count by hand."""

import json
from typing import Any

import pytest
import torch

from musegen.bench import coconet as bench
from musegen.errors import InputError
from musegen.music.coconet import Coconet, CoconetConfig

C, P = 8, 46


def small(network: Any) -> Coconet:
    torch.manual_seed(0)
    return Coconet(CoconetConfig(network, n_layers=4, n_channels=C, n_heads=2, attend_every=2)).eval()


def flops_of(network: str, n_bars: int, n_rows: int = 1) -> int:
    cells, free = (torch.from_numpy(array) for array in bench._soprano_given(n_bars, n_rows))
    return sum(product.flops * product.count for product in bench.products(small(network), cells, free))


@pytest.mark.parametrize("n_rows", [1, 3])
def test_every_operation_of_rolls_is_counted(n_rows: int):
    N = 2 * 4 + 2  # beats with the ends
    places = n_rows * N * P
    blocks = 4 * places * (9 * C * C + C * C)
    attention = 2 * (places * 4 * C * C + 2 * n_rows * N * N * P * C)
    ends = places * 33 * C + (places + n_rows * N) * C * 16
    assert flops_of("rolls", 2, n_rows) == 2 * (blocks + attention + ends)


def test_every_operation_of_the_papers_network_is_counted():
    steps = 40
    places = steps * P
    convolutions = places * 9 * (8 * C + 2 * C * C)
    assert flops_of("straight", 2) == 2 * (convolutions + (places + steps) * C * 4)


def test_products_are_done_again_as_they_were():
    cells, free = (torch.from_numpy(array) for array in bench._soprano_given(1, 1))
    found = bench.products(small("rolls"), cells, free)
    assert len(found) >= 6 and max(product.count for product in found) >= 4
    for product in found:
        assert torch.equal(product.call(), product.call()) and product.n_bytes > 0
    computing, moving = bench.limit_seconds(found, 1e9)
    assert computing > 0 and moving == sum(product.n_bytes * product.count for product in found) / 1e9


def test_growth_is_the_power_of_the_length():
    assert bench.exponent([2, 4, 8, 32], [3 * n**1.5 for n in (2, 4, 8, 32)]) == pytest.approx(1.5)


def test_only_the_soprano_is_given():
    cells, free = bench._soprano_given(2, 3)
    assert cells.shape == free.shape == (3, 40, 4) and free.sum() == 3 * 32 * 3 and not free[..., 0].any()


def test_the_report_says_what_was_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "_model", small)
    monkeypatch.setattr(bench, "_peak_mebibytes", lambda *_: 1.0)
    monkeypatch.setattr(bench, "_BARS_OF_GROWTH", (1, 2))
    monkeypatch.setattr(bench, "_BARS_OF_CANDIDATES", 1)
    monkeypatch.setattr(bench, "_PRODUCT_TURNS", 1)
    monkeypatch.setattr(bench, "_TURNS", 1)
    done = {}
    report = bench.compare(
        passes=2, candidates=(1, 2), bars=[1], on_progress=lambda what, *counts: done.update({what: counts})
    )
    assert [(row["network"], row["bars"]) for row in report["speed"]] == [(name, 1) for name in bench.NETWORKS]
    assert all(row["passes_per_second"] == pytest.approx(2 / row["seconds_unmended"]) for row in report["speed"])
    assert [row["candidates"] for row in report["candidates"]] == [1, 2] and len(report["growth"]) == 2
    assert set(done) == {*bench.NETWORKS, "Growth", "Candidates"} and all(now == total for now, total in done.values())
    assert json.loads(json.dumps(report)) == report
    assert "growth" not in bench.compare(["doodle"], passes=1, bars=[1])


@pytest.mark.parametrize(
    "wrong", [{"networks": ["waves"]}, {"passes": 0}, {"candidates": [0]}, {"candidates": [65]}, {"bars": [1001]}]
)
def test_what_cannot_be_measured(wrong: dict):
    with pytest.raises(InputError):
        bench.compare(**wrong)
