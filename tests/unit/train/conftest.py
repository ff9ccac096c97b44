import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch):
    """Worker processes import the functions that these tests hand them as `tests.unit...`.

    The checkout comes last: what is installed is what is tested.
    """
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[3])])
