import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
ARGUMENTS = {
    "stream_to_daw": ["stream.mid", "4"],  # without them it waits for a DAW
    "learn_fiddle_tunes": ["train.steps=2", "train.warmup_steps=0", "train.decay_steps=0"],  # and here for its training
}


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, path, *ARGUMENTS.get(path.stem, [])], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert any(tmp_path.iterdir())
