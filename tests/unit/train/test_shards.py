import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from musegen.errors import DataError
from musegen.train import shards
from musegen.train.shards import open_shard, open_shards, prepare, write_shard


def count_up(item, scale=1):
    n = int(item)
    if n % 10 == 3:
        raise ValueError("a three")
    if n == 17:
        return {"n": n}, {"up": np.arange(n, dtype=np.float32)}
    arrays = {"up": np.arange(n, dtype=np.uint16) * scale}
    return {"n": n, "name": "Dvořák"}, arrays | ({"even": np.zeros(0, np.int8)} if n % 2 == 0 else {})


def die_on_seven(item):
    if item == "7":
        os._exit(1)
    return count_up(item)


def size_of(item):
    return {"path": item}, {"bytes": np.frombuffer(Path(item).read_bytes(), np.uint8)}


def prepared(out, n_items=30, work=count_up, **options):
    return prepare([str(n) for n in range(n_items)], work, out, **{"n_workers": 1, "chunk": 4, **options})


def test_a_shard_is_mapped_and_whole(tmp_path):
    write_shard(tmp_path / "one", {"a": np.arange(6).reshape(2, 3), "b": np.ones(2, np.float16)})
    arrays = open_shard(tmp_path / "one")
    assert isinstance(arrays["a"], np.memmap)
    assert not arrays["a"].flags.writeable
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["b"].dtype == np.float16


def test_objects_are_refused_on_both_sides(tmp_path):
    with pytest.raises(DataError, match="Python objects"):
        write_shard(tmp_path / "one", {"a": np.array([{}])})
    assert list(tmp_path.iterdir()) == []
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        open_shard(tmp_path)


def test_records_come_back_in_order_without_the_failures(tmp_path):
    data = prepared(tmp_path, meta={"vocabulary": "abc"})
    good = [n for n in range(30) if n % 10 != 3 and n != 17]
    assert data.meta == {"vocabulary": "abc"}
    assert [record["n"] for record in data.records] == good
    assert [failure.item for failure in data.failures] == ["3", "13", "17", "23"]
    assert data.failures[0].reason == "ValueError: a three"
    assert data.failures[2].reason == "array 'up' is float32, others are uint16"
    for i, n in enumerate(good):
        assert data.array(i, "up").tolist() == list(range(n))
        assert not data.array(i, "up").flags.writeable
    assert data.lengths("up").tolist() == good
    assert len(data.array(0, "even")) == 0
    with pytest.raises(DataError, match="record 1 has no array 'even'"):
        data.array(1, "even")
    with pytest.raises(DataError, match="no array 'down'; it has even, up"):
        data.array(1, "down")


def test_many_workers_give_the_same_as_one(tmp_path):
    one, two = prepared(tmp_path / "one"), prepared(tmp_path / "two", n_workers=2)
    assert one.records == two.records
    assert one.failures == two.failures
    assert all((one.spans[name] == two.spans[name]).all() for name in one.spans)
    names = [sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / "one", tmp_path / "two")]
    assert names[0] == names[1]


def test_an_item_that_kills_its_worker_is_the_only_one_lost(tmp_path):
    data = prepared(tmp_path, 12, die_on_seven, n_workers=2)
    assert [failure.item for failure in data.failures] == ["3", "7"]
    assert "died" in data.failures[1].reason
    assert len(data) == 10


def test_finished_chunks_are_kept_and_half_ones_are_not(tmp_path, monkeypatch):
    prepared(tmp_path)
    done = sorted(tmp_path.glob("shard-*"))
    stamps = {path: path.stat().st_mtime_ns for path in done}
    (tmp_path / "index.json").unlink()
    for file in done[2].iterdir():
        file.unlink()
    done[2].rmdir()
    (tmp_path / f".{done[3].name}.1.tmp").mkdir()
    ran = []
    monkeypatch.setattr(shards, "_run_item", lambda work, item: ran.append(item) or work(item))
    data = prepared(tmp_path)
    assert ran == ["8", "9", "10", "11"]
    assert len(data) == 26
    assert {path: path.stat().st_mtime_ns for path in done if path != done[2]}.items() <= stamps.items()


def test_a_chunk_is_done_again_when_file_work_or_meta_changes(tmp_path):
    files = [tmp_path / f"{n}.bin" for n in range(3)]
    for file in files:
        file.write_bytes(b"12")
    out = tmp_path / "out"
    first = prepare(files, size_of, out, n_workers=1, chunk=1)
    before = sorted(path.name for path in out.glob("shard-*"))
    files[1].write_bytes(b"123")
    second = prepare(files, size_of, out, n_workers=1, chunk=1)
    after = sorted(path.name for path in out.glob("shard-*"))
    assert len(after) == 3  # the old shard is gone
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]
    assert (first.lengths("bytes").tolist(), second.lengths("bytes").tolist()) == (
        [2, 2, 2],
        [2, 3, 2],
    )  # who had it open keeps the old one
    assert prepared(tmp_path / "a", 3).array(2, "up").tolist() == [0, 1]
    assert prepared(tmp_path / "a", 3, functools.partial(count_up, scale=5)).array(2, "up").tolist() == [0, 5]


def test_nothing_to_prepare(tmp_path):
    data = prepared(tmp_path, 0)
    assert len(data) == 0
    assert data.spans == {}


@pytest.mark.parametrize("options", [{"chunk": 0}, {"n_workers": -1}, {"n_workers": 0}])
def test_counts_must_be_positive(tmp_path, options):
    with pytest.raises(DataError, match="allowed are whole numbers from 1"):
        prepared(tmp_path, **options)


def test_a_folder_that_is_not_finished_or_damaged_says_so(tmp_path):
    with pytest.raises(DataError, match="prepare them first"):
        open_shards(tmp_path)
    data = prepared(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_shards(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(index | {"version": 99}))
    with pytest.raises(DataError, match="musegen-shards 99; allowed: musegen-shards 1"):
        open_shards(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(index))
    next(tmp_path.glob("shard-00001-*")).joinpath("up.npy").write_bytes(b"junk")
    data = open_shards(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        data.array(5, "up")
