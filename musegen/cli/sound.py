"""`musegen render` and `musegen listen`: a score as sound."""

from pathlib import Path
from typing import Annotated, Any

import typer

from musegen.cli.arguments import ScoreFile
from musegen.cli.progress import StageProgress

_SoundFont = Annotated[
    Path | None,
    typer.Option(
        "--sound-font",
        metavar="F",
        help="Sound font, .sf2 or .sf3; if left out, the one that MUSEGEN_SOUND_FONT names or the best that is found.",
    ),
]


def render(
    file: ScoreFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.wav", help="Sound file to write.")],
    sound_font: _SoundFont = None,
    sample_rate: Annotated[
        int | None, typer.Option(metavar="N", help="Samples a second, 8000 to 96000.", show_default="44100")
    ] = None,
) -> None:
    """Write a score as sound: a WAV file, 16 bits, stereo.

    It sounds with FluidSynth and a sound font where they are installed, and in simple tones where not;
    `musegen doctor` says what is.

    Example: musegen render piece.mid -o piece.wav
    """
    from musegen import api

    options: dict[str, Any] = {"sound_font": sound_font, "sample_rate": sample_rate}
    given = {name: value for name, value in options.items() if value is not None}
    with StageProgress("s of sound") as progress:
        report = api.render(file, out, **given, on_progress=lambda done, of: progress.update("Rendering", done, of))
    if report.advice:
        typer.echo(f"{report.advice}.", err=True)
    font = f" with {report.sound_font.name}" if report.sound_font else ""
    speed = f"{report.times_real_time:.0f} times faster than real time"
    typer.echo(f"{report.path}: {report.seconds:.1f} s by {report.engine}{font}, {speed}")


def listen(file: ScoreFile, sound_font: _SoundFont = None) -> None:
    """Play a score on the sound device; Ctrl-C stops.

    Example: musegen listen piece.mid
    """
    from musegen import api

    with StageProgress("s") as progress:
        api.listen(file, sound_font=sound_font, on_progress=lambda done, of: progress.update("Playing", done, of))
