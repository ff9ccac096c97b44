"""The networks: shapes, what they see and what they do not see, and how ours treats transposition."""

import numpy as np
import pytest
import torch

from musegen.errors import InputError
from musegen.music.chorales import N_CLASSES, OUTSIDE
from musegen.music.coconet import PRESETS, Coconet, CoconetConfig, planes

SMALL = {
    "straight": CoconetConfig("straight", n_layers=6, n_channels=8),
    "doodle": CoconetConfig("doodle", n_channels=8),
    "rolls": CoconetConfig("rolls", n_layers=3, n_channels=8, n_heads=2),
}
EVERY = pytest.mark.parametrize("network", SMALL)


def random_model(network: str) -> Coconet:
    """A model whose every weight matters: freshly made ones end in zeros."""
    torch.manual_seed(0)
    model = Coconet(SMALL[network]).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


def some_cells(n_steps: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    cells = torch.from_numpy(rng.integers(0, N_CLASSES, (2, n_steps, 4)))
    return cells, torch.from_numpy(rng.random((2, n_steps, 4)) < 0.5)


@EVERY
@pytest.mark.parametrize("n_steps", [1, 16, 21])
def test_any_length_goes_in_and_logits_come_out(network: str, n_steps: int):
    cells, mask = some_cells(n_steps)
    with torch.no_grad():
        logits = random_model(network)(cells, mask)
    assert logits.shape == (2, n_steps, 4, N_CLASSES) and logits.dtype == torch.float32 and logits.isfinite().all()


@EVERY
def test_what_is_masked_is_not_seen(network: str):
    model = random_model(network)
    cells, mask = some_cells(16)
    other = torch.where(mask, some_cells(16, seed=1)[0], cells)
    with torch.no_grad():
        assert torch.equal(model(cells, mask), model(other, mask))
        other[0, 3, 0], mask[0, 3, 0] = 1 + cells[0, 3, 0] % 40, False
        assert not torch.allclose(model(cells, mask), model(other, mask))


@EVERY
def test_every_parameter_learns(network: str):
    model = random_model(network).train()
    cells, mask = some_cells(16)
    model.losses(cells, mask).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@EVERY
def test_the_losses_are_of_the_masked_cells(network: str):
    model = random_model(network)
    cells, mask = some_cells(12)
    with torch.no_grad():
        losses, logits = model.losses(cells, mask), model(cells, mask)
    expected = -logits.log_softmax(-1).gather(-1, cells[..., None])[..., 0][mask]
    assert losses.shape == (int(mask.sum()),) and torch.allclose(losses, expected, atol=1e-5)


def test_planes_say_what_is_known_and_what_is_masked():
    cells = torch.tensor([[[0, 1, 46, 25], [OUTSIDE] * 4]])
    mask = torch.tensor([[[False, False, False, True], [False] * 4]])
    found = planes(cells, mask)[0]
    assert found.shape == (2, 46, 8) and not found[1].any()
    assert found[0, :, :4].nonzero().tolist() == [[0, 1], [45, 2]]
    assert found[0, :, 4:].all(0).tolist() == [False, False, False, True] and found[0, :, 4:7].sum() == 0


def test_rolls_commute_with_transposition():
    """Without the pitch embedding, and far from the lowest and highest pitches, notes moved up move the logits up."""
    model = random_model("rolls")
    model.network.embed_pitch.data.zero_()
    cells, mask = some_cells(16)
    cells = 20 + cells % 6
    with torch.no_grad():
        low, high = (model(moved, mask)[..., 1:] for moved in (cells, cells + 2))
    assert torch.allclose(low[..., 17:27], high[..., 19:29], atol=1e-4)


def test_the_papers_sizes():
    sizes = {name: sum(p.numel() for p in Coconet(PRESETS[name]).parameters()) for name in PRESETS}
    assert sizes["coconet-paper"] == pytest.approx(9.1e6, rel=0.02)
    assert sizes["coconet-doodle"] == pytest.approx(0.55e6, rel=0.05)


def test_wrong_shapes_are_named():
    model = Coconet(SMALL["rolls"])
    with pytest.raises(InputError, match=r"got \(1, 4, 3\) and \(1, 4, 3\)"):
        model(torch.zeros(1, 4, 3, dtype=torch.int64), torch.zeros(1, 4, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="multiple of n_heads"):
        CoconetConfig(n_channels=10, n_heads=4)
    with pytest.raises(InputError, match="even"):
        CoconetConfig("straight", n_layers=5)


@EVERY
def test_predictions_are_the_logits_within_rounding(network: str):
    model = random_model(network)
    cells, mask = some_cells(24)
    predicted, logits = model.predict(cells, mask), model(cells, mask)
    assert not predicted.requires_grad and predicted.dtype == torch.float32 and logits.requires_grad
    difference = (predicted - logits).abs()[mask]
    assert difference.mean() < 0.02 * logits[mask].std()


def test_in_long_music_attention_stays_near():
    """Far notes matter in as many beats as a chorale has, and not in hundreds of them."""
    torch.manual_seed(0)
    model = Coconet(CoconetConfig("rolls", n_layers=1, n_channels=8, n_heads=2, attend_every=1)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        for n_beats, is_seen in ((160, True), (161, False)):
            cells = torch.full((1, 4 * n_beats, 4), 20)
            mask = torch.zeros(cells.shape, dtype=torch.bool)
            mask[:, :8] = True
            other = cells.clone()
            other[:, 40 * 4 :] = 30  # beyond the reach of attention and of the convolution
            same = torch.equal(model(cells, mask)[:, :8], model(other, mask)[:, :8])
            assert same is not is_seen
