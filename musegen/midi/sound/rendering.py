"""Scores as sound: written to a WAV file, or played to the sound device."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError, UnknownNameError
from musegen.midi import limits
from musegen.midi.score import Score
from musegen.midi.sound.fluid import FluidSynth, sound_device, version
from musegen.midi.sound.performance import Message, Performance
from musegen.midi.sound.soundfonts import VARIABLE, find_sound_font
from musegen.midi.sound.tones import Tones
from musegen.midi.sound.wav import MAX_FRAMES, wav_file

OnProgress = Callable[[int, int], None]
"""Called with how many seconds of sound are done, and of how many."""

ENGINES = ("fluidsynth", "tones")
DEFAULT_SAMPLE_RATE = 44_100
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 96_000
MAX_TAIL_SECONDS = 10
"""How long the last notes may take to die away; a pedal that is never lifted would hold an organ for ever."""

_BLOCK_FRAMES = 1 << 15
_FADE_SECONDS = 0.5
_SILENT = 3e-5
_LONGEST_SLEEP_SECONDS = 0.1


@dataclass(frozen=True)
class RenderReport:
    """What was rendered.

    Args:
        path: the sound file.
        seconds: how long it is.
        engine: what played, such as "FluidSynth 2.3.1" or "simple tones".
        sound_font: with which sounds; None for simple tones.
        elapsed_seconds: how long that took.
        loading_seconds: how much of it went by before the first sound, for the sound font above all.
        advice: why it sounds simple and what to do about it, in one line; empty where nothing is missing.
    """

    path: Path
    seconds: float
    engine: str
    sound_font: Path | None
    elapsed_seconds: float
    loading_seconds: float
    advice: str = ""

    @property
    def times_real_time(self) -> float:
        """Seconds of sound rendered a second."""
        return self.seconds / max(self.elapsed_seconds, 1e-9)


class Synthesizer(Protocol):
    """What plays: takes messages, and gives the sound between them."""

    @property
    def n_sounding(self) -> int:
        """How many voices sound."""
        ...

    def play(self, message: Message) -> None:
        """Take one message."""
        ...

    def sound(self, frames: NDArray[np.float32]) -> None:
        """Fill `frames`, of shape (n, 2), with the next samples."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


# Files ----------------------------------------------------------------------------------------------------------------


def render(
    score: Score,
    path: str | os.PathLike[str],
    *,
    sound_font: str | os.PathLike[str] | None = None,
    sample_rate: int = DEFAULT_SAMPLE_RATE,
    peak: float = 0.9,
    engine: str | None = None,
    on_progress: OnProgress | None = None,
) -> RenderReport:
    """Writes a score as a WAV file (16 bits, stereo): whole, or not at all. Equal scores give equal files.

    It takes little memory however long the score is, and while it works twice the room of the file.

    Args:
        score: what to play.
        path: ends in .wav.
        sound_font: a file; None takes the one that MUSEGEN_SOUND_FONT names, or the best that is found.
        sample_rate: samples a second, 8,000 to 96,000.
        peak: the level of the loudest sample, above 0 to 1.
        engine: "fluidsynth", or "tones" for simple tones, which need nothing; None takes FluidSynth where it is
            installed and a sound font is found.
        on_progress: called with the seconds of sound done, and of how many.

    Raises:
        InputError: the score has no notes, is longer than `limits.current().sound_seconds` or than a WAV file, or an
            argument is not usable.
        ScoreFileError: the file cannot be written.
    """
    began = time.perf_counter()
    _check(sample_rate, peak, engine)
    performance = Performance.of(score)
    end_frame = _end_frame(score, sample_rate)
    frames = np.rint(score.seconds_at(performance.start_ticks) * sample_rate).astype(np.int64)
    name, font, advice = _chosen(engine, sound_font)
    with wav_file(path, sample_rate, peak) as wav:
        of_seconds = math.ceil(end_frame / sample_rate)
        with closing(_synthesizer(font, performance, sample_rate)) as synth:
            loaded = time.perf_counter()
            for block in _sound(synth, performance, frames, end_frame, sample_rate):
                wav.write(block)
                if on_progress:
                    on_progress(min(wav.n_frames // sample_rate, of_seconds), of_seconds)
        if on_progress:
            on_progress(of_seconds, of_seconds)
    seconds, elapsed = wav.n_frames / sample_rate, time.perf_counter() - began
    return RenderReport(Path(path), seconds, name, font, elapsed, loaded - began, advice)


def _check(sample_rate: int, peak: float, engine: str | None) -> None:
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise InputError(f"sample_rate is {sample_rate}; allowed are {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}")
    if not 0 < peak <= 1:
        raise InputError(f"peak is {peak}; allowed are numbers above 0 up to 1")
    if engine is not None and engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)


def _end_frame(score: Score, sample_rate: int) -> int:
    """Returns the frame at which the last note ends."""
    seconds, most = score.duration_seconds, limits.current().sound_seconds
    if seconds > most:
        how = limits.how_to_raise("sound_seconds")
        raise InputError(f"the score lasts {seconds:,.0f} seconds; at most {most:,} are rendered ({how})")
    if (seconds + MAX_TAIL_SECONDS) * sample_rate > MAX_FRAMES:
        longest = MAX_FRAMES // sample_rate - MAX_TAIL_SECONDS
        raise InputError(f"the score lasts {seconds:,.0f} seconds; a WAV file of {sample_rate} Hz holds {longest:,}")
    return round(seconds * sample_rate)


def _chosen(engine: str | None, sound_font: str | os.PathLike[str] | None) -> tuple[str, Path | None, str]:
    """Returns the name of the engine that plays, its sound font, and what there is to say about it."""
    if engine == "tones":
        return "simple tones", None, ""
    font = find_sound_font(sound_font)
    try:
        installed = version()
        if font is None:
            raise InputError(f"no sound font was found: name one (.sf2) with sound_font or {VARIABLE}")
    except InputError as error:
        if engine is not None or sound_font is not None:
            raise
        return "simple tones", None, f"{error}. Until then it sounds in simple tones"
    return f"FluidSynth {installed}", font, ""


def _synthesizer(font: Path | None, performance: Performance, sample_rate: int) -> Synthesizer:
    if font is None:
        return Tones(performance.is_drum, sample_rate)
    return FluidSynth(font, performance.is_drum, performance.programs(), sample_rate)


def _sound(
    synth: Synthesizer, performance: Performance, frames: NDArray[np.int64], end_frame: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Yields the sound of a performance in blocks, until it has died away; each is overwritten by the next."""
    block = np.empty((_BLOCK_FRAMES, 2), np.float32)
    stop = end_frame + MAX_TAIL_SECONDS * sample_rate
    step = sample_rate // 10
    filled = now = 0
    for at, message in _timeline(performance, frames, stop):
        while now < at:
            in_tail = now >= end_frame
            n = min(at - now, _BLOCK_FRAMES - filled, step if in_tail else end_frame - now)
            part = block[filled : filled + n]
            synth.sound(part)
            if in_tail:
                part *= np.clip((stop - np.arange(now, now + n)) / (_FADE_SECONDS * sample_rate), 0, 1)[:, None]
            filled, now = filled + n, now + n
            if in_tail and n == step and not synth.n_sounding and np.abs(part).max() < _SILENT:
                yield block[:filled]
                return
            if filled == _BLOCK_FRAMES:
                yield block
                filled = 0
        if message:
            synth.play(message)
    yield block[:filled]


def _timeline(performance: Performance, frames: NDArray[np.int64], stop: int) -> Iterator[tuple[int, Message | None]]:
    """Yields each message with its frame, and at last the frame at which everything stops."""
    for place, message in performance.messages():
        if frames[place] >= stop:
            break
        yield int(frames[place]), message
    yield stop, None


# The sound device -----------------------------------------------------------------------------------------------------


def listen(
    score: Score,
    *,
    sound_font: str | os.PathLike[str] | None = None,
    driver: str | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Plays a score on the sound device, and returns when it has died away. Ctrl-C stops it at once.

    Args:
        score: what to play.
        sound_font: a file; None takes the one that MUSEGEN_SOUND_FONT names, or the best that is found.
        driver: one of FluidSynth's audio drivers, such as "alsa"; None tries the usual ones.
        on_progress: called with the seconds played, and of how many.

    Raises:
        InputError: the score has no notes, FluidSynth is not installed, or there is no sound font or sound device.
    """
    performance = Performance.of(score)
    font = find_sound_font(sound_font)
    try:
        version()
    except InputError as error:
        raise InputError(f"{error}; `musegen render` writes a sound file without it") from None
    if font is None:
        raise InputError(f"no sound font was found: name one (.sf2) with sound_font or {VARIABLE}")
    sound_device(driver)  # Before the sound font is loaded, which may take seconds
    seconds = score.seconds_at(performance.start_ticks)
    end_seconds = score.duration_seconds
    with closing(FluidSynth(font, performance.is_drum, performance.programs(), DEFAULT_SAMPLE_RATE)) as synth:
        synth.start(driver)
        try:
            _perform(synth, performance, seconds, end_seconds, on_progress)
        finally:
            synth.silence()


def _perform(
    synth: FluidSynth,
    performance: Performance,
    seconds: NDArray[np.float64],
    end_seconds: float,
    on_progress: OnProgress | None,
) -> None:
    began = time.monotonic()
    of_seconds = math.ceil(end_seconds)
    shown = -1

    def wait_until(at_seconds: float) -> None:
        """Sleeps to an absolute time, so that nothing adds up, and tells how far it is."""
        nonlocal shown
        while (left := began + at_seconds - time.monotonic()) > 0:
            time.sleep(min(left, _LONGEST_SLEEP_SECONDS))
            played = min(int(time.monotonic() - began), of_seconds)
            if on_progress and played > shown:
                shown = played
                on_progress(played, of_seconds)

    for place, message in performance.messages():
        if seconds[place] > end_seconds + MAX_TAIL_SECONDS:
            break
        wait_until(float(seconds[place]))
        if seconds[place] > end_seconds and not synth.n_sounding:
            break
        synth.play(message)
    while synth.n_sounding and time.monotonic() - began < end_seconds + MAX_TAIL_SECONDS:
        wait_until(time.monotonic() - began + _LONGEST_SLEEP_SECONDS)
    if on_progress:
        on_progress(of_seconds, of_seconds)
