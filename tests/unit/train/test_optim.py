import pytest
import torch
from torch import nn

from musegen.train.optim import PhaseOptimizer, rate_factor
from musegen.train.recipe import TrainConfig
from musegen.train.task import OptimizerConfig


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.inner = nn.Linear(4, 4)
        self.raw = nn.Parameter(torch.randn(4, 4))
        self.tied_head = nn.Linear(4, 7, bias=False)
        self.tied_head.weight = self.embed.weight
        self.head = nn.Linear(4, 3)

    def forward(self, tokens):
        x = self.inner(self.norm(self.embed(tokens))) @ self.raw
        return self.head(x).sum() + self.tied_head(x).square().sum()


class OnlyModules:
    muon_excludes = ("head", "embed")

    def __init__(self):
        torch.manual_seed(1)
        self.modules = {"net": Network()}


def optimizer_of(kind="adamw", **settings):
    task = OnlyModules()
    return task.modules["net"], PhaseOptimizer(task, ("net",), OptimizerConfig(kind, **settings))  # type: ignore[arg-type]


def names(optimizer, parameters):
    by_id = {id(p): name for name, p in optimizer.parameters.items()}
    return {by_id[id(p)] for p in parameters}


def test_the_rate_warms_up_stays_and_decays():
    config = TrainConfig(steps=100, warmup_steps=10, decay_steps=20)
    factors = [rate_factor(config, step) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert set(factors[9:80]) == {1.0}
    assert factors[80:] == pytest.approx([1 - n / 20 for n in range(20)])
    assert rate_factor(config, 100) == 0.0
    assert rate_factor(TrainConfig(steps=5), 4) == 1.0


def test_only_matrices_that_are_no_embeddings_decay():
    _, optimizer = optimizer_of(weight_decay=0.3)
    decayed, plain = optimizer.optimizers[0][0].param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert names(optimizer, decayed["params"]) == {"net.inner.weight", "net.raw", "net.head.weight"}
    assert "net.embed.weight" in names(optimizer, plain["params"])


def test_muon_takes_the_hidden_matrices_only():
    _, optimizer = optimizer_of("muon", lr=1e-3, muon_lr=2e-3)
    (muon, muon_peak), (adamw, adamw_peak) = optimizer.optimizers
    assert isinstance(muon, torch.optim.Muon)
    assert (muon_peak, adamw_peak) == (2e-3, 1e-3)
    assert names(optimizer, muon.param_groups[0]["params"]) == {"net.inner.weight"}
    rest = [p for group in adamw.param_groups for p in group["params"]]
    assert len(rest) + 1 == len(optimizer.parameters) == 8


def test_frozen_parameters_are_left_alone():
    task = OnlyModules()
    task.modules["net"].inner.weight.requires_grad_(False)
    optimizer = PhaseOptimizer(task, ("net",), OptimizerConfig("muon"))  # type: ignore[arg-type]
    assert "net.inner.weight" not in optimizer.parameters
    assert len(optimizer.optimizers) == 1


def test_gradients_are_clipped_and_measured():
    network, optimizer = optimizer_of(clip_norm=0.5)
    (network(torch.arange(7)) * 100).backward()
    norm = optimizer.step(1.0)
    assert norm is not None
    assert norm > 0.5
    clipped = torch.stack([p.grad.norm() for p in optimizer.parameters.values() if p.grad is not None]).norm()
    assert float(clipped) == pytest.approx(0.5, rel=1e-3)
    optimizer.clear()
    assert all(p.grad is None for p in optimizer.parameters.values())
    _, unclipped = optimizer_of(clip_norm=0.0)
    assert unclipped.step(1.0) is None


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimizer_goes_on_alike(kind):
    def steps(network, optimizer, n_steps):
        for _ in range(n_steps):
            optimizer.clear()
            network(torch.arange(7)).backward()
            optimizer.step(0.7)

    network, optimizer = optimizer_of(kind)
    steps(network, optimizer, 3)
    other, restored = optimizer_of(kind)
    other.load_state_dict(network.state_dict())
    restored.load_state({name: tensor.clone() for name, tensor in optimizer.state().items()})
    steps(network, optimizer, 2)
    steps(other, restored, 2)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
