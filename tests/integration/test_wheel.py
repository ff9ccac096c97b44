"""The main job from an installed wheel, outside the checkout."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("musegen-*.whl")
    return path


def test_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path, root: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "musegen/py.typed",
        "musegen/api/__init__.py",
        "musegen/midi/picture/player.js",
        "musegen/datasets/midi-corpus/manifest.toml",
    } <= names
    for folder in (path for path in (root / "checkpoints").iterdir() if path.is_dir()):
        for name in ("model.safetensors", "config.json", "card.md"):
            assert f"musegen/checkpoints/{folder.name}/{name}" in names
    recipes = {f"musegen/recipes/{path.name}" for path in (root / "musegen" / "recipes").glob("*.toml")}
    assert recipes and recipes <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"musegen"}
    assert not [name for name in names if name.endswith((".mid", ".npz", ".pyc", ".tmp"))]
    assert wheel.stat().st_size < 60e6


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no compiler")
def test_wheel_holds_what_a_compiler_makes(wheel: Path):
    files = zipfile.ZipFile(wheel)
    libraries = [name for name in files.namelist() if name.endswith(".so")]
    assert any(name.startswith("musegen/midi/smf/scan.") for name in libraries)
    steps = [files.read(name) for name in libraries if name.startswith("musegen/music/step-")]
    source = hashlib.sha256(files.read("musegen/music/step.c")).hexdigest()
    assert steps and all(source.encode() in step for step in steps)


@pytest.mark.slow
def test_installed_wheel_composes_outside_the_checkout(wheel: Path, tmp_path: Path):
    site, away = tmp_path / "site", tmp_path / "away"
    away.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    where = run(sys.executable, "-c", "import musegen; print(musegen.__file__)")
    assert Path(where).is_relative_to(site)
    run(str(site / "bin" / "musegen"), "compose", "--composer", "bach", "--bars", "4", "-o", "bach.mid")
    assert (away / "bach.mid").read_bytes().startswith(b"MThd")
