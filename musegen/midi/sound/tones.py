"""Simple tones: a small synthesizer in NumPy, for where FluidSynth is not installed.

Every voice reads a short table of sound in a loop, faster for a higher pitch, and dies away or holds as instruments of
its family do. Drums are noise and thumps. It hears what carries the music: pitch, velocity, program, sustain pedal,
volume, expression, pan and pitch bend. It costs the same memory for a minute and for hours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musegen.midi.sound.performance import Kind, Message

_MAX_VOICES = 128
_MAX_FRAMES = 1024  # at once: voices times frames are in memory together
_GAIN = 0.1
_SILENT = 1e-4
_RELEASE_SECONDS = 0.06
_TABLE, _NOISE = 4096, 1 << 16

_DATA, _VOLUME, _PAN, _EXPRESSION, _SUSTAIN = 6, 7, 10, 11, 64
_RPN_LSB, _RPN_MSB, _SOUND_OFF, _RESET, _NOTES_OFF = 100, 101, 120, 121, 123
_DEFAULT_BEND_SEMITONES = 2.0


class _Timbre(NamedTuple):
    """How an instrument sounds: strengths of its harmonics, time to fall to a third (0 holds) and time to swell."""

    harmonics: tuple[float, ...]
    decay_seconds: float
    attack_seconds: float = 0.004


_PURE, _PLUCKED = (1.0, 0.1), (1.0, 0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03)
_ORGAN, _BOWED = (0.8, 1.0, 0.2, 0.7, 0.0, 0.2, 0.0, 0.3), (1.0, 0.5, 0.33, 0.25, 0.2, 0.17, 0.14, 0.12)
_BRASS, _REED = (1.0, 0.9, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1), (1.0, 0.05, 0.5, 0.05, 0.3, 0.05, 0.2)

# The sixteen families of General MIDI, eight programs each.
_FAMILIES = (
    _Timbre(_PLUCKED, 1.0),  # piano
    _Timbre(_PURE, 0.6),  # chromatic percussion
    _Timbre(_ORGAN, 0.0, 0.01),
    _Timbre(_PLUCKED, 0.7),  # guitar
    _Timbre(_PLUCKED[:4], 0.8),  # bass
    _Timbre(_BOWED, 0.0, 0.05),  # strings
    _Timbre(_BOWED[:5], 0.0, 0.08),  # ensemble
    _Timbre(_BRASS, 0.0, 0.03),
    _Timbre(_REED, 0.0, 0.03),
    _Timbre(_PURE, 0.0, 0.03),  # pipe
    _Timbre(_BOWED, 0.0, 0.01),  # synth lead
    _Timbre(_ORGAN[:4], 0.0, 0.15),  # synth pad
    _Timbre(_REED[:4], 2.0, 0.05),  # synth effects
    _Timbre(_PLUCKED, 0.4),  # plucked instruments of the world
    _Timbre(_PURE, 0.15),  # percussive
    _Timbre(_BRASS, 0.3),  # sound effects
)


class _Drum(NamedTuple):
    """A drum: how fast it reads noise, or 0 for a tone of so many Hz; its time to fall to a third, and its strength."""

    noise_step: float
    hertz: float
    decay_seconds: float
    strength: float


_KICK, _SNARE = _Drum(0, 58.0, 0.12, 2.0), _Drum(0.5, 0, 0.08, 1.0)
_HAT, _OPEN_HAT, _CYMBAL = _Drum(1.0, 0, 0.03, 0.5), _Drum(1.0, 0, 0.2, 0.5), _Drum(1.0, 0, 0.5, 0.5)
_DRUMS = (
    {35: _KICK, 36: _KICK, 42: _HAT, 44: _HAT, 46: _OPEN_HAT, 54: _HAT, 69: _HAT, 70: _HAT}
    | dict.fromkeys((37, 38, 39, 40), _SNARE)
    | dict.fromkeys((49, 51, 52, 53, 55, 57, 59), _CYMBAL)
    | {pitch: _Drum(0, 80.0 * 2 ** ((pitch - 41) / 8), 0.15, 1.2) for pitch in (41, 43, 45, 47, 48, 50)}
)

_VOICES = np.dtype(
    [
        ("sounds", "?"), ("is_down", "?"), ("is_drum", "?"), ("channel", "i4"), ("pitch", "i4"),
        ("table", "i4"), ("length", "i4"), ("step", "f8"), ("phase", "f8"), ("level", "f4"), ("fall", "f4"),
        ("age", "f4"), ("attack", "f4"),
    ]
)  # fmt: skip


class Tones:
    """The synthesizer of simple tones.

    Args:
        is_drum: of each channel, whether a pitch names a drum on it.
        sample_rate: samples a second.
    """

    def __init__(self, is_drum: tuple[bool, ...], sample_rate: int):
        self._is_drum, self._rate = is_drum, sample_rate
        self._voices = np.zeros(_MAX_VOICES, _VOICES)
        self._program = [0] * len(is_drum)
        self._controls = np.zeros((len(is_drum), 128), np.int64)
        self._bend = np.zeros(len(is_drum))  # -1..1
        self._bend_semitones = np.full(len(is_drum), _DEFAULT_BEND_SEMITONES)
        for channel in range(len(is_drum)):
            self._reset(channel)
            self._controls[channel, [_VOLUME, _PAN]] = 100, 64
        self._tables, self._places = _tables()

    def play(self, message: Message) -> None:
        """Take one message."""
        kind, channel, first, second = message
        match kind:
            case Kind.NOTE_ON:
                self._begin(channel, first, second)
            case Kind.NOTE_OFF:
                self._lift(self._on(channel) & (self._voices["pitch"] == first))
            case Kind.CONTROL:
                self._control(channel, first, second)
            case Kind.PROGRAM:
                self._program[channel] = first
            case Kind.PITCH_BEND:
                self._bend[channel] = second / 8192

    def sound(self, frames: NDArray[np.float32]) -> None:
        """Fill `frames`, of shape (n, 2), with the next samples."""
        for start in range(0, len(frames), _MAX_FRAMES):
            self._fill(frames[start : start + _MAX_FRAMES])

    @property
    def n_sounding(self) -> int:
        """How many voices sound."""
        return int(np.count_nonzero(self._voices["sounds"]))

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _fill(self, frames: NDArray[np.float32]) -> None:
        places = np.flatnonzero(self._voices["sounds"])
        if not len(places):
            frames[:] = 0
            return
        voices, n = self._voices[places], len(frames)
        at = np.arange(n, dtype=np.float32)
        step = voices["step"] * 2 ** (self._bend * self._bend_semitones / 12)[voices["channel"]]
        index = (voices["phase"][:, None] + step[:, None] * at).astype(np.int64) % voices["length"][:, None]
        level = voices["level"][:, None] * np.exp(-voices["fall"][:, None] * at)
        if (voices["age"] < voices["attack"]).any():
            level *= np.minimum((voices["age"][:, None] + at) / voices["attack"][:, None], 1)
        sound = self._tables[voices["table"][:, None] + index] * level
        np.matmul(sound.T, self._gains()[voices["channel"]], out=frames)
        voices["phase"] = (voices["phase"] + step * n) % voices["length"]
        voices["level"] *= np.exp(-voices["fall"] * np.float32(n))
        voices["age"] += n
        voices["sounds"] = voices["level"] > _SILENT
        self._voices[places] = voices

    def _gains(self) -> NDArray[np.float32]:
        """Returns how loud each channel is, left and right."""
        loud = self._controls[:, _VOLUME] * self._controls[:, _EXPRESSION] / 127**2
        angle = np.clip((self._controls[:, _PAN] - 1) / 126, 0, 1) * np.pi / 2
        return (_GAIN * loud[:, None] ** 2 * np.stack((np.cos(angle), np.sin(angle)), 1)).astype(np.float32)

    def _begin(self, channel: int, pitch: int, velocity: int) -> None:
        self._lift(self._on(channel) & (self._voices["pitch"] == pitch), keep_pedal=False)
        free = np.flatnonzero(~self._voices["sounds"])
        place = free[0] if len(free) else np.argmin(self._voices["level"])
        voice = self._voices[place : place + 1]
        voice[:] = np.zeros(1, _VOICES)
        voice["sounds"], voice["is_down"], voice["channel"], voice["pitch"] = True, True, channel, pitch
        voice["level"] = (velocity / 127) ** 2
        if self._is_drum[channel]:
            self._hit(voice, _DRUMS.get(pitch, _Drum(0, 440 * 2 ** ((pitch - 60) / 12), 0.05, 0.7)))
            return
        timbre = _FAMILIES[self._program[channel] // 8]
        hertz = 440 * 2 ** ((pitch - 69) / 12)
        self._tune(voice, timbre.harmonics, hertz)
        voice["fall"] = 1 / (timbre.decay_seconds * self._rate) if timbre.decay_seconds else 0
        voice["attack"] = timbre.attack_seconds * self._rate

    def _hit(self, voice: NDArray[np.void], drum: _Drum) -> None:
        voice["is_drum"], voice["attack"] = True, 0.001 * self._rate
        voice["level"] *= drum.strength
        voice["fall"] = 1 / (drum.decay_seconds * self._rate)
        if drum.noise_step:
            voice["table"], voice["length"], voice["step"] = 0, _NOISE, drum.noise_step
        else:
            self._tune(voice, _PURE, drum.hertz)

    def _tune(self, voice: NDArray[np.void], harmonics: tuple[float, ...], hertz: float) -> None:
        """Choose the table whose harmonics all lie below half the sample rate."""
        n_harmonics = int(np.clip(0.45 * self._rate / hertz, 1, len(harmonics)))
        voice["table"], voice["length"] = self._places[harmonics[:n_harmonics]], _TABLE
        voice["step"] = _TABLE * hertz / self._rate

    def _on(self, channel: int) -> NDArray[np.bool_]:
        return self._voices["sounds"] & (self._voices["channel"] == channel)

    def _lift(self, chosen: NDArray[np.bool_], keep_pedal: bool = True) -> None:
        """Lift the keys of voices: they die away, unless their pedal is down or they are drums."""
        self._voices["is_down"][chosen] = False
        if keep_pedal:
            chosen = chosen & (self._controls[self._voices["channel"], _SUSTAIN] < 64)
        chosen = chosen & ~self._voices["is_drum"]
        self._voices["fall"][chosen] = np.maximum(self._voices["fall"][chosen], 1 / (_RELEASE_SECONDS * self._rate))

    def _control(self, channel: int, number: int, value: int) -> None:
        self._controls[channel, number] = value
        on = self._on(channel)
        if number == _SUSTAIN and value < 64:
            self._lift(on & ~self._voices["is_down"])
        elif number == _DATA and not self._controls[channel, [_RPN_MSB, _RPN_LSB]].any():
            self._bend_semitones[channel] = value
        elif number == _RESET:
            self._reset(channel)
            self._lift(on & ~self._voices["is_down"])
        elif number == _SOUND_OFF:
            self._voices["sounds"][on] = False
        elif number >= _NOTES_OFF:
            self._lift(on)

    def _reset(self, channel: int) -> None:
        self._controls[channel, [_EXPRESSION, _SUSTAIN, _RPN_MSB, _RPN_LSB]] = 127, 0, 127, 127
        self._bend[channel] = 0


def _tables() -> tuple[NDArray[np.float32], dict[tuple[float, ...], int]]:
    """Returns one array with a stretch of noise and a cycle of every set of harmonics, and where each cycle begins."""
    angle = 2 * np.pi * np.arange(_TABLE) / _TABLE
    parts = [np.random.default_rng(0).uniform(-1, 1, _NOISE)]
    places: dict[tuple[float, ...], int] = {}
    for harmonics in {timbre.harmonics for timbre in _FAMILIES}:
        for n in range(1, len(harmonics) + 1):
            cycle = sum(strength * np.sin(h * angle) for h, strength in enumerate(harmonics[:n], 1))
            if harmonics[:n] not in places:
                places[harmonics[:n]] = _NOISE + _TABLE * len(places)
                parts.append(cycle / np.sqrt(np.square(harmonics[:n]).sum()))
    return np.concatenate(parts).astype(np.float32), places
