"""What the comparison of training steps says."""

import json

import pytest

from musegen.bench import training as bench
from musegen.errors import InputError
from musegen.music.muse import MuseConfig


def test_the_comparison_is_plain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(bench.PRESETS, "muse-small", MuseConfig(32, 2, 1, context=32, qk_norm=True))
    monkeypatch.setattr(bench, "has_peer", lambda: False)
    told = []
    report = bench.compare(2, turns=1, on_progress=lambda *what: told.append(what))
    assert json.loads(json.dumps(report)) == report
    assert report["training"][0]["dtype"] == "float32" and "not installed" in report["peer"]
    assert all(row["way"] == "musegen" and row["tokens_per_second"] > 0 for row in report["training"])
    assert told[-1][1] == told[-1][2] == len(report["training"])


@pytest.mark.parametrize("options", [{"batch": 0}, {"turns": 101}])
def test_numbers_out_of_range(options: dict):
    with pytest.raises(InputError, match="allowed are whole numbers"):
        bench.compare(**options)
