"""Pieces written side by side, by a model that was taught nothing but tells wishes apart."""

import pytest
import torch

from musegen.core.sampling import Sampling
from musegen.music import vocabulary as v
from musegen.music.generate import Generation, _engine
from musegen.music.grammar import MuseGuide
from musegen.music.muse import Muse, MuseConfig
from musegen.music.requests import Request
from musegen.music.tasks import build_muse
from musegen.music.tokenizer import Controls


@pytest.fixture(scope="module")
def model() -> Muse:
    torch.manual_seed(0)
    return build_muse(MuseConfig(d_model=32, n_heads=2, n_layers=2, context=1024)).eval()


def written(model: Muse, requests: list[Request], guidance: float) -> list[list]:
    generation = Generation(model, requests, Sampling(guidance=guidance), seed=1)
    events: list[list] = [[] for _ in requests]
    for row, event in generation:
        events[row].append(event)
    assert all(grid.n_bars == request.n_bars for grid, request in zip(generation.grids(), requests, strict=True))
    return events


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_guidance_is_by_the_wishes_and_each_row_has_its_own(model: Muse, guidance: float):
    plain = Request(Controls(instruments=(0,)), 3)
    wishes = ({"style": 4}, {"key": 9, "density": 1})
    styled = [Request(Controls(instruments=(0,), **wish), 3) for wish in wishes]
    as_taught = written(model, [*styled, plain], 1.0)
    guided = written(model, [*styled, plain], guidance)
    assert guided[2] == as_taught[2]
    assert (guided[:2] == as_taught[:2]) == (guidance == 1)
    # A row is the same whatever is beside it, and without wishes there is nothing to guide by.
    assert written(model, [styled[0]], guidance)[0] == guided[0]
    if not guidance:
        assert written(model, [plain], 1.0) == written(model, [styled[0]], 0.0)


@pytest.mark.parametrize(("guidance", "as_taught"), [(3.0, True), (0.0, False)])
def test_lengths_and_loudness_are_never_more_than_as_taught(model: Muse, guidance: float, as_taught: bool):
    request = Request(Controls(style=4, instruments=(0,)), 3)
    prompt = torch.from_numpy(MuseGuide(request, 64).prompt())[None]
    with torch.inference_mode():
        taught, guided = (_engine(model, [request], scale).prefill(prompt, slice(0, 1))[0] for scale in (1.0, guidance))
    assert torch.equal(taught[v.LENGTH.slice], guided[v.LENGTH.slice]) == as_taught
    assert not torch.isclose(taught[v.NOTE.slice], guided[v.NOTE.slice]).all()
