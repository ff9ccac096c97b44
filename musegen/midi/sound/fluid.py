"""Playing with FluidSynth, a synthesizer in C that sounds as its sound font does (extra `audio`)."""

import contextlib
import ctypes
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.sound.performance import MAX_CHANNELS, Kind, Message

_LIBRARY = {"darwin": "brew install fluid-synth", "win32": "choco install fluidsynth"}
INSTALL_LIBRARY = _LIBRARY.get(sys.platform, "apt install fluidsynth (dnf install fluidsynth, pacman -S fluidsynth)")
"""How FluidSynth itself is installed here."""

_POLYPHONY = 512
_GAIN = 0.2  # far from the limit of a 16-bit sound device; a file is scaled anyway
_MELODIC, _DRUMS = 0, 1
_DRUM_BANK = 128
_LOG_LEVELS = range(5)
_BUFFER_SECONDS = 0.3  # until what was sent has left the device


@lru_cache(maxsize=1)
def _binding() -> Any:
    """Returns pyfluidsynth, silenced, with the calls that it lacks.

    Raises:
        InputError: the package or the library is missing.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It prints where it found the library if CI is set
            import fluidsynth
    except ModuleNotFoundError:
        raise InputError("pyfluidsynth is not installed: pip install 'musegen[audio]'") from None
    except (ImportError, OSError, AttributeError):
        raise InputError(f"the FluidSynth library is not installed: {INSTALL_LIBRARY}") from None
    library: Any = getattr(fluidsynth, "_fl", None)
    if library is None or not hasattr(library, "fluid_synth_pin_preset"):
        raise InputError("the installed FluidSynth is too old: musegen needs version 2.2 and pyfluidsynth 1.3.4")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, arguments in {
        "fluid_synth_write_float": (pointer, number, pointer, number, number, pointer, number, number),
        "fluid_synth_set_channel_type": (pointer, number, number),
        "fluid_synth_channel_pressure": (pointer, number, number),
        "fluid_synth_key_pressure": (pointer, number, number, number),
        "fluid_synth_pin_preset": (pointer, number, number, number),
        "fluid_set_log_function": (number, pointer, pointer),
    }.items():
        getattr(library, name).argtypes = arguments
    library.fluid_version_str.restype = ctypes.c_char_p
    for level in _LOG_LEVELS:  # What it has to say, it writes to stderr; what matters is told by what it returns
        library.fluid_set_log_function(level, None, None)
    return fluidsynth


def version() -> str:
    """Returns the version of the installed FluidSynth, such as "2.3.1".

    Raises:
        InputError: it is not installed.
    """
    return _binding()._fl.fluid_version_str().decode()


class FluidSynth:
    """A synthesizer with a sound font; close it after use.

    What is played takes effect with the next 64 samples, 1.5 ms at 44,100 a second.

    Args:
        sound_font: a file.
        is_drum: of each channel, whether a pitch names a drum on it.
        programs: what will be played, as pairs of a program and whether it is one of drums. A font is large: only their
            samples are loaded, and kept; those of other banks when they are first chosen.
        sample_rate: 8,000 to 96,000 a second.

    Raises:
        InputError: FluidSynth is not installed or cannot read the font.
    """

    def __init__(
        self, sound_font: Path, is_drum: tuple[bool, ...], programs: Iterable[tuple[int, bool]], sample_rate: int
    ):
        binding = _binding()
        self._library = binding._fl
        n_channels = min(-(-len(is_drum) // 16) * 16, MAX_CHANNELS)
        options = {"synth.polyphony": _POLYPHONY, "synth.dynamic-sample-loading": 1}
        self._synth = binding.Synth(gain=_GAIN, samplerate=float(sample_rate), channels=n_channels, **options)
        self._n_channels, self._driver = len(is_drum), None
        with _quiet_stderr():
            font = self._synth.sfload(str(sound_font))
        if font < 0:
            self._synth.delete()
            raise InputError(f"sound_font is {str(sound_font)!r}, which FluidSynth cannot read")
        for channel, drums in enumerate(is_drum):
            self._library.fluid_synth_set_channel_type(self._synth.synth, channel, _DRUMS if drums else _MELODIC)
        for program, drums in programs:
            self._library.fluid_synth_pin_preset(self._synth.synth, font, _DRUM_BANK if drums else 0, program)

    def play(self, message: Message) -> None:
        """Take one message."""
        kind, channel, first, second = message
        synth = self._synth
        match kind:
            case Kind.NOTE_ON:
                synth.noteon(channel, first, second)
            case Kind.NOTE_OFF:
                synth.noteoff(channel, first)
            case Kind.CONTROL:
                synth.cc(channel, first, second)
            case Kind.PROGRAM:
                synth.program_change(channel, first)
            case Kind.PITCH_BEND:
                synth.pitch_bend(channel, second)
            case Kind.PRESSURE:
                self._library.fluid_synth_channel_pressure(synth.synth, channel, second)
            case Kind.KEY_PRESSURE:
                self._library.fluid_synth_key_pressure(synth.synth, channel, first, second)

    def sound(self, frames: NDArray[np.float32]) -> None:
        """Fill `frames`, of shape (n, 2) and without gaps in memory, with the next samples."""
        place = frames.ctypes.data
        self._library.fluid_synth_write_float(self._synth.synth, len(frames), place, 0, 2, place, 1, 2)

    @property
    def n_sounding(self) -> int:
        """How many voices sound."""
        return self._synth.get_active_voice_count()

    def start(self, driver: str | None = None) -> None:
        """Open the sound device; from here on, what is played is heard at once.

        Args:
            driver: one of FluidSynth's, such as "alsa" or "file"; None tries the usual ones.

        Raises:
            InputError: there is no sound device.
        """
        self._driver, _ = _opened(self._synth, driver)

    def silence(self) -> None:
        """End every note and wait until that is heard."""
        for channel in range(self._n_channels):
            self._synth.cc(channel, 64, 0)
            self._synth.all_notes_off(channel)
        if self._driver:
            time.sleep(_BUFFER_SECONDS)

    def close(self) -> None:
        """Give back the device and the memory."""
        if self._driver:
            _binding().delete_fluid_audio_driver(self._driver)
            self._driver = None
        self._synth.delete()


def sound_device(driver: str | None = None) -> str:
    """Opens the sound device and closes it again, and returns the name of its driver, such as "alsa".

    Raises:
        InputError: FluidSynth is not installed, or there is no sound device.
    """
    binding = _binding()
    synth = binding.Synth(channels=16)
    try:
        opened, name = _opened(synth, driver)
        binding.delete_fluid_audio_driver(opened)
        return name
    finally:
        synth.delete()


def _opened(synth: Any, driver: str | None) -> tuple[Any, str]:
    """Returns the sound device that a synthesizer plays on from now on, and the name of its driver."""
    names = [driver] if driver else _drivers(synth.get_setting("audio.driver"))
    for name in names:
        synth.setting("audio.driver", name)
        with _quiet_stderr():
            opened = _binding().new_fluid_audio_driver(synth.settings, synth.synth)
        if opened:
            return opened, name
    raise InputError(f"no sound device was found (tried {', '.join(names)}); `musegen render` writes a file")


def _drivers(default: str | None) -> list[str]:
    """Returns the drivers to try. JACK is not among them unless it is the default: it may start a server."""
    usual = {"darwin": ["coreaudio"], "win32": ["wasapi", "dsound", "waveout"]}
    names = [default or "", *usual.get(sys.platform, ["pulseaudio", "pipewire", "alsa"])]
    return [name for name in dict.fromkeys(names) if name]


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keeps what C libraries print away from the terminal: ALSA writes ten lines where there is no sound card."""
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
