"""The doctor: every check answers, whatever is missing, and none takes the others with it."""

import importlib.util
import json
import subprocess
import sys
import threading
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from musegen import api
from musegen.bench import doctor
from musegen.bench.doctor import Check, diagnose, guarded
from musegen.errors import InputError
from musegen.midi.sound import fluid
from musegen.music import compiled


def by_name(quick: bool = True) -> dict[str, Check]:
    return {check.name: check for check in diagnose(quick)}


@pytest.fixture
def no_children(monkeypatch):
    """Probes that start a process find nothing, at once."""
    failed = subprocess.CompletedProcess([], 1, "", "")
    monkeypatch.setattr(doctor, "_child", lambda code: failed)


def test_what_is_found(tiny_muse, no_children):
    checks = by_name()
    assert list(checks) == [
        "python", "torch", "models", "midi files", "gpu", "compiled reader", "compiled decoding", "music21", "verovio",
        "musescore", "fluidsynth", "sound font", "sound device", "midi ports",
    ]  # fmt: skip
    assert [check.name for check in checks.values() if check.is_core] == ["python", "torch", "models", "midi files"]
    assert all(checks[name].ok for name in ("python", "torch", "models", "midi files", "music21"))
    assert tiny_muse in checks["models"].detail and sys.version.split()[0] in checks["python"].detail
    for check in checks.values():
        assert check.detail and "\n" not in check.detail + check.advice
        assert check.ok or check.advice, f"{check.name} is missing, and nothing says what to do"
    json.dumps([asdict(check) for check in checks.values()])


def test_what_is_missing(monkeypatch, no_children):
    def missing():
        raise InputError("pyfluidsynth is not installed: pip install 'musegen[audio]'")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(fluid, "version", missing)
    monkeypatch.setattr(doctor, "find_sound_font", lambda: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.registry, "checkpoint_folders", dict)
    checks = by_name()
    missing_ones = {name: check.advice for name, check in checks.items() if not check.ok}
    assert missing_ones.keys() >= {
        "models", "music21", "verovio", "musescore", "fluidsynth", "sound font", "sound device", "midi ports"
    }  # fmt: skip
    assert "musegen[score]" in missing_ones["verovio"] and "musegen[audio]" in missing_ones["fluidsynth"]
    assert "MUSEGEN_SOUND_FONT" in missing_ones["sound font"] and "rtmidi" in missing_ones["midi ports"]


def test_what_was_compiled_before_an_edit_is_compiled_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(compiled, "library", lambda: None)
    monkeypatch.setattr(compiled, "library_file", lambda: tmp_path / "step-avx2.so")
    assert "compile.py" not in doctor._compiled_steps().advice
    (tmp_path / "step-avx2.so").touch()
    check = doctor._compiled_steps()
    assert not check.ok and "step-avx2.so" in check.detail and "python .hatch/compile.py" in check.advice


def test_a_probe_that_fails_is_an_answer():
    def _broken_probe():
        raise RuntimeError("two\nlines")

    assert guarded(_broken_probe) == Check("broken probe", False, "RuntimeError: two lines")


def test_a_probe_that_hangs_is_an_answer():
    may_end = threading.Event()

    def _hanging_probe():
        may_end.wait()
        return Check("late", True, "")

    assert guarded(_hanging_probe, 0.1) == Check("hanging probe", False, "no answer within 0.1 s")
    may_end.set()


def test_a_core_probe_that_fails_has_advice(monkeypatch):
    def _torch():
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(doctor, "_CORE", (_torch,))
    check = guarded(_torch)
    assert check.is_core and not check.ok and "pip install" in check.advice


def test_sound_device_and_midi_ports_answer_in_time():
    for probe in (doctor._sound_device, doctor._midi_ports):
        check = guarded(probe)
        assert check.detail and (check.ok or check.advice) and "no answer" not in check.detail


def test_ports_are_counted(monkeypatch):
    answer = subprocess.CompletedProcess([], 0, 'noise\n[["a", "b"], ["c"]]\n', "")
    monkeypatch.setattr(doctor, "_child", lambda code: answer)
    if importlib.util.find_spec("rtmidi") is None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert doctor._midi_ports() == Check("midi ports", True, "2 inputs, 1 outputs")


def test_speed_of_composing(tiny_muse, monkeypatch):
    monkeypatch.setattr("musegen.api.DEFAULT_MODEL", tiny_muse)
    monkeypatch.setitem(doctor.__dict__, "_COMPOSING_SECONDS", 5.0)
    monkeypatch.setattr("musegen.api.compose", partial(api.compose, model=tiny_muse))
    check = doctor._composing()
    assert check.per_second and check.per_second > 0 and "4 bars" in check.detail
    monkeypatch.setitem(doctor.__dict__, "_COMPOSING_SECONDS", 0.0)
    assert "1 bars" in doctor._composing().detail


@pytest.mark.parametrize("engine", ["fluidsynth", "tones"])
def test_speed_of_rendering(engine, monkeypatch):
    small = Path(importlib.util.find_spec("pretty_midi").origin).parent / "TimGM6mb.sf2"
    monkeypatch.setenv("MUSEGEN_SOUND_FONT", str(small))
    check = guarded(getattr(doctor, f"_rendering_by_{engine}"))
    assert check.name == f"rendering by {engine}"
    assert check.ok == (check.per_second is not None)
    if engine == "tones":
        assert check.per_second and check.per_second > 1
