"""Commands that show what there is: models, names, and what is in a file."""

from pathlib import Path
from typing import Annotated

import typer

from musegen.cli.output import AsJson, print_facts, print_rows

ScoreFile = Annotated[Path, typer.Argument(metavar="FILE.mid", help="A MIDI file.")]


def models(as_json: AsJson = False) -> None:
    """List the models and which of them are trained.

    Example: musegen models --json
    """
    from musegen import api

    print_rows(api.models(), as_json)


def composers(as_json: AsJson = False) -> None:
    """List the composers and styles that a model was trained on.

    Example: musegen composers
    """
    from musegen import api

    print_rows(api.composers(), as_json)


def instruments(as_json: AsJson = False) -> None:
    """List the instruments, with their General MIDI programs and ranges.

    Example: musegen instruments
    """
    from musegen import api

    print_rows(api.instruments(), as_json)


def info(file: ScoreFile, as_json: AsJson = False) -> None:
    """Say what is in a MIDI file: length, tempo, meter, tracks, texts.

    Example: musegen info piece.mid
    """
    from musegen import api

    print_facts(api.info(file), as_json)


def plot(
    file: ScoreFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.png", help="Picture to write: .png or .svg.")],
) -> None:
    """Draw a MIDI file as a piano-roll.

    Example: musegen plot piece.mid -o piece.png
    """
    from musegen import api

    api.plot(file, out)
    typer.echo(out)
