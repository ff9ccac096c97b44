"""What the comparison of sparsity patterns says."""

import json

import pytest

from musegen.bench import attention as bench
from musegen.errors import InputError


def test_the_comparison_is_plain():
    told = []
    report = bench.compare((256, 128), patterns=["fixed"], turns=1, on_progress=lambda *what: told.append(what))
    assert json.loads(json.dumps(report)) == report
    assert [(row["pattern"], row["positions"]) for row in report["attention"]] == [("fixed", 128), ("fixed", 256)]
    assert all(row["seconds"] > 0 and row["step_ms"] > 0 for row in report["attention"])
    assert [row["pattern"] for row in report["exponents"]] == ["fixed"]
    # Two of the four heads see a block of 128, two the last 16 of each block and two more, by 64 numbers twice.
    assert [row["cache_mib"] * (1 << 20) / (2 * 4 * 2 * 64) for row in report["attention"]] == [128 + 18, 128 + 34]
    assert told == [("fixed", 0, 2), ("fixed", 1, 2), ("fixed", 2, 2)]


def test_exponents_are_those_of_the_rows():
    rows = [
        {
            "pattern": "dense",
            "positions": n,
            "seconds": n**2 / 1e6,
            "peak_mib": n**1.5,
            "step_ms": 3.0 * n,
            "cache_mib": n**0.5,
        }
        for n in (100, 200, 400)
    ]
    found = bench._exponents("dense", rows)
    assert (found["seconds"], found["peak_mib"], found["step_ms"], found["cache_mib"]) == pytest.approx(
        (2, 1.5, 1, 0.5)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": [64]}, "positions is 64"),
        ({"positions": []}, "positions is empty"),
        ({"patterns": ["banded"]}, "unknown pattern 'banded'"),
        ({"turns": 0}, "turns is 0"),
    ],
)
def test_what_cannot_be_measured(options: dict, message: str):
    with pytest.raises(InputError, match=message):
        bench.compare(**options)
