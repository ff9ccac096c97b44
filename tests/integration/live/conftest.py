import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musegen.midi.score import Controls, Meters, Notes, Score, Tempos, Track
from tests.integration.live.studio import Studio, is_ci, is_missing, only_server, server_runs

_PROGRAMS = ("jackd", "jack_wait", "jack_lsp", "jack_connect", "jack_midi_dump", "jack_transport", "stdbuf")


@pytest.fixture(scope="module")
def _may_use_jack() -> Iterator[None]:
    """Skips where JACK is missing or taken, with the reason; in CI it must be there."""
    need_program(*_PROGRAMS)
    if importlib.util.find_spec("rtmidi") is None:
        reason = "python-rtmidi is not installed"
        assert not is_ci() or sys.version_info >= (3, 13), reason  # from 3.13 on it has no wheel
        pytest.skip(reason)
    with only_server(), pytest.MonkeyPatch.context() as patch:
        if server_runs():
            assert not is_ci(), "a JACK server runs that is not the tests' own"
            pytest.skip("a JACK server runs that is not the tests' own")
        patch.setenv("JACK_NO_START_SERVER", "1")
        for name in ("COLUMNS", "NO_COLOR"):
            patch.setenv(name, "200")
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has a test that failed tried again, with a new server: on a busy machine JACK lets its clients go, or is late."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=3))


def need_program(*programs: str) -> None:
    """Skips the test where a program is missing, and fails it in CI."""
    if missing := is_missing(*programs):
        reason = f"not installed: {', '.join(missing)} (apt: jackd2 jack-midi-clock fluidsynth ardour)"
        assert not is_ci(), reason
        pytest.skip(reason)


@pytest.fixture
def need() -> Callable[..., None]:
    return need_program


@pytest.fixture
def studio(_may_use_jack: None, tmp_path: Path) -> Iterator[Studio]:
    """A JACK server of the test's own, and what is started on it, all of which ends with the test."""
    studio = Studio(tmp_path)
    try:
        studio.start_server()
        yield studio
    finally:
        studio.close()


def dense(n_bars: int, bpm: float) -> Score:
    """Bars of 2/4 with running eighths, held chords with a pedal, and drums: something always sounds."""
    eighths, quarters = range(0, n_bars * 960, 240), range(0, n_bars * 960, 480)
    bars = range(0, n_bars * 960, 960)
    melody = [(start, 235, 72 + nth * 7 % 12) for nth, start in enumerate(eighths)]
    chords = [(start, 950, pitch) for start in bars for pitch in (48, 55, 60)]
    drums = [(start, 120, 36 + nth % 2 * 2) for nth, start in enumerate(quarters)]
    pedal = Controls([*bars, *(bar + 900 for bar in bars)], [64] * 2 * n_bars, [127] * n_bars + [0] * n_bars)
    tracks = (
        Track("melody", 73, False, _notes(melody)),
        Track("chords", 0, False, _notes(chords), controls=pedal),
        Track("drums", 0, True, _notes(drums)),
    )
    return Score(480, tracks, tempos=Tempos([0], [round(60e6 / bpm)]), meters=Meters([0], [2], [4]))


def _notes(rows: list[tuple[int, int, int]]) -> Notes:
    starts, durations, pitches = zip(*rows, strict=True)
    return Notes(starts, durations, pitches, [80] * len(rows))


@pytest.fixture
def dense_mid(tmp_path: Path) -> Callable[[int, float], Path]:
    """Writes music of so many bars and quarters a minute, in which something always sounds."""

    def write(n_bars: int, bpm: float) -> Path:
        path = tmp_path / "dense.mid"
        dense(n_bars, bpm).write(path)
        return path

    return write
