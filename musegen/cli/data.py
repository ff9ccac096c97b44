"""`musegen data`: from files of music to what a model trains on."""

from pathlib import Path
from typing import Annotated

import typer

from musegen.cli.arguments import given
from musegen.cli.output import AsJson, print_facts

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="A folder of MIDI files, with a manifest.csv or a folder a label.")]
Workers = Annotated[int | None, typer.Option(help="Processes; one a core if left out.")]


@app.callback()
def data() -> None:
    """Prepare training data, and check what is lost on the way.

    Example: musegen data prepare midi-corpus --out shards
    """


@app.command()
def prepare(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the shards.")],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Turn a folder of MIDI files into shards to train on.

    It can be stopped at any time, and goes on where it stopped. Files that cannot be read are listed with the reason.

    Example: musegen data prepare midi-corpus --out shards
    """
    from musegen import api

    print_facts(api.prepare_data(folder, out, n_workers=workers), as_json)


@app.command()
def chorales(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the chorales.")],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Read Bach's chorales out of music21's corpus, with what a grid of pitches lacks: where notes begin, meter, key.

    It can be stopped at any time, and goes on where it stopped. What is no chorale is listed with the reason.

    Example: musegen data chorales --out chorales
    """
    from musegen import api

    print_facts(api.prepare_chorales(out, n_workers=workers), as_json)


@app.command()
def critic(
    shards: Annotated[Path, typer.Option("--data", metavar="DIR", help="Shards from `musegen data prepare`.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the excerpts.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which muse.", show_default="muse-small")] = None,
    pieces: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of train; a quarter as many of valid.", show_default="480"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The same seed does the same.", show_default="1")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Make what a muse's critic is trained on: windows of real pieces, and what the muse writes in their place.

    It can be stopped at any time, and goes on where it stopped.

    Example: musegen data critic --data shards --out excerpts
    """
    from musegen import api

    options = given(model=model, pieces=pieces, seed=seed, n_workers=workers)
    print_facts(api.prepare_excerpts(shards, out, **options), as_json)


@app.command()
def roundtrip(folder: Folder, workers: Workers = None, as_json: AsJson = False) -> None:
    """Report what quantising and tokens change in a folder of MIDI files: what moves, is merged or dropped.

    Example: musegen data roundtrip midi-corpus
    """
    from musegen import api

    report = api.roundtrip(folder, n_workers=workers)
    if as_json:
        print_facts(report, as_json)
        return
    n_files = report["readable"]
    n_exact, n_idempotent = report.pop("tokens_are_exact"), report.pop("is_idempotent")
    print_facts(report, as_json)
    typer.echo(f"Decoded tokens equal the grid they were made from in {n_exact:,} of {n_files:,} readable files.")
    typer.echo(f"Quantising a second time changes nothing in {n_idempotent:,} of {n_files:,}.")
