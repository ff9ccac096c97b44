"""Rankings, and the measure of whether they pick well."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from musegen.core.checkpoint import fingerprint, save
from musegen.core.sampling import Sampling
from musegen.errors import CheckpointError
from musegen.midi.score import Notes, Score, Track
from musegen.music import rank_metrics
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus, prepare_corpus
from musegen.music.critic import Critic, CriticConfig
from musegen.music.generate import Generation
from musegen.music.likeness import QUANTITIES
from musegen.music.muse import MuseConfig
from musegen.music.rank_metrics import Candidates, Real, evaluate, write_candidates
from musegen.music.ranking import best_first, likelihoods, load_critic, verdicts
from musegen.music.requests import Request
from musegen.music.tasks import build_muse
from musegen.music.tokenizer import Controls

SHAPE = MuseConfig(d_model=32, n_heads=2, n_layers=1, context=256)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_muse(SHAPE).eval()


def critic_in(folder: Path, muse: str) -> Path:
    torch.manual_seed(0)
    shape = CriticConfig(d_model=32, d_hidden=4)
    critic = Critic(shape)
    torch.nn.init.normal_(critic.head.weight)
    save(folder, critic.state_dict(), {"family": "critic", "model": vars(shape), "muse": muse}, torch.float16)
    return folder


def test_the_highest_comes_first_and_ties_keep_their_order():
    assert best_first([0.5, 2.0, -1.0, 2.0]) == [1, 3, 0, 2]


def test_a_critic_of_other_weights_is_refused(tmp_path: Path, model):
    ours = fingerprint(model.state_dict())
    assert load_critic(critic_in(tmp_path / "fits", ours), model).config.d_model == 32
    with pytest.raises(CheckpointError, match=f"other-weights, and not of {ours}"):
        load_critic(critic_in(tmp_path / "other", "other-weights"), model)
    save(tmp_path / "muse", model.state_dict(), {"family": "muse"})
    with pytest.raises(CheckpointError, match="family muse"):
        load_critic(tmp_path / "muse", model)
    save(tmp_path / "strange", {}, {"family": "critic", "muse": ours, "model": {"width": 3}})
    with pytest.raises(CheckpointError, match="width"):
        load_critic(tmp_path / "strange", model)


def test_a_fingerprint_is_of_the_numbers_and_not_of_their_precision(model):
    halves = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    same = {name: t.float() if t.is_floating_point() else t for name, t in halves.items()}
    assert fingerprint(halves) == fingerprint(same)
    same["norm.bias"] = same["norm.bias"] + 1e-3
    assert fingerprint(halves) != fingerprint(same)


def test_scores_of_what_is_written(tmp_path: Path, model):
    controls = Controls(style=0, instruments=(0,), tempo=30, meter=v.METER_INDEX[4, 4])
    request = Request(controls, 3, keep_meter=True, keep_tempo=True)
    generation = Generation(model, [request, replace(request, n_bars=5)], Sampling(1.0, 4), 1)
    for _ in generation:
        pass
    assert generation.n_tokens[0] < generation.n_tokens[1]
    assert likelihoods(generation) == [-n / k for n, k in zip(generation.nats, generation.n_tokens, strict=True)]
    critic = load_critic(critic_in(tmp_path, fingerprint(model.state_dict())), model)
    grids = generation.grids()
    together = verdicts(critic, model, grids, controls)
    assert together == [verdicts(critic, model, [grid], controls)[0] for grid in grids]
    assert together[0] != together[1]


def prepared(folder: Path, seed: int) -> Corpus:
    """A dozen pieces, with other notes for each seed and always the same names."""
    for n in range(12):
        rng, path = np.random.default_rng([seed, n]), folder / "raw" / "bach" / f"{n}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = Notes(480 * np.arange(72), np.full(72, 240), rng.integers(50, 70, 72), np.full(72, 80))
        Score(480, (Track("", 0, False, notes),)).write(path)
    prepare_corpus(folder / "raw", folder / "shards", n_workers=1)
    return Corpus(folder / "shards")


def test_candidates_are_kept_for_the_very_music_in_whose_place_they_are(tmp_path: Path, model):
    config = {"family": "muse", "model": vars(SHAPE), "vocabulary": v.fingerprint(), "styles": ["bach"]}
    save(tmp_path / "muse", model.state_dict(), config)

    def written(corpus: Corpus) -> dict[Path, int]:
        how = {"sampling": Sampling(1.0, 4), "n_windows": 2, "n_candidates": 2, "seed": 1, "n_workers": 1}
        found, labels = write_candidates(corpus, "train", tmp_path / "muse", None, tmp_path / "out", **how)
        assert labels == ["bach"] * 2 and found.later.shape == (2, 2)
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*/likelihood.npy")}

    first = written(prepared(tmp_path, 0))
    assert len(first) == 2 and written(prepared(tmp_path, 0)) == first
    assert not first.keys() & written(prepared(tmp_path, 1)).keys()


def test_a_choice_that_knows_what_is_real_gains_and_one_that_does_not_does_not():
    """Real pieces have all in one bin; of the candidates, one in four has."""
    rng = np.random.default_rng(0)
    good = rng.random((60, 4)) < 0.25
    histograms = {}
    for name, quantity in QUANTITIES.items():
        bins = np.where(good, 2, 7)
        histograms[name] = (np.arange(quantity.n_bins) == bins[..., None]).astype(np.int64)
    # A few real pieces are otherwise, or two halves of them would not lie apart.
    place = np.where(np.arange(40) % 10 == rng.integers(10), 3, 2)
    real = {name: (np.arange(q.n_bins) == place[:, None]).astype(np.int64) for name, q in QUANTITIES.items()}
    written = Candidates(histograms, np.full((60, 4), 10), np.where(good, 5, 0), {})
    choices = {"knows": good.astype(float), "chance": rng.random((60, 4)), "errs": -good.astype(float)}
    rows = {row["choice"]: row for row in evaluate(written, choices, Real(real, ["all"] * 40, 0))}
    assert list(rows) == ["random", "knows", "chance", "errs"]
    assert rows["random"]["gain"] is None
    assert rows["knows"]["gain"] > 5 * rows["knows"]["gain_se"] > 0
    assert abs(rows["chance"]["gain"]) < 3 * rows["chance"]["gain_se"]
    assert rows["errs"]["gain"] < -3 * rows["errs"]["gain_se"]
    assert rows["random"]["returning"] == pytest.approx(good.mean() / 2)
    assert rows["knows"]["returning"] == pytest.approx(good.any(1).mean() / 2)


def a_bin(place: np.ndarray) -> dict[str, np.ndarray]:
    """Histograms of pieces that have all in one bin of each quantity."""
    return {name: (np.arange(q.n_bins) == place[..., None]).astype(np.int64) for name, q in QUANTITIES.items()}


def test_what_cannot_be_compared_has_no_part_in_a_figure():
    """Real pieces are all of one velocity, as notation has it; half of them, and a candidate, are drums alone."""
    rng = np.random.default_rng(0)
    real = a_bin(rng.integers(2, 6, 80)) | {"velocity": a_bin(np.full(80, 5))["velocity"]}
    alike = a_bin(rng.integers(2, 6, (40, 2)))
    for name in ("pitch class", "melodic interval", "duration"):
        real[name][::2] = 0
        alike[name][2, 1] = 0
    written = Candidates(alike, np.ones((40, 2), int), np.zeros((40, 2), int), {})
    rows = evaluate(written, {"last": np.tile([0, 1], (40, 1))}, Real(real, ["all"] * 80, 0))
    for row in rows:
        others = [row[name] for name in QUANTITIES if name != "velocity"]
        assert row["velocity"] is None and row["mean"] == pytest.approx(np.mean(others))
        assert all(ratio < 2 for ratio in others)
    assert rows[1]["gain_se"] > 0


def test_drums_alone_are_as_near_as_the_mean(monkeypatch: pytest.MonkeyPatch):
    place = np.array([[2, 4, 3, 9]])
    histograms = a_bin(place)
    histograms["melodic interval"][0, 2] = 0
    written = Candidates(histograms, np.ones((1, 4), int), np.zeros((1, 4), int), {})
    usual = {name: shares[0] for name, shares in a_bin(np.array([2])).items()}
    monkeypatch.setattr(rank_metrics, "_usual", lambda *_: {"all": usual})
    [scores] = rank_metrics.nearness(Mock(), written, ["all"], 0)
    assert scores.argmax() == 0 and scores.argmin() == 3 and np.isfinite(scores).all()
