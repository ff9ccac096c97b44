"""The comparison of ways to draw voices, on a network that was never trained."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.bench import sampler
from musegen.bench.sampler import Variant, compare, variants
from musegen.core.checkpoint import save
from musegen.errors import InputError
from musegen.music.chorales import RANGES, write_chorales
from musegen.music.coconet import Coconet, CoconetConfig
from musegen.music.gibbs import GibbsConfig


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path))
    torch.manual_seed(0)
    shape = CoconetConfig(n_layers=3, n_channels=8, n_heads=2)
    save(tmp_path / "tiny", Coconet(shape).state_dict(), {"family": "coconet", "model": vars(shape)})
    return "tiny"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    low, high = np.array(RANGES).T
    splits = {name: [rng.integers(low, high + 1, (n, 4)) for n in (24, 8, 12)] for name in ("train", "valid")}
    write_chorales(tmp_path / "chorales.json", splits)
    return tmp_path / "chorales.json"


def test_every_way_on_the_shortest_pieces(tiny: str, data: Path, monkeypatch: pytest.MonkeyPatch):
    ways = [
        Variant("random", GibbsConfig(2, again="random")),
        Variant("best", GibbsConfig(2), n_candidates=3),
        Variant("one by one", one_by_one=True),
    ]
    monkeypatch.setattr(sampler, "variants", lambda: ways)
    done = []
    report = compare(data, model=tiny, n_pieces=2, on_progress=lambda *counts: done.append(counts))
    assert report["n_pieces"] == 2 and report["n_beats"] == 5
    assert done == [(way.name, n, 2) for way in ways for n in (1, 2)]
    bach, *rows = report["variants"]
    assert bach["variant"] == "Bach" and bach["same_cells"] == 1 and bach["seconds_per_beat"] is None
    assert [row["variant"] for row in rows] == [way.name for way in ways]
    assert all(row.keys() == bach.keys() and row["seconds_per_beat"] > 0 for row in rows)
    assert all(row["same_cells"] < 0.5 for row in rows)
    again = compare(data, model=tiny, n_pieces=2)["variants"]
    assert [row | {"seconds_per_beat": 0} for row in again[1:]] == [row | {"seconds_per_beat": 0} for row in rows]


def test_ways_have_names_of_their_own():
    names = [way.name for way in variants()]
    assert len(set(names)) == len(names) and any(way.one_by_one for way in variants())


def test_wrong_arguments(tiny: str, data: Path):
    with pytest.raises(InputError, match=r"^pieces is 0"):
        compare(data, model=tiny, n_pieces=0)
    with pytest.raises(InputError, match="split"):
        compare(data, model=tiny, split="test")
