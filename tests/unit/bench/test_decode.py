"""What a token costs by count, and what the comparison says, with a shape small enough to count by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.bench import decode as bench
from musegen.errors import DataError, InputError
from musegen.midi.score import Notes, Score, Track
from musegen.music import vocabulary as v
from musegen.music.corpus import prepare_corpus
from musegen.music.muse import MuseConfig
from musegen.music.tasks import build_muse

TINY = MuseConfig(32, 2, 1, context=32, qk_norm=True, activation="relu2")


def test_a_step_reads_each_weight_and_the_positions_before():
    model = build_muse(TINY)
    norms = 3 * 2 * 32
    weights = norms + 2 + 32 * 96 + 32 * 32 + (32 * 128 + 128) + (128 * 32 + 32) + v.N_TOKENS * 32
    assert bench.bytes_a_step(model, 3, 10, 4, 4) == 4 * (weights + 3 * 10 * 2 * 32)
    assert bench.bytes_a_step(model, 1, 10, 1, 2) == weights + 2 * 10 * 2 * 32


def test_the_comparison_is_plain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(bench.PRESETS, "muse-small", TINY)
    monkeypatch.setattr(bench, "_READ", 1 << 16)
    monkeypatch.setattr(bench, "has_peer", lambda: False)
    told = []
    report = bench.compare(
        (1, 2), n_prompt=5, n_new=4, turns=1, with_music=False, on_progress=lambda *what: told.append(what)
    )
    assert json.loads(json.dumps(report)) == report
    assert "not installed" in report["peer"] and report["music"] == report["precision"] == []
    ways = {(row["way"], row["dtype"], row["batch"]) for row in report["decoding"]}
    kinds = [(bench.IN_NUMPY, "float32"), (bench.IN_NUMPY, "int8")]
    kinds += [(bench.COMPILED, precision) for precision in bench.PRECISIONS if report["compiled"]]
    assert ways == {(*kind, batch) for kind in kinds for batch in (1, 2)}
    assert all(row["tokens_per_second"] > 0 and row["times_the_peer"] is None for row in report["decoding"])
    assert all(row["times_one_row"] == 1 for row in report["decoding"] if row["batch"] == 1)
    assert told[-1] == ("Decoding", 2, 2)


def test_many_rows_write_fewer_tokens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(bench.PRESETS, "muse-small", MuseConfig(32, 2, 1, context=64))
    monkeypatch.setattr(bench, "_READ", 1 << 16)
    monkeypatch.setattr(bench, "has_peer", lambda: False)
    monkeypatch.setattr(bench, "MOST_NEW", {2: 3})
    report = bench.compare((1, 2, 3), n_prompt=5, n_new=7, turns=1, with_music=False)
    assert {(row["batch"], row["new"]) for row in report["decoding"]} == {(1, 7), (2, 3), (3, 3)}


def test_data_that_cannot_be_used_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bench, "read_bytes_per_second", lambda: pytest.fail("measured"))
    notes = Notes(480 * np.arange(8), np.full(8, 480), np.arange(60, 68), np.full(8, 80))
    (tmp_path / "midi").mkdir()
    Score(480, (Track("", 0, False, notes),)).write(tmp_path / "midi" / "one.mid")
    prepare_corpus(tmp_path / "midi", tmp_path / "shards", n_workers=1)
    for folder, message in (("none", "does not exist"), ("shards", "no piece with a beat in its valid split")):
        with pytest.raises(DataError, match=message):
            bench.compare((1,), data=tmp_path / folder)


def test_every_token_that_is_asked_for_is_written():
    torch.manual_seed(0)
    guide = bench._Free(torch.zeros(3, 6, dtype=torch.int64).numpy(), 7)
    model = build_muse(TINY).eval()
    steps = list(bench.decode(bench.NumpyEngine(model, 1), [guide]))
    assert len(steps) == 7


def test_the_peer_is_of_the_same_shape():
    pytest.importorskip(bench.PEER)
    first, whole = bench._peer(TINY, 2, torch.float32)(5, 4)
    assert 0 < first < whole


@pytest.mark.parametrize("options", [{"n_prompt": 0}, {"n_prompt": 1024}, {"n_new": 513}, {"n_new": 1}, {"turns": 0}])
def test_numbers_out_of_range(options: dict):
    with pytest.raises(InputError, match="allowed are whole numbers"):
        bench.compare((1,), **options)
