import re
import tomllib
from pathlib import Path

import pytest

MANIFESTS = sorted((Path(__file__).parents[2] / "datasets").glob("*/manifest.toml"))


def test_every_dataset_has_a_manifest(root: Path):
    folders = {path.name for path in (root / "datasets").iterdir() if path.is_dir()}
    assert folders == {path.parent.name for path in MANIFESTS}
    assert {"midi-corpus", "jsb_chorales", "tinyshakespeare", "omniglot"} <= folders


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifest_says_where_from_on_what_terms_and_how_to_read(path: Path):
    manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    assert manifest["name"] == path.parent.name
    assert isinstance(manifest["ships_weights"], bool)
    assert manifest["source"]["where"] and manifest["source"]["contents"]
    assert manifest["licence"] and all(manifest["licence"].values())
    assert manifest["files"]
    for file in manifest["files"]:
        assert re.fullmatch("[0-9a-f]{64}", file["sha256"])
        assert file.get("bytes", file.get("count", 0)) > 0
    assert manifest["split"]["how"] and manifest["read"]["how"]


def test_non_commercial_data_ships_no_weights():
    for path in MANIFESTS:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        if any("-NC" in licence for licence in manifest["licence"].values()):
            assert manifest["ships_weights"] is False
