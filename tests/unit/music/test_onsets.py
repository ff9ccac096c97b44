"""Held against repeated notes: what the network may see, what is promised whatever the weights, and what it learned."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegen import registry
from musegen.errors import DataError, InputError
from musegen.music import onset_metrics as metrics
from musegen.music import onset_task as t
from musegen.music import onsets as o
from musegen.music.chorale_corpus import music21_chorales, prepare_chorales
from musegen.music.chorales import OUTSIDE
from musegen.train.recipe import from_table, load

N_STEPS = st.integers(1, 40)
SEEDS = st.integers(0, 10_000)


@cache
def tiny() -> o.Onsets:
    """A network whose answers depend on all it sees, as no layer of it is zero."""
    torch.manual_seed(0)
    model = o.Onsets(o.OnsetsConfig(n_layers=3, n_channels=16)).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.zeros_(model.head.bias)
    return model


def example(n_steps: int, seed: int) -> t.Example:
    """Voices that often stay where they are, with rests; whatever begins on a beat or moves is a new note."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(10, 30, (n_steps, 4))
    cells[rng.random(cells.shape) < 0.1] = 0
    for step in range(1, n_steps):
        cells[step] = np.where(rng.random(4) < 0.7, cells[step - 1], cells[step])
    before = np.vstack([np.zeros((1, 4), dtype=np.int64), cells[:-1]])
    places = (np.arange(n_steps) + int(rng.integers(12))) % 12
    onsets = (cells != 0) & ((cells != before) | (places % 4 == 0)[:, None])
    return t.Example(cells, places, np.full(n_steps, 12), onsets)


def logits(model: o.Onsets, cells: np.ndarray, known: np.ndarray, places: np.ndarray, bars: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(*(torch.from_numpy(array)[None] for array in (cells, known, places, bars)))[0].numpy()


# --- The network


@given(N_STEPS, SEEDS, st.integers(-9, 16))
def test_every_key_is_the_same_to_it(n_steps: int, seed: int, semitones: int):
    piece = example(n_steps, seed)
    known = piece.known(t.known_mask(piece.onsets.shape, np.random.default_rng(seed)))
    moved = np.where(piece.cells == 0, 0, piece.cells + semitones)
    here, there = (logits(tiny(), cells, known, piece.places, piece.bars) for cells in (piece.cells, moved))
    assert np.array_equal(here, there)


@given(N_STEPS, SEEDS, st.integers(0, 9), st.integers(0, 9))
def test_what_is_outside_makes_no_difference(n_steps: int, seed: int, before: int, behind: int):
    piece = example(n_steps, seed)
    known = piece.known_voices((0,))
    cells = np.pad(piece.cells, ((before, behind), (0, 0)), constant_values=OUTSIDE)
    places, bars = (np.pad(array, (before, behind)) for array in (piece.places, piece.bars))
    padded = logits(tiny(), cells, np.pad(known, ((before, behind), (0, 0))), places, bars)
    alone = logits(tiny(), piece.cells, known, piece.places, piece.bars)
    assert np.allclose(padded[before : before + n_steps], alone, atol=1e-4)


def test_it_looks_both_ways_and_at_what_is_known():
    piece = example(40, 3)
    known = piece.known_voices(())
    plain = logits(tiny(), piece.cells, known, piece.places, piece.bars)
    for voice, step in ((0, 16), (3, 24)):
        told = known.copy()
        told[:, voice] = np.where(piece.onsets[:, voice], o.BEGINS, o.HELD)
        changed = logits(tiny(), piece.cells, told, piece.places, piece.bars)
        assert (changed[:, [v for v in range(4) if v != voice]] != plain[:, [v for v in range(4) if v != voice]]).any()
        cells = piece.cells.copy()
        cells[step, voice] += 1
        changed = (logits(tiny(), cells, known, piece.places, piece.bars) != plain).any(1)
        assert changed[:step].any() and changed[step + 2 :].any()
    later = logits(tiny(), piece.cells, known, (piece.places + 4) % 12, piece.bars)
    assert (later != plain).any()


def test_wrong_shapes_are_named():
    cells, line = torch.zeros(1, 8, 4, dtype=torch.int64), torch.zeros(1, 8, dtype=torch.int64)
    with pytest.raises(InputError, match=r"places and bars \(B, T\), got .*\(1, 7\)"):
        tiny()(cells, cells, line[:, :7], line)
    with pytest.raises(InputError, match=r"cells and known must be \(B, T, 4\)"):
        tiny()(cells[..., :3], cells[..., :3], line, line)


# --- Where notes begin


@given(N_STEPS, SEEDS, st.integers(0, 6))
def test_where_notes_begin_whatever_the_weights(n_steps: int, seed: int, n_outside: int):
    rng = np.random.default_rng(seed)
    piece = example(n_steps, seed)
    cells = piece.cells.copy()
    cells[n_steps - min(n_outside, n_steps) :] = OUTSIDE
    known = rng.integers(0, 3, cells.shape)
    begins = o.begins(tiny(), cells, known, piece.places, piece.bars)
    scores = logits(tiny(), cells, known, piece.places, piece.bars)
    assert begins.shape == cells.shape and begins.dtype == bool
    for step, voice in np.ndindex(cells.shape):
        cell, found = cells[step, voice], begins[step, voice]
        if cell in (0, OUTSIDE):
            assert not found
        elif step == 0 or cells[step - 1, voice] != cell:
            assert found
        elif known[step, voice] != o.UNKNOWN:
            assert found == (known[step, voice] == o.BEGINS)
        else:
            assert found == (scores[step, voice] > 0)


@given(N_STEPS, SEEDS)
def test_what_is_wholly_known_comes_back(n_steps: int, seed: int):
    piece = example(n_steps, seed)
    known = piece.known(np.ones(piece.onsets.shape, dtype=bool))
    assert np.array_equal(o.begins(tiny(), piece.cells, known, piece.places, piece.bars), piece.onsets)


# --- Training


@pytest.fixture(scope="module")
def bach(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some chorales of either part of the split, and one of neither."""
    numbers = t.catalogue_numbers()
    short = {"bwv66.6", "bwv1.6", "bwv40.3", "bwv26.6", "bwv269", "bwv253", "bwv281", "bwv10.7"}
    assert len(short & set(numbers["train"])) == 4 == len(short & set(numbers["valid"]))
    files = [file for file in music21_chorales() if file.stem in short | {"bwv1.6-inst", "bwv4.3"}]
    folder = tmp_path_factory.mktemp("bach")
    prepare_chorales(folder, files, n_workers=1)
    return folder


def make(data: Path) -> t.OnsetsTask:
    torch.manual_seed(0)
    return t.OnsetsTask(o.OnsetsConfig(n_layers=2, n_channels=16), t.OnsetsTaskConfig(data, batch_size=4, n_beats=12))


def test_the_published_split():
    numbers = t.catalogue_numbers()
    assert list(numbers) == ["train", "valid"] and [len(names) for names in numbers.values()] == [223, 75]
    assert "" not in numbers["train"] and not set(numbers["train"]) & set(numbers["valid"])


def test_what_is_in_neither_part_of_the_split_trains_nothing(bach: Path, tmp_path: Path):
    splits = t.read_examples(bach)
    assert [len(examples) for examples in splits.values()] == [4, 4]
    other = next(file for file in music21_chorales() if file.stem == "bwv253")
    prepare_chorales(tmp_path, [other], n_workers=1)
    with pytest.raises(DataError, match="no chorale of the train split"):
        t.read_examples(tmp_path)


def test_batches_tell_no_lies(bach: Path):
    task = make(bach)
    shares = []
    for seed in range(30):
        cells, known, places, bars, onsets = task.batch("onsets", 0, np.random.default_rng(seed))
        again = task.batch("onsets", 9, np.random.default_rng(seed))
        assert np.array_equal(known, again[1]) and np.array_equal(cells, again[0])
        assert cells.shape == known.shape == onsets.shape == (4, 48, 4) and places.shape == bars.shape == (4, 48)
        told = known != o.UNKNOWN
        assert np.array_equal((known == o.BEGINS)[told], onsets[told])
        shares += told.mean((1, 2)).tolist()
    assert min(shares) == 0 and 0.25 in shares and max(shares) > 0.7 and 0.2 < np.mean(shares) < 0.5


def test_a_crop_of_a_short_piece_is_all_of_it():
    piece = example(10, 0)
    found = t.crop(piece, 16, np.random.default_rng(0))
    assert np.array_equal(found.cells[:10], piece.cells) and (found.cells[10:] == OUTSIDE).all()
    assert np.array_equal(found.onsets[:10], piece.onsets) and not found.onsets[10:].any()
    part = t.crop(piece, 4, np.random.default_rng(1))
    starts = [s for s in range(7) if np.array_equal(piece.cells[s : s + 4], part.cells)]
    assert starts and np.array_equal(part.places, piece.places[starts[0] : starts[0] + 4])


def test_training_lowers_the_loss(bach: Path):
    task = make(bach)
    optimizer = torch.optim.AdamW(task.model.parameters(), 1e-2)
    losses = []
    for step in range(60):
        batch = [torch.from_numpy(array) for array in task.batch("onsets", step, np.random.default_rng(step))]
        loss, _ = task.loss("onsets", batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    task.model.eval()
    with torch.no_grad():
        last = task.validate()
        assert last == task.validate()
    assert last[task.score] == pytest.approx((last["valid_nothing"] + last["valid_soprano"]) / 2)


def test_the_recipe_fits_the_task(bach: Path):
    recipe = load(registry.recipe_path("coconet-onsets"))
    shape = from_table(o.OnsetsConfig, recipe.model_table, "model")
    assert recipe.name == "onsets" and shape == o.PRESETS["coconet-onsets"] == o.OnsetsConfig()
    assert from_table(t.OnsetsTaskConfig, recipe.task_table, "task").data == Path("chorales")
    config = make(bach).checkpoint_config()
    assert json.loads(json.dumps(config)) == config and config["family"] == "onsets"


# --- The weights that ship


def test_the_weights_that_ship_beat_counting(bach: Path):
    model = registry.load_model("coconet-onsets")
    assert isinstance(model, o.Onsets)
    splits = t.read_examples(bach)
    told: list[tuple[str, int, int]] = []
    predictors = {
        "model": metrics.network(model),
        "table": metrics.table(splits["train"]),
        "never": metrics.share(splits["train"]),
    }
    rows = metrics.evaluate(predictors, splits["valid"], lambda *progress: told.append(progress))
    found = {(row["known"], row["predictor"]): row for row in rows}
    assert told[-1] == ("never", 8, 8) and len(rows) == 6
    for known in t.CONDITIONS:
        network, table, never = (found[known, name] for name in predictors)
        assert network["nats"] < table["nats"] < never["nats"] and network["f1"] > table["f1"] > never["f1"] == 0
        # Of all 75 chorales of valid: 0.040 and 0.033 nats, 98.5 % and 98.8 %.
        assert network["nats"] < 0.06 and network["accuracy"] > 0.975 and network["f1"] > 0.7


def test_figures_by_hand():
    cells = np.array([[5, 0, 9, 9], [5, 0, 9, 9], [5, 3, 9, 9], [6, 3, 9, 9]])
    onsets = np.array([[1, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]], dtype=bool)
    piece = t.Example(cells, np.arange(4), np.full(4, 16), onsets)
    doubt = metrics.in_doubt(piece, ())
    expected = [[0, 0, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1]]
    assert np.array_equal(doubt, np.array(expected, dtype=bool))
    p = np.full((4, 4), 0.25)
    p[1, 0] = p[1, 2] = 0.75  # one right, one wrong; of the two that begin one is missed
    rows = metrics.evaluate({"half": lambda piece, voices: p}, [piece])
    row = rows[0]
    assert (row["known"], row["n"], row["precision"], row["recall"], row["f1"]) == ("nothing", 9, 0.5, 0.5, 0.5)
    assert row["accuracy"] == pytest.approx(7 / 9)
    assert row["nats"] == pytest.approx((-2 * np.log(0.25) - 7 * np.log(0.75)) / 9)
    assert rows[1]["known"] == "soprano" and rows[1]["n"] == 7
    assert metrics.share([piece])(piece, ())[0, 0] == pytest.approx(2 / 9)
