"""Sheet music."""

from pathlib import Path
from typing import Annotated

import typer

from musegen.cli.arguments import ScoreFile
from musegen.cli.progress import StageProgress


def score(
    file: ScoreFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .pdf, .svg or .png.")],
) -> None:
    """Write a file as sheet music; several pages of .svg or .png are numbered.

    Example: musegen score bach.mid -o bach.pdf
    """
    from musegen import api

    with StageProgress("pages") as progress:
        written = api.engrave(file, out, on_progress=lambda done, of: progress.update("Engraving", done, of))
    for path in written:
        typer.echo(path)
