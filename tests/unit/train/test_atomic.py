import json

import pytest

from musegen.train.atomic import new_folder, write_json


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with new_folder(tmp_path / "done") as folder:
        (folder / "a.txt").write_text("a")
        assert not (tmp_path / "done").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
    assert (tmp_path / "done" / "a.txt").read_text() == "a"


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "done") as folder:
        (folder / "a.txt").write_text("a")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_json_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": "é"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "é"}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
