"""What `musegen doctor` finds out: what is installed, what works, how fast this machine is, and what would help."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from musegen import registry
from musegen.errors import InputError, MusegenError
from musegen.midi.score import Notes, Score, Track
from musegen.midi.smf.scan import IS_COMPILED
from musegen.midi.sound.soundfonts import VARIABLE, find_sound_font

TIMEOUT_SECONDS = 20.0
"""How long a check may take."""

_CHILD_SECONDS = _COMPOSING_SECONDS = 15.0
_FIRST_PYTHON = (3, 11)
_BARS, _BPM = 4, 120
_SOUND_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what.
        ok: whether it is there and works.
        detail: what was found, in one line.
        advice: what to do about it, in one line with the command; empty where nothing is missing.
        is_core: whether musegen composes nothing without it.
        per_second: where speed was measured, seconds of music or sound a second.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""
    is_core: bool = False
    per_second: float | None = None


Probe = Callable[[], Check]


def diagnose(quick: bool = False) -> Iterator[Check]:
    """Looks at everything, one thing after the other; each is yielded as soon as it is known.

    Args:
        quick: leave out what is measured, which takes half a minute.
    """
    for probe in [*_PROBES, *(() if quick else _MEASURES)]:
        yield guarded(probe)


def guarded(probe: Probe, timeout_seconds: float = TIMEOUT_SECONDS) -> Check:
    """Returns what a probe finds, whatever happens in it: one that fails or hangs has found that it does not work."""
    name = probe.__name__.strip("_").replace("_", " ")
    found: list[Check] = []

    def run() -> None:
        try:
            found.append(probe())
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            found.append(Check(name, False, str(error) if isinstance(error, MusegenError) else reason))

    # A daemon: the program can end while what hangs still hangs.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    check = found[0] if found else Check(name, False, f"no answer within {timeout_seconds:g} s")
    is_core = probe in _CORE
    advice = check.advice or ("pip install --force-reinstall musegen" if is_core and not check.ok else "")
    return replace(check, is_core=is_core, advice=advice)


# The core -------------------------------------------------------------------------------------------------------------


def _python() -> Check:
    here = f"{platform.python_version()} on {platform.platform(terse=True)} {platform.machine()}"
    ok = sys.version_info >= _FIRST_PYTHON
    advice = "" if ok else "install Python 3.11 or newer: https://www.python.org/downloads"
    return Check("python", ok, f"{here}, {os.cpu_count()} processors", advice)


def _torch() -> Check:
    import torch

    from musegen.core.device import has_fast_bfloat16

    fast = "fast" if has_fast_bfloat16() else "no faster than float32"
    return Check("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads, bfloat16 {fast} on the CPU")


def _models() -> Check:
    names = list(registry.checkpoint_folders())
    for name in names:
        registry.checkpoint_config(name)
    advice = "" if names else "none came with this installation: pip install --force-reinstall musegen"
    return Check("models", bool(names), ", ".join(names) or "none", advice)


def _midi_files() -> Check:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mid"
        score = _scale(1)
        score.write(path)
        ok = Score.read(path).n_notes == score.n_notes
    return Check("midi files", ok, "are written and read" if ok else "do not come back as they were written")


# What adds to it ------------------------------------------------------------------------------------------------------


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("gpu", True, f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} in all")
    if torch.backends.mps.is_available():
        return Check("gpu", True, "Apple")
    return Check("gpu", True, "none; everything runs on the CPU")


def _compiled() -> Check:
    """Whether the loop that reads MIDI files was compiled; without, it is the same loop in Python."""
    if IS_COMPILED:
        return Check("compiled reader", True, "yes")
    advice = "MIDI files are read slowly: install a wheel, or a C compiler and then pip install musegen"
    return Check("compiled reader", False, "no", advice)


def _compiled_steps() -> Check:
    """Whether Muse's steps were compiled; without, it is decoded in NumPy."""
    from musegen.music.compiled import library, library_file

    if library():
        return Check("compiled decoding", True, "yes")
    if (file := library_file()).exists():
        advice = (
            "muse writes slowly: in a checkout python .hatch/compile.py, else pip install --force-reinstall musegen"
        )
        return Check("compiled decoding", False, f"no: {file.name} is not what step.c compiles to now", advice)
    advice = "muse writes slowly: install a wheel, or a C compiler and then pip install musegen"
    return Check("compiled decoding", False, "no", advice)


def _package(name: str, command: str, what_for: str) -> Check:
    if importlib.util.find_spec(name) is None:
        return Check(name, False, f"not installed; {what_for}", command)
    return Check(name, True, importlib.metadata.version(name))


def _music21() -> Check:
    return _package("music21", "pip install music21", "it reads MusicXML, ABC and Humdrum")


def _verovio() -> Check:
    return _package("verovio", "pip install 'musegen[score]'", "it engraves scores")


def _fluidsynth() -> Check:
    from musegen.midi.sound.fluid import INSTALL_LIBRARY, version

    try:
        return Check("fluidsynth", True, version())
    except InputError as error:
        return Check("fluidsynth", False, str(error), f"{INSTALL_LIBRARY}; pip install 'musegen[audio]'")


def _sound_font() -> Check:
    font = find_sound_font()
    if font is None:
        install = "apt install fluid-soundfont-gm" if sys.platform == "linux" else "download FluidR3_GM.sf2"
        return Check("sound font", False, "none", f"{install}, or name one in {VARIABLE}")
    return Check("sound font", True, f"{font} ({font.stat().st_size / 1e6:.0f} MB)")


def _sound_device() -> Check:
    done = _child("from musegen.midi.sound.fluid import sound_device; print(sound_device())")
    if done.returncode == 0:
        return Check("sound device", True, done.stdout.strip())
    advice = "`musegen render` writes a sound file instead of playing"
    return Check("sound device", False, "none that FluidSynth can open", advice)


def _midi_ports() -> Check:
    if importlib.util.find_spec("rtmidi") is None:
        advice = "pip install python-rtmidi (where there is no wheel, on Linux first: apt install libasound2-dev)"
        return Check("midi ports", False, "python-rtmidi is not installed", advice)
    code = "import json, rtmidi; print(json.dumps([rtmidi.MidiIn().get_ports(), rtmidi.MidiOut().get_ports()]))"
    done = _child(code)
    if done.returncode:
        advice = "musegen plays live only where the system has MIDI ports: on Linux, modprobe snd-seq, or start JACK"
        return Check("midi ports", False, "the system's MIDI cannot be opened", advice)
    inputs, outputs = json.loads(done.stdout.splitlines()[-1])
    return Check("midi ports", True, f"{len(inputs)} inputs, {len(outputs)} outputs")


def _musescore() -> Check:
    program = next(filter(None, map(shutil.which, _MUSESCORES)), None)
    if program is None:
        advice = _INSTALL_MUSESCORE.get(sys.platform, "apt install musescore3, or https://musescore.org")
        return Check("musescore", False, "not found; it opens and prints MusicXML", advice)
    return Check("musescore", True, program)


_MUSESCORES = (
    "mscore", "musescore", "mscore4", "musescore4", "mscore3", "musescore3", "MuseScore4", "MuseScore3",
    "/Applications/MuseScore 4.app/Contents/MacOS/mscore", "/Applications/MuseScore 3.app/Contents/MacOS/mscore",
    "C:/Program Files/MuseScore 4/bin/MuseScore4.exe", "C:/Program Files/MuseScore 3/bin/MuseScore3.exe",
)  # fmt: skip
_INSTALL_MUSESCORE = {
    "darwin": "brew install --cask musescore",
    "win32": "winget install Musescore.Musescore",
}


def _child(code: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of Python in a process of its own: drivers print what they like, and hang."""
    environment = {
        **os.environ,
        "JACK_NO_START_SERVER": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_CHILD_SECONDS,
    )


# Speed ----------------------------------------------------------------------------------------------------------------


def _composing() -> Check:
    from musegen import api

    registry.load_model(api.DEFAULT_MODEL)
    began, bars_done, elapsed, first = time.perf_counter(), 0, 0.0, 0.0

    def on_bar(row: int, bars: int) -> None:
        nonlocal bars_done, elapsed, first
        bars_done, elapsed = bars, time.perf_counter() - began
        first = first or elapsed
        if elapsed > _COMPOSING_SECONDS:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        api.compose(instruments=["piano"], bars=_BARS, meter="4/4", tempo=_BPM, seed=1, on_bar=on_bar)
    speed = bars_done * 4 * 60 / _BPM / elapsed
    detail = f"{speed:.1f} s of music a second ({bars_done} bars in {elapsed:.1f} s, the first in {first:.1f} s)"
    advice = "" if speed >= 1 else "live playing would fall behind the music; writing files works"
    return Check("composing", speed >= 1, detail, advice, per_second=speed)


class _EnoughError(Exception):
    """Composing takes long: the bars that are there have to do."""


def _rendering_with(engine: str) -> Check:
    from musegen.midi.sound.rendering import render

    with tempfile.TemporaryDirectory() as folder:
        report = render(_scale(_SOUND_SECONDS), Path(folder) / "a.wav", engine=engine)
    speed = report.seconds / (report.elapsed_seconds - report.loading_seconds)
    detail = f"{speed:.0f} s of sound a second ({report.engine}, ready after {report.loading_seconds:.2f} s)"
    return Check(f"rendering by {engine}", True, detail, per_second=speed)


def _rendering_by_fluidsynth() -> Check:
    return _rendering_with("fluidsynth")


def _rendering_by_tones() -> Check:
    return _rendering_with("tones")


def _scale(seconds: int) -> Score:
    """A piano and strings that play four notes a second each, at 120 quarters a minute."""
    starts = list(range(0, 4 * seconds * 12, 12))
    ones = [1] * len(starts)
    pitches = [60 + 2 * (place % 8) for place in range(len(starts))]
    notes = Notes(starts, [12 * one for one in ones], pitches, [90 * one for one in ones])
    return Score(24, (Track("", 0, False, notes), Track("", 48, False, notes)))


_CORE: tuple[Probe, ...] = (_python, _torch, _models, _midi_files)
_PROBES: tuple[Probe, ...] = (
    *_CORE, _gpu, _compiled, _compiled_steps, _music21, _verovio, _musescore, _fluidsynth, _sound_font, _sound_device,
    _midi_ports,
)  # fmt: skip
_MEASURES: tuple[Probe, ...] = (_composing, _rendering_by_fluidsynth, _rendering_by_tones)
