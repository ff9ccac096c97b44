"""Commands as a user types them: what they print, what they write, and how they fail."""

import inspect
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

COMMANDS = [
    [],
    ["compose"],
    ["continue"],
    ["harmonize"],
    ["infill"],
    ["chorale"],
    ["models"],
    ["composers"],
    ["instruments"],
    ["info"],
    ["convert"],
    ["plot"],
    ["score"],
    ["render"],
    ["listen"],
    ["doctor"],
    ["ports"],
    ["play"],
    ["stream"],
    ["jam"],
    ["record"],
    ["serve"],
    ["bench"],
    ["bench", "live"],
    ["bench", "soak"],
    ["bench", "midi"],
    ["bench", "fuzz"],
    ["bench", "coconet"],
    ["bench", "attention"],
    ["bench", "decode"],
    ["bench", "train"],
    ["bench", "sampler"],
    ["train"],
    ["export"],
    ["data"],
    ["data", "prepare"],
    ["data", "roundtrip"],
    ["data", "critic"],
    ["evaluate"],
    ["evaluate", "muse"],
    ["evaluate", "coconet"],
    ["evaluate", "chorales"],
    ["evaluate", "onsets"],
    ["evaluate", "ranking"],
]


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command failed as every command fails: one line on stderr, nothing on stdout, exit code 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("musegen: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "musegen")
def test_help_of_every_command_has_an_example(musegen: Run, command: list[str]):
    done = musegen(*command, "--help")
    assert done.returncode == 0
    assert f"Example: musegen {' '.join(command)}".rstrip() in done.stdout


def test_help_repeats_the_defaults_of_the_api():
    import typer

    from musegen import api
    from musegen.cli.main import app

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    evaluate = commands["evaluate"].commands
    verbs = [(commands["compose"], api.compose), (commands["continue"], api.continue_score)]
    verbs += [(evaluate["muse"], api.evaluate_muse), (evaluate["coconet"], api.evaluate_coconet)]
    verbs.append((evaluate["chorales"], api.evaluate_chorales))
    verbs.append((evaluate["ranking"], api.evaluate_ranking))
    verbs.append((commands["data"].commands["critic"], api.prepare_excerpts))
    verbs.append((commands["render"], api.render))
    verbs += [
        (commands["harmonize"], api.harmonize),
        (commands["infill"], api.infill),
        (commands["chorale"], api.chorale),
    ]
    for command, verb in verbs:
        shown = {p.name: p.show_default for p in command.params if isinstance(p.show_default, str)}
        defaults = {name: str(p.default) for name, p in inspect.signature(verb).parameters.items()}
        assert shown and shown.items() <= defaults.items()
        assert all(param.default is None for param in command.params if param.name in shown)


def test_help_names_a_setting_that_every_recipe_takes():
    import typer

    from musegen.cli.main import app
    from musegen.train import recipe

    train = typer.main.get_command(app).commands["train"]  # pyright: ignore[reportAttributeAccessIssue]
    [words] = [param.help for param in train.params if "--set" in param.opts]
    recipes = sorted((Path(recipe.__file__).parents[1] / "recipes").glob("*.toml"))
    setting = words.split()[-1].rstrip(".")
    assert recipes and all(recipe.load(path, [setting]) for path in recipes)


def test_version(musegen: Run):
    from musegen.version import __version__

    assert musegen("--version").stdout == f"musegen {__version__}\n"


def test_unknown_command_names_the_nearest(musegen: Run):
    done = musegen("composr")
    assert done.returncode == 2
    assert "composers" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["models", "composers", "instruments"])
def test_lists_print_text_and_json(musegen: Run, command: str):
    rows = json.loads(musegen(command, "--json").stdout)
    assert rows and all(row.keys() == rows[0].keys() for row in rows)
    lines = musegen(command).stdout.splitlines()
    assert len(lines) == len(rows) + 1
    for row, line in zip(rows, lines[1:], strict=True):
        assert line.startswith(row["name"])


def test_there_are_instruments_and_composers_enough(musegen: Run):
    assert len(json.loads(musegen("instruments", "--json").stdout)) >= 33
    assert {"bach", "chopin"} <= {row["name"] for row in json.loads(musegen("composers", "--json").stdout)}


def test_info_and_plot(musegen: Run, tmp_path: Path, prompt_mid: Path):
    facts = json.loads(musegen("info", prompt_mid, "--json").stdout)
    assert "Fiddle" in json.dumps(facts)
    assert "Fiddle" in musegen("info", prompt_mid).stdout
    for name, start in (("roll.png", b"\x89PNG"), ("roll.svg", b"<svg")):
        done = musegen("plot", prompt_mid, "-o", name)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{name}\n"
        assert (tmp_path / name).read_bytes().startswith(start)


@pytest.fixture
def broken(tmp_path: Path, prompt_mid: Path) -> Callable[[str], Path]:
    whole = prompt_mid.read_bytes()

    def make(kind: str) -> Path:
        path = tmp_path / f"{kind}.mid"
        if kind == "directory":
            path.mkdir()
        elif kind != "missing":
            contents = {"empty": b"", "random": random.Random(0).randbytes(400), "truncated": whole[: len(whole) // 2]}
            path.write_bytes(contents[kind])
        return path

    return make


@pytest.mark.parametrize("kind", ["missing", "directory", "empty", "random", "truncated"])
@pytest.mark.parametrize("command", ["info", "plot", "continue"])
def test_a_bad_file_is_one_line_and_writes_nothing(
    musegen: Run, broken: Callable[[str], Path], tmp_path: Path, command: str, kind: str
):
    path = broken(kind)
    before = sorted(tmp_path.iterdir())
    out = {"info": [], "plot": ["-o", "roll.png"], "continue": ["-o", "out.mid"]}[command]
    assert_one_line(musegen(command, path, *out), path.name)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "out.txt"], ["out.txt", ".mid"]),
        (["-o", "no/such/out.mid"], ["no/such", "does not exist"]),
        (["-n", "0", "-o", "out.mid"], ["-n", "0"]),
        (["-n", "1000000000", "-o", "out.mid"], ["-n", "64"]),
        (["--composer", "bahc", "-o", "out.mid"], ["composer", "'bahc'", "bach"]),
        (["--instruments", "pianoo", "-o", "out.mid"], ["instrument", "'pianoo'", "piano"]),
        (["--model", "muse-smal", "-o", "out.mid"], ["model", "'muse-smal'", "muse-small"]),
        (["--bars", "0", "-o", "out.mid"], ["bars", "0"]),
        (["--key", "H", "-o", "out.mid"], ["key", "H"]),
        (["--tempo", "-3", "-o", "out.mid"], ["tempo", "-3"]),
        (["--meter", "4/5", "-o", "out.mid"], ["meter", "4/5"]),
        (["--density", "lots", "-o", "out.mid"], ["density", "lots"]),
        (["--temperature", "-1", "-o", "out.mid"], ["temperature", "-1"]),
        (["--top-p", "2", "-o", "out.mid"], ["top_p", "2"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_a_bad_option_is_one_line_and_writes_nothing(
    musegen: Run, tmp_path: Path, arguments: list[str], words: list[str]
):
    assert_one_line(musegen("compose", *arguments), *words)
    assert list(tmp_path.iterdir()) == []


def test_compose_is_reproducible_and_says_how(musegen: Run, tmp_path: Path):
    options = ["--composer", "Bach", "--instruments", "piano, Violin", "--bars", "2", "--meter", "3/4", "--seed", "5"]
    done = musegen("compose", *options, "-o", "a.mid", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["first_bar_seconds"] > 0
    assert [file["path"] for file in report["files"]] == ["a.mid"]
    done = musegen("compose", *options, "-o", "b.mid")
    assert done.stdout.startswith("b.mid: ")
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    [text] = json.loads(musegen("info", "a.mid", "--json").stdout)["texts"]
    command = shlex.split(text["text"])
    assert command[0] == "musegen"
    assert musegen(*command[1:], "-o", "c.mid").returncode == 0
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "c.mid").read_bytes()


def test_compose_writes_as_many_files_as_asked_for(musegen: Run, tmp_path: Path):
    options = ["--instruments", "piano", "--bars", "1", "-n", "3", "--seed", "1", "-o", "x.mid"]
    assert_one_line(musegen("compose", *options, "--sheet", "all.svg"), "all.svg", ".png")
    assert not list(tmp_path.glob("x*"))
    done = musegen("compose", *options, "--sheet", "all.png")
    assert done.returncode == 0, done.stderr
    assert sorted(item.name for item in tmp_path.iterdir()) == ["all.png", "x-1.mid", "x-2.mid", "x-3.mid"]
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert len({item.read_bytes() for item in tmp_path.iterdir()}) == 4


def test_compose_keeps_the_best_of_several_and_says_how_good(musegen: Run, tmp_path: Path):
    options = ["compose", "--instruments", "piano", "--bars", "2", "--seed", "1", "--candidates", "4"]
    report = json.loads(musegen(*options, "-n", "2", "--rank", "likelihood", "-o", "x.mid", "--json").stdout)
    scores = [file["likelihood"] for file in report["files"]]
    assert [file["path"] for file in report["files"]] == ["x-1.mid", "x-2.mid"]
    assert 0 > scores[0] > scores[1]
    done = musegen(*options, "--rank", "likelihood", "-o", "best.mid")
    assert done.stdout.startswith("best.mid: ") and done.stdout.endswith(f"likelihood {scores[0]:.2f}\n")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["best.mid", "x-1.mid", "x-2.mid"]
    assert_one_line(musegen(*options, "--rank", "none", "-o", "y.mid"), "candidates", "rank")


def test_what_is_worth_a_second_look_is_said_and_other_warnings_go_their_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from musegen import api
    from musegen.cli.compose import compose
    from musegen.errors import MeterWarning
    from musegen.midi.score import Score

    def warning(bars: int = 1, **_: object) -> list[Score]:
        warnings.warn("another meter", MeterWarning, 2)
        warnings.warn("of another library", RuntimeWarning, 2)
        return [Score(480)]

    monkeypatch.setattr(api, "compose", warning)
    with pytest.warns(RuntimeWarning, match="of another library") as others:
        compose(tmp_path / "x.mid")
        assert capsys.readouterr().err == "musegen: another meter\n"
        compose(tmp_path / "x.mid", as_json=True)
        out, err = capsys.readouterr()
        assert json.loads(out)["warnings"] == ["another meter"] and not err
    assert [warning.category for warning in others] == [RuntimeWarning] * 2


def test_continue_keeps_the_prompt_as_it_is(musegen: Run, tmp_path: Path, prompt_mid: Path):
    from musegen.midi.score import Score

    prompt = Score.read(prompt_mid)
    done = musegen("continue", prompt_mid, "--bars", "2", "--seed", "1", "-o", "longer.mid")
    assert done.returncode == 0, done.stderr
    longer = Score.read(tmp_path / "longer.mid")
    scale = longer.ticks_per_quarter / prompt.ticks_per_quarter
    end = round(prompt.end_ticks * scale)
    assert longer.end_ticks > end
    for old in prompt.tracks:
        [new] = [track for track in longer.tracks if track.name == old.name]
        assert (new.program, new.is_drum) == (old.program, old.is_drum)
        kept = [(note.start_ticks, note.pitch, note.velocity) for note in new.notes if note.start_ticks < end]
        assert kept == [(round(note.start_ticks * scale), note.pitch, note.velocity) for note in old.notes]

    done = musegen("continue", prompt_mid, "--bars", "2", "--seed", "1", "--only-new", "-o", "new.mid")
    assert done.returncode == 0, done.stderr
    assert Score.read(tmp_path / "new.mid").n_notes == longer.n_notes - prompt.n_notes

    done = musegen("continue", prompt_mid, "--bars", "2", "--seed", "1", "-o", "longer.musicxml", "--sheet", "no/x.png")
    assert_one_line(done, "no/x.png", "does not exist")
    done = musegen("continue", prompt_mid, "--bars", "2", "--seed", "1", "-o", "longer.musicxml")
    assert done.returncode == 0, done.stderr
    # Paper has no place for some of the shortest notes.
    assert Score.read(tmp_path / "longer.musicxml").n_notes > prompt.n_notes


def test_all_new_bars_of_a_free_performance_are_on_the_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """New bars of two seconds take two and more of the score's own where its tempo is fast."""
    import numpy as np

    from musegen.cli.compose import continue_
    from musegen.midi.picture import sheet
    from musegen.midi.score import Notes, Score, Tempos, Track

    start = np.sort(np.random.default_rng(0).integers(0, 20_000, 80))
    played = Track("", 0, False, Notes(start, np.full(80, 100), np.full(80, 60), np.full(80, 70)))
    Score(480, (played,), Tempos([0], [200_000])).write(tmp_path / "prompt.mid")
    drawn = []
    draw = sheet.draw
    monkeypatch.setattr(sheet, "draw", lambda *args, **more: drawn.append(more["bars"]) or draw(*args, **more))
    options = {"bars": 6, "seed": 1, "sheet": tmp_path / "all.png"}
    continue_(tmp_path / "prompt.mid", tmp_path / "longer.mid", **options)
    longer = Score.read(tmp_path / "longer.mid")
    first_new = min(note.start_ticks for track in longer.tracks for note in track.notes if note.start_ticks > start[-1])
    [(first, last)] = drawn
    assert 0 < (first - 1) * 1920 <= first_new and last * 1920 >= longer.end_ticks


def make_midi(folder: Path, prompt: Path) -> None:
    """Files of two labels: copies of a prompt that differ in every note, so that some are held out."""
    import mido

    draw = random.Random(0)
    for number in range(24):
        song = mido.MidiFile(prompt)
        for track in song.tracks:
            notes = [message for message in track if message.type in ("note_on", "note_off")]
            for on, off in zip(notes[::2], notes[1::2], strict=True):
                on.note = off.note = draw.randint(48, 84)
        path = folder / ("bach" if number % 2 else "mozart") / f"{number}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        song.save(path)


def test_data_and_evaluate_report_for_people_and_programs(musegen: Run, tmp_path: Path, prompt_mid: Path):
    make_midi(tmp_path / "midi", prompt_mid)
    lines = musegen("data", "roundtrip", "midi", "--workers", "1").stdout.splitlines()
    assert "24 of 24 readable files" in lines[-2] and "24 of 24" in lines[-1]
    report = json.loads(musegen("data", "prepare", "midi", "--out", "shards", "--workers", "1", "--json").stdout)
    assert report["readable"] == 24 and report["labels"] == {"bach": 12, "mozart": 12}
    done = musegen("evaluate", "muse", "--data", "shards", "--split", "test")
    assert done.returncode == 0, done.stderr
    for words in ("5-gram", "nothing told", "nats a note", "mozart", "pieces of test"):
        assert words in done.stdout
    assert_one_line(musegen("evaluate", "muse", "--data", "shards", "--split", "tset"), "split", "'tset'", "test")


def test_train_and_export_make_a_model_to_compose_with(
    musegen: Run, tmp_path: Path, prompt_mid: Path, monkeypatch: pytest.MonkeyPatch
):
    make_midi(tmp_path / "midi", prompt_mid)
    assert musegen("data", "prepare", "midi", "--out", "shards", "--workers", "1").returncode == 0
    small = ["model.d_model=32", "model.n_layers=1", "model.context=256", "model.block=64"]
    quick = ["train.steps=3", "train.warmup_steps=0", "train.decay_steps=0", "train.validate_every=3", "task.n_valid=2"]
    settings = [f"--set={setting}" for setting in [*small, *quick, "task.data=shards", "task.batch_size=2"]]
    done = musegen("train", "muse-small", *settings, "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["out"] == "run"
    done = musegen("export", "run", "--out", "mine/muse-mine")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path / "mine"))
    assert "muse-mine" in musegen("models").stdout
    known = json.loads(musegen("composers", "--model", "muse-mine", "--json").stdout)
    assert [row["name"] for row in known] == ["bach", "mozart"]
    done = musegen("compose", "--model", "muse-mine", "--composer", "mozart", "--bars", "1", "-o", "x.mid")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.mid").exists()
    assert_one_line(musegen("export", "midi", "--out", "mine/other"), "midi", "checkpoint")
    assert not (tmp_path / "mine" / "other").exists()


def test_ctrl_c_leaves_no_file(tmp_path: Path):
    command = [sys.executable, "-m", "musegen", "compose", "--bars", "400", "-n", "4", "--seed", "1", "-o", "x.mid"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
        # Who runs in the background of a shell script, as these tests may, is deaf to Ctrl-C and would pass that on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            time.sleep(5)
            assert process.poll() is None, "it ended before it could be interrupted"
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert stderr.splitlines() == ["musegen: interrupted"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "no-such-recipe"], ["no-such-recipe"]),
        (["train", "muse-small", "--set", "train.stepz=3"], ["stepz", "steps"]),
        (["train", "muse-small", "--set", "nonsense"], ["nonsense"]),
        (["data", "prepare", "no-such-folder", "--out", "shards"], ["no-such-folder"]),
        (["data", "roundtrip", "no-such-folder"], ["no-such-folder"]),
        (["evaluate", "muse", "--data", "no-such-folder"], ["no-such-folder"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_bad_runs_end_before_any_work_starts(musegen: Run, tmp_path: Path, arguments: list[str], words: list[str]):
    assert_one_line(musegen(*arguments), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_coconet_is_trained_and_measured(musegen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    beat = [[[67, 62, 58, 43]] * 4, [[69, 62, 57, 50]] * 4]
    pieces = [[frame for part in beat * n for frame in part] for n in (2, 3)]
    (tmp_path / "chorales.json").write_text(json.dumps({"train": pieces, "valid": pieces[:1]}))
    small = {"model.n_layers": 3, "model.n_channels": 8, "task.n_beats": 4, "task.batch_size": 2, "train.steps": 3}
    small |= {"task.data": "chorales.json", "train.warmup_steps": 0, "train.decay_steps": 0}
    settings = [part for name, value in small.items() for part in ("--set", f"{name}={value}")]
    done = musegen("train", "coconet-rolls", *settings, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert musegen("export", "run", "--out", "models/mine").returncode == 0
    monkeypatch.setenv("MUSEGEN_CHECKPOINTS", str(tmp_path / "models"))
    command = ["evaluate", "coconet", "--data", "chorales.json", "--model", "mine", "--se", "0.5"]
    report = json.loads(musegen(*command, "--exact", "--protocol", "notewise_chronological", "--json").stdout)
    assert report["n_cells"] == 64 and report["baselines"]["unigram"] > 0.5
    figure = report["notewise_chronological"]
    assert figure["n"] == 64 and figure["se"] == 0 and 0 < figure["nats"] < 5
    done = musegen(*command, "--protocol", "notewise_random")
    for words in ("1 piece of valid", "notewise_random", "any others known", "previous pitch, counted on train"):
        assert words in done.stdout
    assert_one_line(musegen(*command, "--protocol", "notewise"), "protocol", "'notewise'", "notewise_random")
    assert_one_line(musegen(*command, "--split", "test"), "split", "'test'", "train, valid")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "out.mid", "--virtual", "x"], ["--virtual", "'x'", "--port"]),
        (["--port", "out.mid", "--in", "keys"], ["--in", "'keys'", "--follow clock"]),
    ],
)
def test_play_ignores_no_option(musegen: Run, prompt_mid: Path, options: list[str], words: list[str]):
    assert_one_line(musegen("play", prompt_mid, *options), *words)
