import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open

from musegen import api, registry
from musegen.api import composing
from musegen.api.composing import warn_of_copies
from musegen.core.sampling import Sampling
from musegen.errors import CopyWarning, DataError, InputError
from musegen.midi.instruments import DRUMS, INSTRUMENTS
from musegen.midi.score import Meters, Notes, Score, Tempos, Track
from musegen.music import vocabulary as v
from musegen.music.copies import Fingerprints
from musegen.music.corpus import Corpus, prepare_corpus
from musegen.music.grid import GridScore, quantise
from musegen.music.judging import missing, spread, wishes_kept, write, write_ngram
from musegen.music.likeness import QUANTITIES
from musegen.music.metrics import fit_baseline
from musegen.music.muse import MuseConfig
from musegen.music.reference import N_BARS, N_DRAWS, Reference, build, grid_of, known_moves, windows
from musegen.music.requests import Request
from musegen.music.tasks import build_muse
from musegen.music.tokenizer import Controls

LABELS = {"bach": (240, 60), "saint-saens": (480, 72)}  # a note so long, about so high


def a_score(rng, step, pitch, n_bars):
    start = np.arange(0, n_bars * 1920, step)
    notes = Notes(
        start, np.full(len(start), step), pitch + rng.integers(-7, 8, len(start)), rng.integers(40, 90, len(start))
    )
    return Score(480, (Track("", INSTRUMENTS[0].program, False, notes),), Tempos([0], [500_000]), Meters([0], [4], [4]))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("midi")
    for label, (step, pitch) in LABELS.items():
        (folder / label).mkdir()
        for number in range(30):
            rng = np.random.default_rng([step, number])
            a_score(rng, step, pitch, N_BARS + number % 20).write(folder / label / f"{number:02}.mid")
    out = tmp_path_factory.mktemp("shards")
    prepare_corpus(folder, out, n_workers=1)
    return out


@pytest.fixture(scope="module")
def corpus(shards):
    return Corpus(shards)


@pytest.fixture(scope="module")
def reference(corpus):
    return build(corpus, "train", known_moves(corpus))


def test_a_piece_is_what_was_quantised(corpus):
    grid, _ = quantise(a_score(np.random.default_rng([240, 0]), 240, 60, N_BARS))
    [found] = [i for i in range(len(corpus)) if corpus.shards.records[i]["path"].endswith("bach/00.mid")]
    assert grid_of(corpus.piece(found)) == grid


def test_windows_do_not_overlap_and_are_always_the_same(corpus):
    first, second = (list(windows(corpus, [0, 1, 2], 9, np.random.default_rng(3))) for _ in range(2))
    assert first == second
    assert all(window.n_bars == N_BARS for _, window in first)
    for index in {index for index, _ in first}:
        own = [window for at, window in first if at == index]
        assert N_BARS * len(own) <= corpus.piece(index).n_bars


def test_a_reference_is_the_same_after_it_was_kept(reference, tmp_path):
    reference.save(tmp_path / "reference.safetensors")
    kept = Reference.load(tmp_path / "reference.safetensors")
    assert kept.real.labels == reference.real.labels and kept.split == "train" and kept.baseline is None
    np.testing.assert_array_equal(kept.confusion, reference.confusion)
    np.testing.assert_array_equal(kept.training, reference.training)
    for name, array in reference.real.counts.items():
        np.testing.assert_array_equal(kept.real.counts[name], array)
    np.testing.assert_array_equal(kept.real.returns.pairs, reference.real.returns.pairs)
    assert kept.real.returns.later == reference.real.returns.later
    np.testing.assert_array_equal(kept.fingerprints.low, reference.fingerprints.low)
    assert kept.classifier and kept.classifier.labels == sorted(LABELS)


def test_a_damaged_reference_is_named(reference, tmp_path):
    path = tmp_path / "reference.safetensors"
    with pytest.raises(DataError, match="there is no"):
        Reference.load(path)
    reference.save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="no usable reference"):
        Reference.load(path)
    path.write_bytes(b"not at all")
    with pytest.raises(DataError, match="no usable reference"):
        Reference.load(path)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": 99}, "was made by another version of musegen; make it again"),
        ({"vocabulary": "other"}, "was made by another version of musegen; make it again"),
        ({"real": None}, "is no usable reference: KeyError: 'real'"),
    ],
)
def test_a_reference_that_does_not_fit_says_why(reference, tmp_path, facts, message):
    path = tmp_path / "reference.safetensors"
    reference.save(path)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kept = json.loads(file.metadata()["reference"]) | facts
    text = json.dumps({name: value for name, value in kept.items() if value is not None})
    safetensors.numpy.save_file(arrays, path, {"reference": text})
    with pytest.raises(DataError) as refused:
        Reference.load(path)
    assert str(refused.value).startswith(f"{path} {message}")


def test_training_pieces_are_found_to_be_copies(reference, corpus):
    for _, window in windows(corpus, corpus.select("train")[:5].tolist(), 1, np.random.default_rng(0)):
        found = reference.fingerprints.longest(window)
        assert found == 0 or found >= reference.fingerprints.n_notes
    assert reference.real.copies is not None
    # They are training pieces, which share themselves with themselves, and so no measure of what is usual.
    assert (reference.real.copies == reference.real.notes).all()
    assert not reference.real.own_copies.size or reference.real.own_copies.max() < 64


def test_labels_are_spread_and_filled_up():
    assert spread(["b", "a", "a", "a"], 8) == ["a"] * 6 + ["b"] * 2
    assert missing(["a", "a", "b"], ["a", "b", "c"], 2) == ["b", "c", "c"]


def test_training_pieces_are_as_near_as_real_ones(reference):
    """Here the real ones are training pieces, and so each draw is one half of what it is compared with, or all."""
    by_name = dict(zip(QUANTITIES, reference.training.T, strict=True))
    assert reference.training.shape == (N_DRAWS, len(QUANTITIES)) and len(set(by_name["velocity"].tolist())) > 1
    assert (by_name["velocity"] < 1.5).all()
    assert np.isnan(by_name["instrument"]).all(), "they are solos"


def test_wishes_are_kept_or_not():
    """Three pieces in C, G and C major, and one of drums alone, all of a note a quarter, which is low."""
    scale, c, g = np.array([0, 4, 7, 0, 5, 9, 7, 11]), v.key_index("C"), v.key_index("G")
    grids = [a_tune(60 + scale, 12), a_tune(55 + scale, 8), a_tune(72 + scale, 12), a_tune(36 + 0 * scale, 12, DRUMS)]
    asked = [Controls(key=key, density=density) for key, density in ((c, 0), (g, 0), (g, 1), (c, 0))]
    key, density = wishes_kept(grids, [Request(controls, 1) for controls in asked])
    assert key == {"wish": "key", "n_pieces": 3, "kept": pytest.approx(2 / 3), "by_chance": pytest.approx(4 / 9)}
    assert (density["n_pieces"], density["kept"]) == (4, 3 / 4)
    assert wishes_kept(grids, [Request(Controls(), 1)] * 4)[0] == {
        "wish": "key", "n_pieces": 0, "kept": None, "by_chance": None
    }  # fmt: skip


def a_tune(pitches, step, instrument=0):
    start = step * np.arange(len(pitches))
    rows = np.column_stack([start, *np.broadcast_arrays(instrument, pitches, step, 3)])
    return GridScore(np.full(2, v.meter_index("4/4")), np.zeros(2, int), rows.astype(np.int64))


def a_request(n_bars, seed):
    controls = Controls(instruments=(seed % 3,), tempo=10, meter=v.meter_index("3/4"))
    return Request(controls, n_bars, keep_meter=True, keep_tempo=True)


def test_pieces_are_written_in_the_order_of_their_requests(corpus):
    torch.manual_seed(0)
    model = build_muse(MuseConfig(d_model=16, n_heads=2, n_layers=1, context=128)).eval()
    requests = [a_request(n_bars, seed) for seed, n_bars in enumerate([3, 1, 2, 1, 4, 2, 1, 1, 2, 3])]
    done = []
    grids = write(model, requests, Sampling(), 1, lambda *progress: done.append(progress))
    assert [grid.n_bars for grid in grids] == [request.n_bars for request in requests]
    assert [set(grid.notes[:, 1]) for grid in grids] == [set(request.playing) for request in requests]
    assert done[-1] == (20, 20)
    by_counting = write_ngram(fit_baseline(corpus, 3), requests[:3], Sampling(), 1)
    assert [grid.n_bars for grid in by_counting] == [3, 1, 2]


def test_muse_is_judged_with_and_without_the_corpus(tiny_muse, shards):
    report = api.evaluate_muse(shards, model=tiny_muse, written=3, max_pieces=1, write_reference=True)
    assert report["n_written"] == 3 and report["n_pieces"] == 1
    assert {row["quantity"] for row in report["likeness"]} >= {"pitch class", "velocity", "polyphony"}
    assert all(row["5-gram_ratio"] is None or row["5-gram_ratio"] >= 0 for row in report["likeness"])
    assert (
        [row["of"] for row in report["bars"]] == [row["of"] for row in report["copies"]] == ["muse", "5-gram", "real"]
    )
    assert [row["wish"] for row in report["wishes"]] == ["key", "density"]
    assert all(0 <= row["kept"] <= 1 and row["n_pieces"] <= 48 for row in report["wishes"])
    assert {(row["taken_out"], row["filled_by"]) for row in report["gaps"]} == {
        ("4 bars", by) for by in ("muse", "the bars before", "real")
    }
    [muse] = [row for row in report["gaps"] if row["filled_by"] == "muse"]
    assert muse["n_gaps"] and muse["off"] >= 1 and 0 <= muse["pitch_classes"] <= 1 and muse["nats_per_note"] > 0
    assert report["composers"]["n_written"] >= 16 and report["composers"]["labels"] == sorted(LABELS)
    alone = api.evaluate_muse(model=tiny_muse, written=3)
    for key in ("likeness", "lags", "bars", "copying", "wishes"):
        assert alone[key] == report[key]
    assert alone["copies"] is None and not {"models", "gaps"} & alone.keys()
    with pytest.raises(InputError, match=f"split is test; the reference of {tiny_muse} has valid"):
        api.evaluate_muse(model=tiny_muse, written=3, split="test")
    again = api.evaluate_muse(model=tiny_muse, written=3, seed=2)
    assert again["likeness"] != alone["likeness"]


def test_what_is_wrong_is_named_before_anything_is_measured(tiny_muse, shards):
    with pytest.raises(InputError, match="written is -1"):
        api.evaluate_muse(shards, model=tiny_muse, written=-1)
    with pytest.raises(InputError, match="write_reference needs shards"):
        api.evaluate_muse(model=tiny_muse, write_reference=True)
    with pytest.raises(InputError, match="max_pieces needs shards"):
        api.evaluate_muse(model=tiny_muse, max_pieces=3)
    with pytest.raises(InputError, match="written 0 needs shards"):
        api.evaluate_muse(model=tiny_muse, written=0)


def test_whoever_copies_is_warned(tiny_muse, reference, corpus, monkeypatch):
    grid = next(windows(corpus, corpus.select("train").tolist(), 1, np.random.default_rng(0)))[1]
    file = registry.checkpoint_folder(tiny_muse) / registry.REFERENCE
    n = reference.fingerprints.longest(grid)
    assert n > 0
    with pytest.warns(CopyWarning, match=f"piece 2 of 2 repeats {n} notes in a row"):
        warn_of_copies([grid.bars(0, 0), grid], reference.fingerprints)
    reference.save(file)
    try:
        api.compose(model=tiny_muse, bars=2, seed=1)  # a warning would be an error here
        monkeypatch.setattr(Fingerprints, "longest", lambda self, grid: 17)
        with pytest.warns(CopyWarning, match="the piece repeats 17 notes in a row"):
            api.compose(model=tiny_muse, bars=2, seed=1)
        file.write_bytes(b"damaged")
        monkeypatch.setattr(composing, "generation_of", lambda *_: pytest.fail("written before it was refused"))
        with pytest.raises(DataError, match="no usable reference"):
            api.compose(model=tiny_muse, bars=2, seed=1)
    finally:
        file.unlink()
