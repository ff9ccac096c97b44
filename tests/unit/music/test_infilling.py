"""What Coconet is trained on: crops, masks, weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musegen import api, registry
from musegen.errors import DataError
from musegen.midi.score import Score, Track
from musegen.music import infilling as i
from musegen.music.chorales import N_CLASSES, OUTSIDE, RANGES, VOICES, to_grid, write_chorales
from musegen.music.coconet import PRESETS, CoconetConfig
from musegen.music.voices import notes_of, onsets_of
from musegen.train.recipe import from_table, load

TINY = CoconetConfig(n_layers=3, n_channels=8, n_heads=2)


def piece(n_steps: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(low + 4, high - 3, n_steps) for low, high in RANGES], axis=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "chorales.json"
    write_chorales(path, {"train": [piece(100, 0), piece(20, 1)], "valid": [piece(22, 2), piece(40, 3)]})
    return path


def make(data: Path, **options) -> i.CoconetTask:
    torch.manual_seed(0)
    return i.CoconetTask(TINY, i.CoconetTaskConfig(data, batch_size=8, n_beats=8, n_valid=3, **options))


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.3)])
def test_batches(data: Path, shares: tuple[float, float]):
    task = make(data, chronological=shares[0], requests=shares[1])
    cells, mask, weights = task.batch("infilling", 0, np.random.default_rng(0))
    again = make(data, chronological=shares[0], requests=shares[1]).batch("infilling", 5, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip((cells, mask, weights), again, strict=True))
    assert cells.shape == mask.shape == weights.shape == (8, 32, 4)
    assert ((cells >= 0) & (cells <= OUTSIDE)).all() and not (mask & (cells == OUTSIDE)).any()
    assert (weights[~mask] == 0).all() and (weights >= 0).all() and weights.sum((1, 2)) == pytest.approx(1 / 8)
    assert mask.any((1, 2)).all()


def test_crops_stay_in_the_voices_ranges(data: Path):
    task = make(data)
    shifts = set()
    for seed in range(40):
        cells, _, _ = task.batch("infilling", 0, np.random.default_rng(seed))
        for voice, (low, high) in enumerate(RANGES):
            pitches = to_grid(cells[..., voice][cells[..., voice] != OUTSIDE])
            assert low <= pitches.min() and pitches.max() <= high
        shifts.add(int(to_grid(cells[..., 0][cells[..., 0] != OUTSIDE]).min()))
    assert len(shifts) > 3


@given(st.integers(1, 60), st.integers(3, 12), st.integers(0, 1000))
def test_a_crop_is_part_of_its_piece(n_steps: int, n_beats: int, seed: int):
    cells = np.arange(n_steps * 4).reshape(n_steps, 4) % N_CLASSES
    found = i.crop(cells, n_beats, np.random.default_rng(seed))
    assert found.shape == (n_beats * 4, 4)
    inside = found[(found != OUTSIDE).all(1)]
    assert ((found == OUTSIDE).any(1) == (found == OUTSIDE).all(1)).all()
    starts = range(len(cells) - len(inside) + 1)
    assert any(np.array_equal(inside, cells[start : start + len(inside)]) for start in starts)
    if n_steps <= (n_beats - 2) * 4:
        assert len(inside) == n_steps


def test_the_number_of_masked_cells_is_uniform():
    cells = np.zeros((5, 4), dtype=np.int64)
    cells[4] = OUTSIDE
    rng = np.random.default_rng(0)
    counts = np.bincount([i.random_mask(cells, rng.random(), rng).sum() for _ in range(3200)], minlength=17)
    assert counts[0] == 0 and len(counts) == 17 and (abs(counts[1:] - 200) < 60).all()
    masks = sum(i.random_mask(cells, 0.5, rng).astype(int) for _ in range(1600))
    assert (masks[4] == 0).all() and (abs(masks[:4] - 900) < 100).all()


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 1000))
def test_shares_spread_over_pieces_and_masks(n_pieces: int, n_masks: int, seed: int):
    shares = i.spread_shares(n_pieces, n_masks, np.random.default_rng(seed))
    assert shares.shape == (n_pieces, n_masks) and np.array_equal((shares * n_masks).astype(int)[0], range(n_masks))
    assert np.array_equal(np.sort((shares * n_masks * n_pieces).astype(int), axis=None), range(n_pieces * n_masks))


@pytest.mark.parametrize("share", [0.0, 0.4, 0.999])
def test_chronological_masks(share: float):
    cells = np.zeros((6, 4), dtype=np.int64)
    cells[0] = OUTSIDE
    mask, weights = i.chronological_mask(cells, share)
    assert np.array_equal(mask.ravel(), np.arange(24) >= 4 + int(share * 20))
    assert weights.sum() == pytest.approx(1) and weights.argmax() == mask.argmax()
    assert (np.diff(weights.ravel()[mask.ravel()]) < 0).all()


def test_masks_that_users_ask_for():
    cells = np.zeros((10, 4), dtype=np.int64)
    cells[:2] = OUTSIDE
    whole, spans = 0, 0
    for seed in range(200):
        mask = i.request_mask(cells, np.random.default_rng(seed))
        steps, voices = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        assert mask.any() and not mask[:2].any() and mask.sum() == len(steps) * len(voices)
        assert np.array_equal(steps, np.arange(steps[0], steps[-1] + 1))
        whole += len(steps) == 8 and len(voices) < 4
        spans += len(steps) < 8
    assert whole > 50 and spans > 50


def test_loss_and_validation(data: Path):
    task = make(data)
    batch = [torch.from_numpy(array) for array in task.batch("infilling", 0, np.random.default_rng(0))]
    loss, _ = task.loss("infilling", batch)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(N_CLASSES), abs=1e-4)  # the heads start at zero
    with torch.no_grad():
        found = task.validate()
        assert found == task.validate()
    assert found == pytest.approx(dict.fromkeys(found, np.log(N_CLASSES)), abs=1e-4)
    config = task.checkpoint_config()
    assert json.loads(json.dumps(config)) == config and CoconetConfig(**config["model"]) == TINY


def test_a_split_is_missing(tmp_path: Path):
    write_chorales(tmp_path / "a.json", {"train": [piece(8, 0)]})
    with pytest.raises(DataError, match="no valid split"):
        i.CoconetTask(TINY, i.CoconetTaskConfig(tmp_path / "a.json"))


@pytest.mark.parametrize("name", ["coconet-rolls", "coconet-doodle", "coconet-paper"])
def test_recipes_fit_the_task(name: str):
    recipe = load(registry.recipe_path(name))
    assert recipe.name == "coconet" and from_table(CoconetConfig, recipe.model_table, "model") == PRESETS[name]
    assert from_table(i.CoconetTaskConfig, recipe.task_table, "task").n_beats >= 16


# --- A folder of scores


def write_score(path: Path, grid: np.ndarray, names: tuple[str, ...] = VOICES) -> None:
    tracks = [
        Track(name, 52, False, notes=notes_of(grid[:, voice], onsets_of(grid)[:, voice], 480))
        for voice, name in enumerate(names)
    ]
    Score(480, tuple(tracks)).write(path)


def test_a_folder_of_scores(tmp_path: Path):
    grids = [piece(16, seed) for seed in range(21)]
    (tmp_path / "more").mkdir()
    for number, grid in enumerate(grids):
        write_score(tmp_path / ("more" if number % 2 else "") / f"{number}.mid", grid)
    write_score(tmp_path / "copy.mid", grids[0])
    write_score(tmp_path / "duet.mid", grids[0], VOICES[:2])
    (tmp_path / "notes.txt").write_text("no score")
    with pytest.warns(UserWarning, match=r"1 of 23 scores are left out: duet\.mid: score must have a track each"):
        splits = i.read_folder(tmp_path)
    assert [len(splits[name]) for name in ("train", "valid")] == [19, 2]
    found = sorted(grid.tolist() for split in splits.values() for grid in split)
    assert found == sorted(grid.tolist() for grid in grids)  # the copy counts once
    (tmp_path / "duet.mid").unlink()
    (tmp_path / "0.mid").rename(tmp_path / "z.mid")
    again = i.read_folder(tmp_path)
    assert all(np.array_equal(a, b) for name in splits for a, b in zip(splits[name], again[name], strict=True))
    task = make(tmp_path)
    assert len(task.train) == 19 and np.isfinite(task.batch("infilling", 0, np.random.default_rng(0))[2]).all()


def test_a_folder_without_scores_to_train_on(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no score files; their names end in one of \.mid"):
        make(tmp_path)
    write_score(tmp_path / "a.mid", piece(16, 0))
    write_score(tmp_path / "duet.mid", piece(16, 1), VOICES[:2])
    with pytest.raises(DataError, match=r"two different scores in four parts or more, got 1; duet\.mid: score must"):
        make(tmp_path)


def test_data_is_short_for_a_setting(tmp_path: Path):
    with pytest.raises(DataError, match=r"it's none\.json cannot be read"):
        api.train("coconet-doodle", data=tmp_path / "it's none.json", out=tmp_path / "run")
