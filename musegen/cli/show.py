"""Commands that show what there is: models, names, and what is in a file."""

from pathlib import Path
from typing import Annotated

import typer

from musegen.cli.arguments import ScoreFile, bar_span, given
from musegen.cli.output import AsJson, print_facts, print_rows


def models(as_json: AsJson = False) -> None:
    """List the models and which of them are trained.

    Example: musegen models --json
    """
    from musegen import api

    print_rows(api.models(), as_json)


def composers(
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which model; `musegen models` lists the names.", show_default="muse-small"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the composers and styles that a model was trained on.

    Example: musegen composers
    """
    from musegen import api

    print_rows(api.composers(**given(model=model)), as_json)


def instruments(as_json: AsJson = False) -> None:
    """List the instruments, with their General MIDI programs and ranges.

    Example: musegen instruments
    """
    from musegen import api

    print_rows(api.instruments(), as_json)


def info(file: ScoreFile, as_json: AsJson = False) -> None:
    """Say what is in a score file: length, tempos, meters, keys, tracks, texts, and what the models' grid would change.

    Example: musegen info piece.mid
    """
    from musegen import api

    print_facts(api.info(file), as_json)


def convert(
    file: ScoreFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .mid, .musicxml, .xml or .mxl.")],
) -> None:
    """Turn a score file into another kind: MIDI into MusicXML, or MusicXML, ABC and Humdrum into MIDI.

    Example: musegen convert song.abc song.mid
    """
    from musegen import api

    api.convert(file, out)
    typer.echo(out)


def plot(
    file: ScoreFile,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.png", help="Picture to write: .png or .svg.")],
    bars: Annotated[str | None, typer.Option(metavar="FIRST-LAST", help="Only these bars, counted from 1.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Over how many rows the bars are spread.")] = None,
) -> None:
    """Draw a score file as a piano-roll.

    Example: musegen plot piece.mid -o piece.png --bars 9-24
    """
    from musegen import api

    api.plot(file, out, **given(rows=rows, bars=bar_span(bars)))
    typer.echo(out)
