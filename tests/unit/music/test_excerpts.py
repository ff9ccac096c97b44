"""What the critic reads: real and written music, told apart by the music alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from musegen.core.checkpoint import save
from musegen.core.sampling import Sampling
from musegen.midi.instruments import DRUMS
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus, prepare_corpus
from musegen.music.critic_task import read_judged
from musegen.music.excerpts import as_written, excerpts, hidden_states, prepare_excerpts, request_for
from musegen.music.features import UNKNOWN
from musegen.music.grid import GridScore
from musegen.music.muse import MuseConfig
from musegen.music.reference import N_BARS
from musegen.music.tasks import build_muse
from musegen.music.tokenizer import Controls

FOUR_FOUR = v.METER_INDEX[4, 4]
SHAPE = MuseConfig(d_model=32, n_heads=2, n_layers=1, context=256)
CONTROLS = Controls(style=0, instruments=(0,), key=3, tempo=30, meter=FOUR_FOUR, density=1)


def piece(n_bars: int, a_bar: int = 4, seed: int = 0) -> GridScore:
    """So many notes of a piano in each bar, evenly."""
    rng, n = np.random.default_rng(seed), n_bars * a_bar
    notes = [np.arange(n) * 96 // a_bar, np.zeros(n), rng.integers(50, 70, n), np.full(n, 6), rng.integers(2, 6, n)]
    return GridScore(np.full(n_bars, FOUR_FOUR), np.full(n_bars, 30), np.stack(notes, 1).astype(int))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_muse(SHAPE).eval()


def test_neither_place_nor_wishes_nor_the_ending_are_read(model):
    [read] = excerpts(piece(16), CONTROLS, 256)
    assert (read.rows[:, 4:] == UNKNOWN).all()
    assert not set(read.rows[:, 0]) & {v.KEY.first + 3, v.DENSITY.first + 1, v.END}
    assert (read.rows[:, 0] == v.BAR).sum() == 14
    assert read.rows[read.first, 0] == v.BAR and (read.rows[: read.first, 0] == v.BAR).sum() == 1
    whole = piece(16)
    other = replace(whole, notes=np.concatenate([whole.notes[: 14 * 4], piece(16, seed=1).notes[14 * 4 :]]))
    torch.testing.assert_close(hidden_states(model, other, CONTROLS), hidden_states(model, whole, CONTROLS))


def test_a_long_or_full_piece_is_read_in_stretches_that_fit(model):
    for grid in (piece(50), piece(20, a_bar=24), piece(3, a_bar=96)):
        read = excerpts(grid, CONTROLS, 256)
        assert all(0 < one.first < len(one.rows) <= 256 for one in read)
        lines = [int((one.rows[:, 0] == v.BAR).sum()) for one in read]
        assert sum(lines) == grid.n_bars - 2 and max(lines) <= N_BARS
        assert len(hidden_states(model, grid, CONTROLS)) == sum(len(one.rows) - one.first for one in read)


def test_of_a_continued_piece_only_the_new_bars_count(model):
    read = excerpts(piece(12), CONTROLS, 256, first_bar=6)
    [one] = read
    assert (one.rows[:, 0] == v.BAR).sum() == 8  # four that lead there, and four of the six new ones
    assert (one.rows[one.first :, 0] == v.BAR).sum() == 4
    for new in (1, 2, 3):
        assert len(hidden_states(model, piece(6 + new), CONTROLS, 6))


def test_a_real_window_becomes_what_muse_may_write():
    window = piece(16)
    held = window.notes.copy()
    held[:, 2], held[:, 3] = 60, 36  # longer than it is until the same key is struck again
    drums = np.array([[0, DRUMS, 40, 6, 4], [3, DRUMS, 40, 6, 4], [9, DRUMS, 40, 6, 4], [1535, 0, 61, 96, 4]])
    tempos = np.repeat([29, 31], 8)
    grid = GridScore(window.meters, tempos, np.concatenate([held, drums]))
    request = request_for(grid, style=2)
    written = as_written(grid, request)
    assert written is not None
    assert request.controls == Controls(2, (0, DRUMS), tempo=30, meter=FOUR_FOUR)
    assert (written.tempos == 30).all()
    piano = written.notes[written.notes[:, 1] == 0]
    assert (piano[piano[:, 2] == 60, 3] == 24).all() and len(piano) == 65
    assert piano[-1].tolist() == [1535, 0, 61, 1, 4]  # held until the last bar line
    assert written.notes[written.notes[:, 1] == DRUMS, 0].tolist() == [0, 9]


def test_windows_that_muse_may_not_write_are_left_out():
    window = piece(16)
    meters = np.array([FOUR_FOUR] * 8 + [v.METER_INDEX[3, 4]] * 8)
    late = window.notes.copy()
    late[-1, 1] = 38  # enters in the last bar
    for grid in (
        replace(window, notes=window.notes[4:]),  # begins with an empty bar
        replace(window, notes=late),
        GridScore(meters, window.tempos, window.notes[:40]),
    ):
        assert as_written(grid, request_for(grid, 0)) is None
    assert as_written(window, request_for(window, 0)) == window


def test_both_kinds_are_made_once_and_read_back(tmp_path: Path, model):
    for n in range(12):
        path = tmp_path / "raw" / "bach" / f"{n}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        piece(18, seed=n).to_score().write(path)
    prepare_corpus(tmp_path / "raw", tmp_path / "shards", n_workers=1)
    config = {"family": "muse", "model": vars(SHAPE), "vocabulary": v.fingerprint(), "styles": ["bach"]}
    save(tmp_path / "muse", model.state_dict(), config)
    corpus = Corpus(tmp_path / "shards")
    wanted = (corpus, tmp_path / "muse", tmp_path / "out", Sampling(1.0, 5), 4, 1, 1)
    made = prepare_excerpts(*wanted)
    assert not made.failures
    splits, meta = read_judged(tmp_path / "out")
    assert meta["d_model"] == 32
    assert [len(splits[name]) for name in ("train", "valid")] == [8, 2]
    for name, judged in splits.items():
        assert {corpus.splits[one.piece] for one in judged} == {name}
        assert [one.is_real for one in judged] == [True, False] * (len(judged) // 2)
        assert all(one.hidden.shape[1] == 32 and len(one.hidden) > 50 for one in judged)
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*/hidden.npy")}
    prepare_excerpts(*wanted)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*/hidden.npy")} == shards
    for n in range(12):  # other music under the same names
        piece(18, seed=n + 12).to_score().write(tmp_path / "raw" / "bach" / f"{n}.mid")
    prepare_corpus(tmp_path / "raw", tmp_path / "shards", n_workers=1)
    prepare_excerpts(Corpus(tmp_path / "shards"), *wanted[1:])
    assert not shards.keys() & set((tmp_path / "out").glob("shard-*/hidden.npy"))
