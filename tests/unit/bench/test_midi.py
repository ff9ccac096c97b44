"""The comparison with other libraries: what is counted, left out and said, with libraries that are made up here."""

import json
from pathlib import Path

import numpy as np
import pytest

from musegen.bench import midi
from musegen.bench.midi import compare, verdicts
from musegen.bench.peers import OURS, Peer
from musegen.bench.seeds import built_in
from musegen.bench.synthetic import piece, write_corpus
from musegen.errors import InputError
from musegen.midi.score import Score


@pytest.fixture
def peers(monkeypatch):
    """Two libraries, and a clock that only reading moves: a second for each time that a file is read."""
    n_reads = 0

    def read(path):
        nonlocal n_reads
        n_reads += 1
        Score.read(path)

    def lazy(path):
        for _ in range(3):
            read(path)
        if Path(path).name == "2.mid":
            raise ValueError("not this one")

    found = [
        Peer(OURS, OURS, lambda: read),
        Peer("lazy", OURS, lambda: lazy, is_slow=True),
        Peer("absent", "no_such_package_of_anyone", lambda: lazy),
    ]
    monkeypatch.setattr(midi.time, "process_time", lambda: float(n_reads))
    for name in ("readers", "tokenizers"):
        monkeypatch.setattr(midi, name, lambda: found)
    monkeypatch.setattr(midi, "peak_mebibytes", lambda peer, kind, paths: float(len(paths)))


@pytest.fixture
def folder(tmp_path):
    for number, seed in enumerate(seed for seed in built_in() if seed.is_midi):
        (tmp_path / f"{number}.mid").write_bytes(seed.data)
    (tmp_path / "damaged.mid").write_bytes(b"MThd")
    return tmp_path


def test_files_that_are_refused_do_not_count(peers, folder):
    seen = []
    report = compare(folder, on_progress=lambda *progress: seen.append(progress))
    assert (report["n_files"], report["not_installed"]) == (
        7,
        "no_such_package_of_anyone: pip install 'musegen[bench]'",
    )
    ours, other = report["reading"]
    assert (ours["library"], ours["refused"], ours["times_ours"]) == (OURS, 1, 1)
    assert (other["library"], other["refused"]) == ("lazy", 2)
    assert (ours["files_per_second"], other["files_per_second"], other["times_ours"]) == (1, 1 / 3, 3)
    assert [row["peak_mib"] for row in report["memory"]] == [7] * 4
    assert "lazy, the fastest of the others to read files, takes" in verdicts(report)[0]
    assert {stage for stage, _, _ in seen} >= {"Reading", "Making tokens", "Memory"}
    assert json.loads(json.dumps(report)) == report


def test_the_same_files_are_drawn_for_a_seed(folder):
    assert midi._drawn(folder, 3, 1) == midi._drawn(folder, 3, 1) != midi._drawn(folder, 3, 2)
    assert len(midi._drawn(folder, None, 1)) == 7


def test_what_cannot_be_measured(tmp_path):
    for data, n_files in ((tmp_path / "gone", None), (tmp_path, None), (None, 0)):
        with pytest.raises(InputError):
            compare(data, n_files=n_files)


def test_made_up_pieces_are_always_the_same(tmp_path):
    first, second = (write_corpus(tmp_path, 3, seed=5) and sorted(tmp_path.iterdir()) for _ in range(2))
    assert [path.name for path in first] == ["0000.mid", "0001.mid", "0002.mid"] == [path.name for path in second]
    score = Score.read(first[1])
    assert score.n_notes == piece(np.random.default_rng([5, 1])).n_notes > 300
    assert len(score.tracks) >= 1 and len(score.tempos) >= 1
