"""Files that mean harm, given to commands: one line on stderr names the file, status 2, and nothing is left behind."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from musegen.bench.seeds import midi_file, musicxml, mxl, variable_length

Run = Callable[..., subprocess.CompletedProcess[str]]

NOTE, END = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x40", b"\x00\xff\x2f\x00"
GOOD = midi_file(1, 480, [NOTE + END])
FILES = {
    "empty.mid": b"",
    "cut.mid": GOOD[:-6],
    "data byte.mid": midi_file(1, 480, [b"\x00\x90\xbc\x40" + END]),
    "letter.mid": "Dear Sir or Madam,\n".encode("utf-16"),
    "bomb.musicxml": musicxml()
    .replace("<!DOCTYPE", '<!DOCTYPE score-partwise [<!ENTITY e SYSTEM "file:///etc/passwd">]><!-- ', 1)
    .replace('partwise.dtd">', '" -->')
    .encode(),
    "cut.mxl": mxl(musicxml().encode())[:-30],
}
COMMANDS = {
    "info": (),
    "plot": ("-o", "out.png"),
    "convert": ("out.mid",),
    "render": ("-o", "out.wav"),
    "score": ("-o", "out.svg"),
    "continue": ("-o", "out.mid"),
}


def is_there(command: str) -> bool:
    from musegen.cli.main import app

    return command in {registered.name for registered in app.registered_commands}


def assert_refused(done: subprocess.CompletedProcess[str], folder: Path, name: str) -> None:
    assert done.returncode == 2 and not done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith(f"musegen: {name}: ") and "Traceback" not in line
    assert [entry.name for entry in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", FILES)
def test_info(musegen: Run, tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(FILES[name])
    assert_refused(musegen("info", name), tmp_path, name)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "info"])
def test_every_command_that_reads(musegen: Run, tmp_path: Path, command: str):
    if not is_there(command):
        pytest.skip(f"musegen {command} does not exist")
    (tmp_path / "cut.mid").write_bytes(FILES["cut.mid"])
    assert_refused(musegen(command, "cut.mid", *COMMANDS[command]), tmp_path, "cut.mid")


@pytest.mark.parametrize("command", ["info", "plot", "render", "score"])
def test_a_note_of_a_thousand_hours(musegen: Run, tmp_path: Path, command: str):
    """The file is valid. What cannot be drawn, played or engraved is refused, and nothing takes for ever."""
    if not is_there(command):
        pytest.skip(f"musegen {command} does not exist")
    end = variable_length(1000 * 3600 * 2 * 24)  # at 120 bpm and 24 ticks a quarter
    (tmp_path / "long.mid").write_bytes(midi_file(1, 24, [b"\x00\x90\x3c\x40" + end + b"\x80\x3c\x40" + END]))
    done = musegen(command, "long.mid", *COMMANDS[command], timeout=60)
    if command == "info":
        assert done.returncode == 0 and "3,600,000" in done.stdout
    if done.returncode:
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
        assert [entry.name for entry in tmp_path.iterdir()] == ["long.mid"]
