"""Real programs on a real JACK server. The tests' own process is no client of it: whatever hangs, they do not."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import mido

SAMPLE_RATE = 48_000
PERIOD_SECONDS = 256 / SAMPLE_RATE
SERVER = ("jackd", "-R", "-P20", "-S", "-d", "dummy", "-r", str(SAMPLE_RATE), "-p", "256")
PATIENCE_SECONDS = 15.0
_DUMPED = re.compile(r"^\s*(\d+):((?: [0-9a-f]{2}(?=\s|$))+)")


def wait_until(what: str, is_so: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that other programs do, and fail where they do not."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"after {seconds:g} s still not: {what}"
        time.sleep(0.02)


def server_runs() -> bool:
    return subprocess.run(["jack_wait", "-c"], capture_output=True, text=True).stdout.strip() == "running"


@contextmanager
def only_server() -> Iterator[None]:
    """One JACK server a machine: another run of these tests waits here."""
    with open(Path(tempfile.gettempdir()) / "jack.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Arrival(NamedTuple):
    """A message that arrived, and when, in seconds of the JACK server."""

    seconds: float
    message: mido.Message


class Receiver:
    """`jack_midi_dump`, which hears a port and tells every message with its frame."""

    def __init__(self, process: subprocess.Popen[str], name: str):
        self.process, self.port = process, f"{name}:input"
        self.arrivals: list[Arrival] = []
        self._thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._thread.start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            if match := _DUMPED.match(line):
                message = mido.Message.from_bytes(bytes.fromhex(match[2]))
                self.arrivals.append(Arrival(int(match[1]) / SAMPLE_RATE, message))

    @property
    def messages(self) -> list[mido.Message]:
        return [message for _, message in self.arrivals]

    def n_onsets(self) -> int:
        return sum(is_onset(message) for message in self.messages)

    def close(self) -> None:
        end(self.process, is_read=True)
        self._thread.join(PATIENCE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Studio:
    """A running JACK server, and what is started on it.

    Args:
        folder: where programs write.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._open = ExitStack()
        self.server: subprocess.Popen[str] | None = None

    def start_server(self) -> None:
        # What clients that were ended leave in JACK's database piles up until every client complains about it.
        shutil.rmtree(f"/dev/shm/jack_db-{os.getuid()}", ignore_errors=True)
        log = self.folder / "jackd.log"
        with open(log, "w") as out:
            self.server = subprocess.Popen(SERVER, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True)
        wait_until(f"jackd runs; it said: {log.read_text()}", lambda: server_runs() or self.server.poll() is not None)
        said = log.read_text()
        assert self.server.poll() is None and "Cannot use real-time" not in said, f"jackd refused: {said}"

    def start(self, *command: object, **options) -> subprocess.Popen[str]:
        """Start a program; what it prints goes to pipes unless told otherwise."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(list(map(str, command)), cwd=self.folder, text=True, **(pipes | options))
        self._open.callback(end, process)
        return process

    def musegen(self, *arguments: object) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-W", "error::DeprecationWarning:musegen", "-m", "musegen", *arguments)

    def receiver(self, name: str = "synth") -> Receiver:
        process = self.start("stdbuf", "-oL", "jack_midi_dump", "-a", name, stderr=subprocess.DEVNULL)
        receiver = Receiver(process, name)
        self._open.callback(receiver.close)
        wait_until(f"{receiver.port} is there", lambda: receiver.port in self.ports())
        return receiver

    def ports(self) -> list[str]:
        return subprocess.run(["jack_lsp"], capture_output=True, text=True).stdout.split("\n")

    def connect(self, source: str, target: str) -> None:
        """Connect two ports as soon as both are there."""
        wait_until(
            f"{source} is connected to {target}",
            lambda: subprocess.run(["jack_connect", source, target], capture_output=True).returncode == 0,
        )

    def wait_for_connection(self, port: str) -> None:
        """Wait until something is connected to a port."""

        def is_connected() -> bool:
            listing = subprocess.run(["jack_lsp", "-c", port], capture_output=True, text=True).stdout
            return any(line.startswith(" ") for line in listing.splitlines())

        wait_until(f"something plays to {port}", is_connected)

    def transport(self, *commands: str) -> None:
        """Tell JACK's transport: play, stop, locate FRAME."""
        subprocess.run(
            ["jack_transport"], input="".join(f"{each}\n" for each in (*commands, "quit")), text=True, check=True,
            capture_output=True, timeout=PATIENCE_SECONDS,
        )  # fmt: skip

    def close(self) -> None:
        self._open.close()
        if self.server is not None:
            end(self.server)


def record_in_ardour(studio: Studio, path: Path) -> tuple[Path, dict[str, Any]]:
    """Have Ardour record what musegen plays of a file.

    Returns:
        The folder of the session, and what the player reports.
    """
    script = Path(__file__).with_name("ardour_record.lua")
    said = ""
    for attempt in range(4):  # its start fails now and then, before anything is played
        session = studio.folder / f"session{attempt}"
        made = studio.start("ardour7-lua", script, session, stderr=subprocess.STDOUT)
        said, _ = made.communicate(timeout=60)
        ardour = studio.start("ardour7-lua", script, session, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("Ardour records", lambda: (session / "READY").exists() or ardour.poll() is not None, 60)  # noqa: B023
        if ardour.poll() is None:
            break
        assert ardour.poll() == 3, said
    else:
        raise AssertionError(f"Ardour did not start: {said}")
    player = studio.musegen("play", path, "--port", "ardour:Rec", "--json")
    said, complaints = player.communicate(timeout=60)
    assert player.returncode == 0, complaints
    (session / "DONE").touch()
    assert ardour.wait(60) == 0
    return session, json.loads(said)


def end(process: subprocess.Popen[str], is_read: bool = False) -> None:
    """End a program that was started, and wait for it; what still reads its output closes it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        process.send_signal(how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and not (pipe is process.stdout and is_read):
            pipe.close()


def is_onset(message: mido.Message) -> bool:
    return message.type == "note_on" and message.velocity > 0


def is_end(message: mido.Message) -> bool:
    return message.type == "note_off" or (message.type == "note_on" and message.velocity == 0)


def held(messages: Sequence[mido.Message]) -> set[tuple[int, int]]:
    """The (channel, pitch) of what still sounds by note-ons and note-offs alone, which must match."""
    sounding: set[tuple[int, int]] = set()
    for message in messages:
        if is_onset(message):
            sounding.add((message.channel, message.note))
        elif is_end(message):
            sounding.discard((message.channel, message.note))
    return sounding


def is_missing(*programs: str) -> list[str]:
    """Those programs that are not installed."""
    return [program for program in programs if shutil.which(program) is None]


def is_ci() -> bool:
    return os.environ.get("CI") == "true"
