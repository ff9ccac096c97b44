"""`musegen evaluate`: a model's numbers on held-out data, beside simple baselines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from musegen.cli.output import AsJson, print_facts, print_rows
from musegen.cli.progress import StageProgress

app = typer.Typer(no_args_is_help=True)

_TABLES = {
    "models": "Models",
    "labels": "Composers and styles: muse with nothing told, beside the 5-gram",
    "blocks": "Kinds of token: the same",
}


@app.callback()
def evaluate() -> None:
    """Measure a model on held-out data, beside simple baselines.

    Example: musegen evaluate muse --data shards
    """


@app.command()
def muse(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Shards from `musegen data prepare`.")],
    split: Annotated[
        str | None, typer.Option(metavar="valid|test", help="Which of them.", show_default="valid")
    ] = None,
    pieces: Annotated[
        int | None, typer.Option(metavar="N", help="Only so many, always the same; all if left out.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="muse-small")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure muse in nats a token and a note, beside a unigram and an interpolated 5-gram on the same tokens.

    Example: musegen evaluate muse --data shards
    """
    from musegen import api

    options: dict[str, Any] = {"split": split, "max_pieces": pieces, "model": model}
    given = {name: value for name, value in options.items() if value is not None}
    with StageProgress("tokens") as progress:
        report = api.evaluate_muse(data, **given, on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    scored = f"{report['n_tokens']:,} tokens with {report['n_notes']:,} notes"
    source = f"{report['n_pieces']:,} of {report['n_pieces_in_split']:,} pieces of {report['split']}"
    typer.echo(f"{scored}, in {source}. Nats: the lower, the better.")
    for key, what in _TABLES.items():
        typer.echo(f"\n{what}")
        print_rows([_readable(row) for row in report[key]], as_json)


@app.command()
def coconet(
    data: Annotated[Path, typer.Option("--data", metavar="FILE.json", help="Chorales as in Coconet's JSON.")],
    split: Annotated[
        str | None, typer.Option(metavar="train|valid|test", help="Which of them.", show_default="valid")
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this protocol; may be given more than once.")
    ] = None,
    se: Annotated[
        float | None, typer.Option(help="Standard error of the notewise random figure.", show_default="0.003")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="The other figures on every cell: takes hours.")] = False,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="coconet")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure coconet on whole chorales in nats, over orders of filling them in, beside Markov baselines.

    Example: musegen evaluate coconet --data Jsb16thSeparated.json --split valid
    """
    from musegen import api
    from musegen.music.orderings import MEANINGS

    options: dict[str, Any] = {"split": split, "se": se, "model": model}
    given = {name: value for name, value in options.items() if value is not None}
    with StageProgress("masks") as progress:
        report = api.evaluate_coconet(data, protocols=protocol, exact=exact, **given, on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    typer.echo(f"{report['model']} on {report['n_pieces']:,} pieces of {report['split']}, {report['n_cells']:,} cells.")
    rows = [
        {"protocol": name, "nats": f"{report[name]['nats']:.4f}", "se": f"{report[name]['se']:.4f}", "what": meaning}
        for name, meaning in MEANINGS.items()
        if name in report
    ]
    print_rows(rows, as_json)
    for name, nats in report["baselines"].items():
        typer.echo(f"{name.replace('_', ' ')}, counted on train: {nats:.3f} nats a cell")


def _readable(row: Mapping[str, Any]) -> dict[str, object]:
    """Returns a row of figures as a person reads it: nats with three decimals, shares in percent."""
    readable: dict[str, object] = {}
    for key, value in row.items():
        name = key.replace("nats_per", "nats a").replace("share_of", "% of")
        if key.startswith("share_of"):
            readable[name] = f"{100 * value:.1f}"
        else:
            readable[name] = f"{value:.3f}" if isinstance(value, float) else value
    return readable
