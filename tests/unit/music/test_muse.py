"""Muse: its shape, its causality, and its engine against its forward pass."""

import math

import numpy as np
import pytest
import torch

from musegen.music import vocabulary as v
from musegen.music.features import FEATURES
from musegen.music.muse import PRESETS, Muse, MuseConfig
from musegen.music.tasks import build_muse

PATTERNS = ("dense", "fixed", "strided")
every_pattern = pytest.mark.parametrize("pattern", PATTERNS)


def tiny(pattern: str = "fixed", seed: int = 0, **options) -> Muse:
    torch.manual_seed(seed)
    return build_muse(MuseConfig(32, 4, 2, context=48, pattern=pattern, block=8, n_summary=2, **options)).eval()


def some_inputs(n_rows: int, length: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, size, (n_rows, length)) for size in (v.N_TOKENS, *FEATURES.values())]
    return torch.from_numpy(np.stack(columns, axis=-1))


def n_parameters(model: Muse) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "low", "high"), [("muse-small", 5e6, 8e6), ("muse-base", 8e6, 20e6), ("musenet", 2.0e9, 2.1e9)]
)
def test_presets(name: str, low: float, high: float):
    with torch.device("meta"):
        model = build_muse(PRESETS[name])
    assert low <= n_parameters(model) <= high


def test_musenet_is_as_published():
    with torch.device("meta"):
        model = build_muse(PRESETS["musenet"])
    assert len(model.blocks) == 72 and model.blocks[0].attention.n_heads == 24 and model.config.context == 4096
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@every_pattern
def test_causal_by_gradients(pattern: str):
    model, inputs = tiny(pattern), some_inputs(1, 40)
    embedded = model.inputs(inputs).detach().requires_grad_()
    for position in (0, 7, 8, 21, 39):
        x = embedded
        for block in model.blocks:
            x = block(x)
        (gradient,) = torch.autograd.grad(model.head(model.norm(x))[0, position].square().sum(), embedded)
        reached = gradient[0].abs().sum(-1) > 0
        assert reached[position] and not reached[position + 1 :].any()


@every_pattern
def test_what_comes_later_changes_nothing(pattern: str):
    model, inputs = tiny(pattern), some_inputs(2, 40)
    with torch.inference_mode():
        before = model(inputs)
        for column in range(inputs.shape[-1]):
            changed = inputs.clone()
            changed[:, 25:, column] = (changed[:, 25:, column] + 1) % 3
            after = model(changed)
            torch.testing.assert_close(after[:, :25], before[:, :25])
            assert not torch.allclose(after[:, 25], before[:, 25])  # every side feature counts


def test_the_factors_of_a_token_and_its_features_are_summed():
    model, inputs = tiny(), some_inputs(1, 5)
    sizes = [int(v.factors().max()) + 1, *FEATURES.values()]
    firsts = np.cumsum([0, *sizes])
    assert len(model.inputs.embed.weight) == firsts[-1]
    for t in range(5):
        token, *values = inputs[0, t].tolist()
        rows = [row for row in v.factors()[token].tolist() if row]
        rows += [first + value for first, value in zip(firsts[1:], values, strict=False)]
        torch.testing.assert_close(model.inputs(inputs)[0, t], model.inputs.embed.weight[rows].sum(0))


def test_only_targets_are_counted():
    model, inputs = tiny(), some_inputs(2, 12)
    targets = torch.full((2, 12), -1)
    targets[0, 3], targets[1, 5], targets[1, 11] = 7, 0, v.N_TOKENS - 1
    with torch.inference_mode():
        logs = model(inputs).log_softmax(-1)
        losses = model.losses(inputs, targets)
    expected = -torch.stack([logs[0, 3, 7], logs[1, 5, 0], logs[1, 11, v.N_TOKENS - 1]])
    torch.testing.assert_close(losses, expected)


def test_an_untrained_model_knows_nothing():
    torch.manual_seed(0)
    model, inputs = build_muse(PRESETS["muse-small"]), some_inputs(1, 256)
    with torch.inference_mode():
        loss = model.losses(inputs, inputs[..., 0].roll(-1, 1)).mean()
    assert float(loss) == pytest.approx(math.log(v.N_TOKENS), abs=0.3)
