"""Each engine against the forward pass of the model that it decodes."""

import ctypes
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.core.decode import Engine, decode
from musegen.core.sampling import Sampling
from musegen.errors import InputError
from musegen.music import compiled
from musegen.music import vocabulary as v
from musegen.music.compiled import PRECISIONS, CompiledEngine, can_compile
from musegen.music.engines import NumpyEngine, engine_for
from musegen.music.features import FEATURES
from musegen.music.grammar import MuseGuide
from musegen.music.muse import Muse, MuseConfig, MuseEngine
from musegen.music.requests import Request
from musegen.music.tasks import build_muse
from musegen.music.tokenizer import Controls

is_compiled = pytest.mark.skipif(compiled.library() is None, reason="step.c was not compiled")
NEWER = {"qk_norm": True, "activation": "relu2"}


def tiny(pattern: str = "dense", d_model: int = 64, n_heads: int = 2, **options) -> Muse:
    torch.manual_seed(0)
    shape = MuseConfig(d_model, n_heads, 2, context=48, pattern=pattern, block=8, n_summary=2, **options)
    model = build_muse(shape).eval()
    for name, parameter in model.named_parameters():  # as training leaves them: no bias is 0, no norm plain
        if name.endswith("bias") or "norm" in name or "gain" in name:
            torch.nn.init.normal_(parameter, mean=float(name.endswith(("weight", "gain"))), std=0.2)
    return model


def some_inputs(n_rows: int, length: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, size, (n_rows, length)) for size in (v.N_TOKENS, *FEATURES.values())]
    return torch.from_numpy(np.stack(columns, axis=-1))


ENGINES = [
    *(pytest.param(MuseEngine, tiny(pattern), id=f"torch-{pattern}") for pattern in ("dense", "fixed", "strided")),
    pytest.param(NumpyEngine, tiny(), id="numpy"),
    pytest.param(NumpyEngine, tiny(**NEWER), id="numpy-newer"),
    *(
        pytest.param(
            CompiledEngine,
            tiny(d_model=d_model, n_heads=n_heads, **options),
            id=f"compiled-{d_model}-{n_heads}-{len(options)}",
            marks=is_compiled,
        )
        for d_model, n_heads in ((64, 1), (64, 2), (96, 2), (64, 4), (224, 2))
        for options in ({}, NEWER)
    ),
]


@pytest.mark.parametrize(("kind", "model"), ENGINES)
def test_an_engine_gives_the_logits_of_forward(kind: Callable[[Muse, int], Engine], model: Muse):
    inputs, n_rows = some_inputs(7, 48), 7
    engine = kind(model, n_rows)
    lengths = [3, 17, 8, 1, 16, 31, 48]
    with torch.inference_mode():
        expected = model(inputs)
        for row, length in enumerate(lengths):
            logits = engine.prefill(inputs[row : row + 1, :length], slice(row, row + 1))
            torch.testing.assert_close(logits[0], expected[row, length - 1], atol=1e-5, rtol=1e-4)
        for step in range(66):
            # Rows rest in turn, and those that are full rest for good.
            active = torch.tensor([lengths[row] < 48 and (step + row) % 4 > 0 for row in range(n_rows)])
            batch = torch.stack([inputs[row, min(lengths[row], 47)] for row in range(n_rows)])
            batch[~active] = 1
            logits = engine.step(batch, active)
            for row in active.nonzero().flatten().tolist():
                torch.testing.assert_close(logits[row], expected[row, lengths[row]], atol=1e-5, rtol=1e-4)
                lengths[row] += 1
        assert lengths == [48] * 7 == engine.positions.tolist()  # type: ignore[attr-defined]
        # Neighbours start anew together, shorter than they were, while the others keep what they have.
        logits = engine.prefill(inputs[1:3, :9], slice(1, 3))
        torch.testing.assert_close(logits, expected[1:3, 8], atol=1e-5, rtol=1e-4)
        logits = engine.step(inputs[:, 9], torch.tensor([False, True, True, *[False] * 4]))
        torch.testing.assert_close(logits[1:3], expected[1:3, 9], atol=1e-5, rtol=1e-4)
        assert engine.positions.tolist() == [48, 10, 10, 48, 48, 48, 48]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (partial(NumpyEngine, int8=True), 0.999),
        *(
            pytest.param(partial(CompiledEngine, precision=precision), least, marks=is_compiled)
            for precision, least in (("bfloat16", 0.9999), ("int8", 0.999))
        ),
    ],
)
@pytest.mark.parametrize("options", [{}, NEWER])
def test_fewer_bits_come_near(kind: Callable[[Muse, int], Engine], least: float, options: dict):
    model, inputs = tiny(**options), some_inputs(2, 20)
    rough = kind(model, 2)
    with torch.inference_mode():
        expected = model(inputs)
        rough.prefill(inputs[:, :10], slice(0, 2))
        for t in range(10, 20):
            made = rough.step(inputs[:, t], torch.ones(2, dtype=torch.bool))
            assert torch.cosine_similarity(made, expected[:, t], dim=1).min() > least
            assert (made - expected[:, t]).abs().max() > 1e-4


@is_compiled
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_compiled_row_is_the_same_to_the_bit_whatever_is_beside_it(
    precision: compiled.Precision, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(compiled, "_SHARE", 2)
    model, inputs = tiny(**NEWER), some_inputs(6, 40)
    many, alone = CompiledEngine(model, 6, precision), CompiledEngine(model, 1, precision)
    with torch.inference_mode():
        for row in range(6):
            many.prefill(inputs[row : row + 1, :10], slice(row, row + 1))
        for row in range(6):
            alone.prefill(inputs[row : row + 1, :10], slice(0, 1))
            many.positions[:] = 10
            for t in range(10, 40):
                together = many.step(inputs[:, t], torch.ones(6, dtype=torch.bool))
                assert torch.equal(together[row : row + 1], alone.step(inputs[row : row + 1, t], torch.ones(1) > 0))


def test_8_bits_need_whole_words():
    model = build_muse(MuseConfig(24, 2, 1, context=48)).eval()
    with pytest.raises(InputError, match="multiples of 32, got 24"):
        NumpyEngine(model, 1, int8=True)


@pytest.mark.parametrize(
    "model",
    [tiny("fixed"), tiny().bfloat16(), tiny(d_model=72, n_heads=3), build_muse(MuseConfig(64, 2, 1, context=40))],
)
def test_what_cannot_be_compiled_is_decoded_otherwise(model: Muse):
    assert not can_compile(model)
    with pytest.raises(InputError, match="no compiled step"):
        CompiledEngine(model, 1)
    assert type(engine_for(model, 2)) in (NumpyEngine, MuseEngine)


@is_compiled
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="there is no other build to try")
@pytest.mark.parametrize("options", [{}, NEWER])
def test_older_processors_have_a_build_of_their_own(options: dict, monkeypatch: pytest.MonkeyPatch):
    older = compiled.library("AVX2")
    assert older is not None and older is not compiled.library()
    monkeypatch.setattr(compiled, "library", lambda: older)
    model, inputs = tiny(**options), some_inputs(3, 40)
    with torch.inference_mode():
        expected = model(inputs)
        for precision, tolerance in (("float32", 1e-5), ("bfloat16", 0.02), ("int8", 0.1)):
            engine = CompiledEngine(model, 3, precision)
            engine.prefill(inputs[:, :20], slice(0, 3))
            for t in range(20, 40):
                made = engine.step(inputs[:, t], torch.ones(3, dtype=torch.bool))
                torch.testing.assert_close(made, expected[:, t], atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize(("kind", "model"), ENGINES)
def test_a_full_row_is_not_written_to(kind: Callable[[Muse, int], Engine], model: Muse):
    engine, inputs = kind(model, 2), some_inputs(2, 48)
    with torch.inference_mode():
        expected = model(inputs)
        engine.prefill(inputs, slice(0, 2))
        engine.prefill(inputs[:1, :9], slice(0, 1))
        engine.step(inputs[:, 9], torch.tensor([True, False]))
        with pytest.raises(InputError, match="holds 48 inputs already"):
            engine.step(inputs[:, 10], torch.tensor([True, True]))
        logits = engine.step(inputs[:, 10], torch.tensor([True, False]))  # nothing has changed
        torch.testing.assert_close(logits[0], expected[0, 10], atol=1e-5, rtol=1e-4)


@is_compiled
def test_what_was_compiled_from_another_file_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for file in (compiled._SOURCE, compiled.library_file()):
        shutil.copy(file, tmp_path)
    source, look = tmp_path / "step.c", compiled.library.__wrapped__
    monkeypatch.setattr(compiled, "_SOURCE", source)
    assert look() is not None
    source.write_bytes(source.read_bytes() + b"/* edited */")
    assert look() is None and compiled.library_file().exists()
    ctypes.CDLL(str(compiled.library_file()))  # which could be loaded


@is_compiled
def test_the_engine_is_the_fastest_that_fits(monkeypatch: pytest.MonkeyPatch):
    model = tiny()
    assert type(engine_for(model, 2)) is CompiledEngine
    monkeypatch.setattr(compiled, "library", lambda: None)
    assert type(engine_for(model, 2)) is NumpyEngine
    assert type(engine_for(tiny("fixed"), 2)) is MuseEngine


@is_compiled
def test_compiled_or_not_the_same_piece_is_written():
    model, written = tiny(**NEWER), []
    for kind in (NumpyEngine, CompiledEngine):
        guides = [MuseGuide(Request(Controls(instruments=(0,)), 2), 48) for _ in range(2)]
        written.append([step.tokens for step in decode(kind(model, 2), guides, Sampling(top_p=0.9), seed=3)])
    assert len(written[0]) > 48  # longer than the context
    assert written[0] == written[1]
