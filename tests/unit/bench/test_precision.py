"""Nats a token, step by step, against the loss of the model on whole sequences."""

import numpy as np
import pytest
import torch

from musegen.bench import precision as bench
from musegen.music import compiled
from musegen.music import vocabulary as v
from musegen.music.features import Place, features
from musegen.music.muse import Muse, MuseConfig
from musegen.music.tasks import build_muse

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="step.c was not compiled")


@pytest.fixture
def model() -> Muse:
    torch.manual_seed(0)
    return build_muse(MuseConfig(64, 2, 2, context=64, qk_norm=True, activation="relu2")).eval()


def test_nats_are_those_of_the_loss(model: Muse):
    rng = np.random.default_rng(0)
    pieces = [np.array([v.START, *rng.integers(0, v.N_TOKENS, n)]) for n in (40, 63)]
    expected = []
    for tokens in pieces:
        inputs = np.concatenate([tokens[:, None], features(tokens, Place())], axis=1)
        with torch.inference_mode():
            losses = model.losses(torch.from_numpy(inputs[None, :-1]), torch.from_numpy(tokens[None, 1:]))
        expected.append(losses.numpy())
    made = bench.losses_of(model, "float32", pieces)
    assert len(made) == 40 + 63
    assert made.mean() == pytest.approx(np.concatenate(expected).mean(), abs=1e-5)
    assert bench.losses_of(model, "int8", pieces).mean() == pytest.approx(made.mean(), abs=0.02)


def test_what_the_model_writes_is_judged_where_there_is_no_data(model: Muse, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "muse", lambda _: model)
    rows = bench.nats_of_precisions(None, lambda *_: None)
    assert [row["precision"] for row in rows] == list(bench.PRECISIONS)
    assert {row["tokens"] for row in rows} == {bench._PIECES * 63}
    assert rows[0]["more_than_float32"] == "+0.00000"
    assert all(tokens[0] == v.START and len(tokens) == 64 for tokens in bench.written(model, 2))
