"""What is done with a score that exists: look at it, convert it, draw it, engrave it, hear it.

Every `score` is a `Score`, the path of a score file, or an object of another library; see `midi.convert.as_score`.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musegen.errors import InputError
from musegen.midi.convert import ScoreLike, as_score

if TYPE_CHECKING:
    from musegen.midi.sound.rendering import RenderReport

PathLike = str | os.PathLike[str]
OnProgress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


def info(score: ScoreLike) -> dict[str, Any]:
    """Returns what is in a score: length, tempos, meters, keys, tracks and texts.

    Also, as `left_out`, what a MIDI file had and a score has not, and as `quantising` what the grid of the models would
    change.

    Raises:
        ScoreFileError: the file cannot be read.
    """
    from musegen.midi.facts import facts
    from musegen.music.grid import quantise

    music = as_score(score)
    try:
        quantising = asdict(quantise(music)[1])
    except InputError as error:  # too long for the models, but not for this
        quantising = {"refused": str(error)}
    return {**facts(music), "quantising": quantising}


def convert(score: ScoreLike, out: PathLike) -> None:
    """Writes a score as another file: .mid, or .musicxml, .xml or .mxl (quantised to notation).

    Raises:
        ScoreFileError: the file cannot be read, or the other not written.
        InputError: the name ends otherwise.
    """
    as_score(score).write(out)


def plot(score: ScoreLike, out: PathLike, *, rows: int | None = None, bars: tuple[int, int] | None = None) -> None:
    """Draws a score as a piano-roll, .png or .svg.

    Args:
        score: the music.
        out: a file that ends in .png or .svg.
        rows: over how many rows the bars are spread, at least 1; by default as many as keep the notes legible.
        bars: the first and the last bar to draw, counted from 1, such as (9, 24); by default all.

    Raises:
        ScoreFileError: the file cannot be read, or the picture not written.
        InputError: the picture's name has another ending, or `rows` or `bars` cannot be drawn legibly.
    """
    from musegen.midi.picture.pianoroll import plot as draw

    music = as_score(score)
    file = Path(score).stem if isinstance(score, str | os.PathLike) else None
    draw(music, out, title=music.name or file, rows=rows, bars=bars)


def engrave(score: ScoreLike, out: PathLike, *, on_progress: OnProgress | None = None) -> list[Path]:
    """Writes a score as sheet music on A4 pages.

    Args:
        score: the music; its notes are moved to a grid that can be read.
        out: a file that ends in .pdf, .svg or .png.
        on_progress: called with how many pages are done, and of how many.

    Returns:
        The files written: one, or for several pages of .svg and .png one each, numbered.

    Raises:
        ScoreFileError: the file cannot be read, or a page not written.
        InputError: the name ends otherwise, or Verovio is not installed.
    """
    from musegen.midi.engraving import engrave as write_pages

    return write_pages(as_score(score), Path(out), on_progress)


def render(
    score: ScoreLike,
    out: PathLike,
    *,
    sound_font: PathLike | None = None,
    sample_rate: int = 44100,
    peak: float = 0.9,
    on_progress: OnProgress | None = None,
) -> "RenderReport":
    """Writes a score as sound: a WAV file, 16 bits, stereo.

    It sounds with FluidSynth where that is installed and a sound font is found, and in simple tones otherwise; the
    report says which, and why.

    Args:
        score: the music.
        out: ends in .wav.
        sound_font: an .sf2 or .sf3 file; None takes the one that MUSEGEN_SOUND_FONT names, or the best that is found.
        sample_rate: samples a second, 8,000 to 96,000.
        peak: the level of the loudest sample, above 0 to 1.
        on_progress: called with the seconds of sound done, and of how many.

    Raises:
        InputError: the score has no notes or is too long, or an argument is not usable.
        ScoreFileError: the file cannot be read, or the sound not written.
    """
    from musegen.midi.sound.rendering import render as write_sound

    music = as_score(score)
    return write_sound(music, out, sound_font=sound_font, sample_rate=sample_rate, peak=peak, on_progress=on_progress)


def listen(score: ScoreLike, *, sound_font: PathLike | None = None, on_progress: OnProgress | None = None) -> None:
    """Plays a score on the sound device, and returns when it has died away. Ctrl-C stops it.

    Args:
        score: the music.
        sound_font: as in `render`.
        on_progress: called with the seconds played, and of how many.

    Raises:
        InputError: the score has no notes, FluidSynth is not installed, or there is no sound font or sound device.
        ScoreFileError: the file cannot be read.
    """
    from musegen.midi.sound.rendering import listen as play

    play(as_score(score), sound_font=sound_font, on_progress=on_progress)
