"""A folder of MIDI to shards: labels, editions, splits, what cannot be read, and doing it again."""

import json
from pathlib import Path

import numpy as np
import pytest

from musegen.errors import DataError
from musegen.midi.instruments import DRUMS
from musegen.midi.score import Score
from musegen.music import corpus as corpus_module
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus, editions, find_files, prepare_corpus, prepare_file, sketch, split, summary
from musegen.music.grid import INSTRUMENT, PITCH, VELOCITY, GridScore, quantise
from musegen.music.tokenizer import decode


def music(seed: int, n_notes: int = 120, instrument: int = 0) -> GridScore:
    rng = np.random.default_rng(seed)
    n_bars = n_notes // 8 + 1
    instruments, durations = np.full(n_notes, instrument), np.full(n_notes, 12)
    pitches, velocities = rng.integers(45, 80, n_notes), rng.integers(0, 8, n_notes)
    notes = np.stack([np.arange(n_notes) * 12, instruments, pitches, durations, velocities], 1)
    return GridScore(np.full(n_bars, v.METER_INDEX[4, 4]), np.full(n_bars, 30), notes)


def edition(grid: GridScore, seed: int) -> GridScore:
    """The same work: transposed, with other dynamics, tempo and instruments, and a bar shorter."""
    rng = np.random.default_rng(seed)
    notes = grid.notes[: len(grid.notes) - 8].copy()
    notes[:, PITCH] += rng.integers(-6, 7)
    notes[:, VELOCITY] = rng.integers(0, 8, len(notes))
    notes[:, INSTRUMENT] = np.where(notes[:, PITCH] < 60, 19, 17)
    return GridScore(grid.meters, np.full(grid.n_bars, rng.integers(10, 40)), notes)


def fill(folder: Path, **grids: GridScore) -> Path:
    for name, grid in grids.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        grid.to_score().write(path.with_suffix(".mid"))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Two labels of twelve works each, one of them in three editions, and three files that cannot be used."""
    folder = tmp_path_factory.mktemp("raw")
    grids = {f"{label}__{n}": music(100 * k + n) for k, label in enumerate(("bach", "chopin")) for n in range(12)}
    grids |= {f"chopin__other_{n}": edition(grids["chopin__3"], n) for n in range(2)}
    fill(folder, **grids)
    (folder / "bach" / "broken.mid").write_bytes(b"MThd\0\0\0\6\0\1")
    (folder / "bach" / "words.midi").write_text("not music")
    (folder / "chopin" / "readme.txt").write_text("not music that musegen reads, and not looked at")
    Score(480).write(folder / "chopin" / "silent.mid")
    return folder


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    prepare_corpus(raw, out, n_workers=1)
    return out


def test_the_pieces_are_those_of_the_files(raw: Path, prepared: Path):
    corpus = Corpus(prepared)
    assert len(corpus) == 26 and corpus.styles == ["bach", "chopin"]
    for index, (path, label) in enumerate(zip(corpus.paths, corpus.labels, strict=True)):
        grid, _ = quantise(Score.read(raw / path))
        piece = corpus.piece(index)
        assert path.startswith(label) and piece.n_bars == grid.n_bars
        assert decode(piece.tokens) == grid and len(piece.tokens) == corpus.n_tokens[index] == piece.bar_starts[-1]
        assert np.array_equal(piece.meters, grid.meters) and np.array_equal(piece.tempos, grid.tempos)


def test_the_report(prepared: Path):
    report = summary(Corpus(prepared))
    assert (report["files"], report["readable"], report["works"]) == (29, 26, 24)
    assert report["n_notes"] == 24 * 120 + 2 * 112 and report["labels"] == {"chopin": 14, "bach": 12}
    assert sum(report["splits"].values()) == 26
    reasons = {Path(failure["item"]).name: failure["reason"] for failure in report["failures"]}
    assert reasons.keys() == {"broken.mid", "words.midi", "silent.mid"}
    assert "not music that musegen reads" in reasons["words.midi"] and reasons["silent.mid"] == "no notes"
    assert json.loads(json.dumps(report)) == report


def test_editions_of_one_work_are_in_one_split(prepared: Path):
    corpus = Corpus(prepared)
    where = dict(zip(corpus.paths, zip(corpus.works, corpus.splits, strict=True), strict=True))
    assert where["chopin/3.mid"] == where["chopin/other_0.mid"] == where["chopin/other_1.mid"]
    for label in corpus.styles:
        splits = [s for s, one in zip(corpus.splits, corpus.labels, strict=True) if one == label]
        assert splits.count("valid") >= 1 and splits.count("test") >= 1 and splits.count("train") >= 8


def test_a_second_run_gives_the_same_folder(raw: Path, prepared: Path, tmp_path: Path):
    before = contents(prepared)
    prepare_corpus(raw, prepared, n_workers=1)
    assert contents(prepared) == before
    prepare_corpus(raw, tmp_path / "fresh", n_workers=1)
    assert contents(tmp_path / "fresh") == before


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch):
    folder, out = tmp_path / "raw", tmp_path / "out"
    fill(folder, **{f"{n}": music(n, n_notes=16) for n in range(70)})  # two chunks
    done: list[str] = []

    def interrupted(path):
        if len(done) == 66:
            raise KeyboardInterrupt
        done.append(str(path))
        return prepare_file(path)

    interrupted.__module__, interrupted.__qualname__ = prepare_file.__module__, prepare_file.__qualname__
    monkeypatch.setattr(corpus_module, "prepare_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(folder, out, n_workers=1)
    with pytest.raises(DataError):
        Corpus(out)
    again: list[str] = []

    def counted(path):
        again.append(str(path))
        return prepare_file(path)

    counted.__module__, counted.__qualname__ = prepare_file.__module__, prepare_file.__qualname__
    monkeypatch.setattr(corpus_module, "prepare_file", counted)
    assert prepare_corpus(folder, out, n_workers=1)["readable"] == 70
    assert len(again) == 6
    prepare_corpus(folder, tmp_path / "whole", n_workers=1)
    assert contents(tmp_path / "whole") == contents(out)


def test_labels_of_a_manifest(tmp_path: Path):
    fill(tmp_path, a=music(1), b__c=music(2), unlisted=music(3))
    (tmp_path / "manifest.csv").write_text("\ufefflabel,year,path\nJoplin,1899,a.mid\nSatie,1888,b/c.mid\n", "utf-8")
    assert find_files(tmp_path) == {tmp_path / "a.mid": "Joplin", tmp_path / "b" / "c.mid": "Satie"}
    prepare_corpus(tmp_path, tmp_path / "out", n_workers=1)
    assert Corpus(tmp_path / "out").labels == ["Joplin", "Satie"]


def test_a_manifest_may_name_files_elsewhere(tmp_path: Path):
    fill(tmp_path / "elsewhere", a=music(1))
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "manifest.csv").write_text(f"path,label\n{tmp_path / 'elsewhere' / 'a.mid'},x\n", "utf-8")
    prepare_corpus(tmp_path / "list", tmp_path / "out", n_workers=1)
    assert Corpus(tmp_path / "out").paths == ["../elsewhere/a.mid"]


def test_labels_of_folders(tmp_path: Path):
    fill(tmp_path, top=music(1), x__deep__er=music(2), y__z=music(3))
    labels = {path.name: label for path, label in find_files(tmp_path).items()}
    assert labels == {"top.mid": tmp_path.name, "er.mid": "x", "z.mid": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.mid,x\n", "has the columns file, label; path and label are needed"),
        ("path,label\na.mid\n", "no path or no label in row 1"),
        ("path,label\na.mid,x\nb.mid,\n", "no path or no label in row 2"),
        ("path,label\n", "holds no .mid or .midi file"),
        (b"path,label\n\xff\xfe,x\n", "cannot be read"),
    ],
)
def test_a_wrong_manifest(tmp_path: Path, text: str | bytes, message: str):
    (tmp_path / "manifest.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=message):
        find_files(tmp_path)


def test_no_folder_no_files_no_usable_file(tmp_path: Path):
    with pytest.raises(DataError, match="is not a folder"):
        prepare_corpus(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(DataError, match=r"holds no \.mid"):
        prepare_corpus(tmp_path, tmp_path / "out")
    (tmp_path / "a.mid").write_bytes(b"noise")
    with pytest.raises(DataError, match=r"1 files, none of them usable; .*a\.mid: .*not music that musegen reads"):
        prepare_corpus(tmp_path, tmp_path / "out", n_workers=1)


def test_more_labels_than_styles(tmp_path: Path):
    rows = "".join(f"{n}.mid,label {n}\n" for n in range(v.N_STYLES + 1))
    (tmp_path / "manifest.csv").write_text(f"path,label\n{rows}")
    with pytest.raises(DataError, match="81 labels; allowed are up to 80"):
        find_files(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"styles": []}'])
def test_a_damaged_corpus(tmp_path: Path, text: str):
    fill(tmp_path / "raw", a=music(1))
    prepare_corpus(tmp_path / "raw", tmp_path / "out", n_workers=1)
    (tmp_path / "out" / "corpus.json").write_text(text)
    with pytest.raises(DataError, match=r"no usable corpus\.json"):
        Corpus(tmp_path / "out")


def test_another_vocabulary(tmp_path: Path, monkeypatch):
    fill(tmp_path / "raw", a=music(1))
    prepare_corpus(tmp_path / "raw", tmp_path / "out", n_workers=1)
    monkeypatch.setattr(v, "fingerprint", lambda: "another")
    with pytest.raises(DataError, match="another vocabulary"):
        Corpus(tmp_path / "out")


def test_pieces_without_a_beat_are_left_out(tmp_path: Path):
    grid = music(1, 400)
    notes = grid.notes.copy()
    notes[:, 0] = np.random.default_rng(0).integers(0, grid.n_ticks, len(notes))
    free = GridScore(grid.meters, grid.tempos, notes)
    score = free.to_score()
    fill(tmp_path / "raw", kept=grid)
    score.write(tmp_path / "raw" / "free.mid")
    prepare_corpus(tmp_path / "raw", tmp_path / "out", n_workers=1)
    corpus = Corpus(tmp_path / "out")
    assert [corpus.paths[index] for index in corpus.select("train")] == ["kept.mid"]
    assert len(corpus.select("train", with_beat=False)) == 2


def test_sketches():
    grid = music(1)
    assert len(sketch(grid)) == 64
    transposed = GridScore(grid.meters, grid.tempos + 3, grid.notes + np.array([0, 1, 5, 0, 0]))
    assert np.array_equal(sketch(grid), sketch(transposed))
    assert len(sketch(music(1, instrument=DRUMS))) == len(sketch(music(1, n_notes=12))) == 0
    assert editions([sketch(g) for g in (grid, music(2), edition(grid, 5), music(1, instrument=DRUMS))])[2] == 0
    assert len(set(editions([sketch(music(seed)) for seed in range(20)]))) == 20
    assert len(set(editions([np.zeros(0, np.uint64)] * 2))) == 2


@pytest.mark.parametrize("sizes", [[3] * 10, [1] * 10, [50] + [1] * 12, [200] + [1] * 9, [2] * 40, [7, 1] * 6])
def test_works_are_dealt_whole(sizes: list[int]):
    works = [work for work, size in enumerate(sizes) for _ in range(size)]
    names = [f"{work}-{n}" for n, work in enumerate(works)]
    splits = split(names, ["x"] * len(works), works)
    assert all(len({splits[i] for i, work in enumerate(works) if work == one}) == 1 for one in set(works))
    share = {name: splits.count(name) / len(splits) for name in ("train", "valid", "test")}
    assert share["train"] >= 0.6 and share["valid"] > 0 and share["test"] > 0
    assert split(names, ["x"] * len(works), works) == splits


def test_a_label_of_few_works_is_for_training():
    assert set(split([f"{n}" for n in range(9)], ["x"] * 9, list(range(9)))) == {"train"}
