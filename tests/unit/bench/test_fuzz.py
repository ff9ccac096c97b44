"""Fuzz runs: the same damage for the same seed, and every way to crash is seen."""

import json
import random
import sys

import pytest

from musegen.bench import trial
from musegen.bench.fuzz import fuzz
from musegen.bench.mutations import mutated
from musegen.bench.seeds import Seed, built_in, midi_file
from musegen.bench.trial import CRASH, OK, REFUSED, Cases, Settings, blanked, tried
from musegen.bench.workers import Lost, Workers
from musegen.errors import InputError, MusegenError, ScoreFileError
from musegen.midi.score import Notes, Score, Track

GOOD = built_in()[0]


def test_built_in_seeds_are_read(tmp_path):
    for case, seed in enumerate(built_in()):
        if seed.is_midi:
            assert tried(case, seed, tmp_path).status == OK


def test_a_case_is_always_the_same(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi_file(0, 96, [b"\x00\xff\x2f\x00"]))
    settings = Settings(seed=3, data=str(tmp_path), notation_share=0.3)
    first, second = Cases(settings), Cases(settings)
    cases = [first[case] for case in range(80)]
    assert cases == [second[case] for case in reversed(range(80))][::-1]
    assert len({case.data for case in cases}) > 60
    assert {case.suffix for case in cases} == {".mid", ".musicxml", ".mxl", ".abc", ".krn"}
    assert cases != [Cases(Settings(seed=4, data=str(tmp_path)))[case] for case in range(80)]


@pytest.mark.parametrize("seed", [*built_in(), *(Seed(suffix, b"") for suffix in (".mid", ".xml", ".mxl", ".krn"))])
def test_mutations_take_anything(seed):
    for number in range(150):
        rng = random.Random(number)
        once = mutated(seed, rng, [seed, GOOD])
        twice = mutated(once, rng, [seed, once])
        assert once.suffix == twice.suffix == seed.suffix and len(twice.data) < 2 << 20


def test_reasons_of_a_kind_are_one():
    assert blanked("track 12 of 3 at byte 0x1f, 1,234.5e6 of 'it\\'s' or \"two\"") == (
        "track N of N at byte N, N of '…' or '…'"
    )


# Judging --------------------------------------------------------------------------------------------------------------


def test_what_is_damaged_is_refused(tmp_path):
    outcome = tried(7, Seed(".mid", GOOD.data[:-9]), tmp_path)
    assert (outcome.case, outcome.status, outcome.suffix, outcome.detail) == (7, REFUSED, ".mid", "")
    assert "cut off" in outcome.kind and not any(letter.isdigit() for letter in outcome.kind)
    assert not list(tmp_path.iterdir())


def reader(action):
    """Returns what stands for `Score` in a trial: what is read from the case is what `action` makes of its path."""
    real = Score.read

    class Reader:
        @staticmethod
        def read(path):
            return action(path) if path.name.startswith("case") else real(path)

    return Reader


def raises(error):
    def action(path):
        raise error(path)

    return action


class Forgetful(Score):
    def write(self, path):
        Score(self.ticks_per_quarter).write(path)


def leaves_a_file(path):
    path.with_name("left.tmp").touch()
    raise ScoreFileError(path, "is no good")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (raises(lambda path: ZeroDivisionError("division by zero")), "ZeroDivisionError"),
        (raises(lambda path: MemoryError()), "MemoryError"),
        (raises(lambda path: RecursionError()), "RecursionError"),
        (raises(lambda path: ScoreFileError(path, "two\nlines")), "does not name the file on one line"),
        (raises(lambda path: ScoreFileError("another.mid", "is no good")), "does not name the file on one line"),
        (leaves_a_file, "a temporary file is left behind"),
        (lambda path: Forgetful(96, (Track("", 0, False, Notes([0], [1], [60], [64])),)), "round trip: other notes"),
    ],
)  # fmt: skip
def test_crashes_are_seen(tmp_path, monkeypatch, action, kind):
    monkeypatch.setattr(trial, "Score", reader(action))
    outcome = tried(0, GOOD, tmp_path)
    assert outcome.status == CRASH and kind in outcome.kind
    assert not list(tmp_path.iterdir())


# Workers --------------------------------------------------------------------------------------------------------------

WORKER = """
import os, sys, time
settings = input()
print("ready", flush=True)
for line in sys.stdin:
    if line == "3\\n":
        print("about to hang", file=sys.stderr, flush=True)
        time.sleep(60)
    if line == "5\\n":
        os.abort()
    if line == "7\\n":
        sys.exit("enough")
    print(settings, line.strip(), flush=True)
"""


def test_workers_are_replaced(capfd):
    with Workers([sys.executable, "-c", WORKER], "hello", 2, seconds_per_case=1.5) as workers:
        answers = dict(workers.answers(10))
    assert sorted(answers) == list(range(10))
    assert {case: answer.strip() for case, answer in answers.items() if isinstance(answer, str)} == {
        case: f"hello {case}" for case in (0, 1, 2, 4, 6, 8, 9)
    }
    assert answers[3] == Lost("hang", "about to hang\n")
    assert isinstance(answers[5], Lost) and answers[5].reason == "the process died: SIGABRT"
    assert answers[7] == Lost("the process died: exit status 1", "enough\n")
    assert capfd.readouterr() == ("", "")


def test_workers_that_do_not_start():
    with (
        Workers([sys.executable, "-c", "import sys; sys.exit('no such library')"], "", 2, 5) as workers,
        pytest.raises(MusegenError, match=r"does not start.*no such library"),
    ):
        list(workers.answers(5))


def test_workers_end_when_their_user_stops():
    with Workers([sys.executable, "-c", WORKER], "", 2, 30) as workers:
        for _ in workers.answers(4):
            break


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_run(tmp_path):
    seen = []
    report = fuzz(60, Settings(seed=1, notation_share=0), keep=tmp_path / "kept", on_progress=lambda *a: seen.append(a))
    assert report["crashes"] == 0, report["crashed"]
    assert report["cases"] == 60 == report["read"] + report["refused"]
    assert report["read"] and report["refused"]
    assert sum(row["files"] for row in report["refused_by_reason"]) == report["refused"]
    assert 0 < report["slowest"]["seconds"] < 10
    assert seen[-1] == ("Fuzzing", 60, 60)
    assert not (tmp_path / "kept").exists()
    assert json.loads(json.dumps(report)) == report


def test_a_run_is_checked(tmp_path):
    for n_cases, settings in (
        (0, Settings()),
        (1, Settings(notation_share=2)),
        (1, Settings(seconds_per_case=0)),
        (1, Settings(data=str(tmp_path / "gone"))),
    ):
        with pytest.raises(InputError):
            fuzz(n_cases, settings)


def test_crashes_are_kept(tmp_path, monkeypatch):
    command = [sys.executable, "-c", WORKER.replace("settings, line.strip()", "'{}'")]
    monkeypatch.setattr("musegen.bench.fuzz._COMMAND", command)
    monkeypatch.setattr("musegen.bench.fuzz._answered", lambda line: trial.Outcome(0, OK, "", 0.1))
    settings = Settings(notation_share=0, seconds_per_case=1.0)
    report = fuzz(6, settings, keep=tmp_path / "kept")
    assert [(crash["case"], crash["kind"]) for crash in report["crashed"]] == [
        (3, "hang"),
        (5, "the process died: SIGABRT"),
    ]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "case-3.mid",
        "case-3.txt",
        "case-5.mid",
        "case-5.txt",
    ]
    assert (tmp_path / "kept" / "case-3.mid").read_bytes() == Cases(settings)[3].data
    assert "about to hang" in (tmp_path / "kept" / "case-3.txt").read_text()
