"""`musegen evaluate`: a model's numbers on held-out data, beside simple baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from musegen.cli.arguments import count, given
from musegen.cli.compose import Guidance, Temperature, TopP
from musegen.cli.output import AsJson, print_facts, print_rows, rounded
from musegen.cli.progress import StageProgress

app = typer.Typer(no_args_is_help=True)

_NATS = {
    "models": "Models",
    "labels": "Labels: muse with nothing told, with the right label and with a wrong one, beside the 5-gram",
    "blocks": "Kinds of token: muse with nothing told, beside the 5-gram",
}


@app.callback()
def evaluate() -> None:
    """Measure a model on held-out data, beside simple baselines.

    Example: musegen evaluate muse --data shards
    """


@app.command()
def muse(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Shards from `musegen data prepare`; without them there are no nats."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="train|valid|test", help="Which of them.", show_default="valid")
    ] = None,
    pieces: Annotated[
        int | None, typer.Option(metavar="N", help="Score only so many, always the same; all if left out.")
    ] = None,
    written: Annotated[
        int | None,
        typer.Option(metavar="N", help="Write so many pieces; 0 for none, as many as real ones if left out."),
    ] = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    guidance: Guidance = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The same seed writes the same.", show_default="1")
    ] = None,
    write_reference: Annotated[
        bool, typer.Option("--write-reference", help="Keep what real pieces are like in the model's folder.")
    ] = False,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="muse-small")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure muse: nats beside n-grams on the same tokens, and what it writes beside real pieces.

    Example: musegen evaluate muse --data shards
    """
    from musegen import api

    options = given(split=split, max_pieces=pieces, written=written, seed=seed, model=model)
    options |= given(temperature=temperature, top_p=top_p, guidance=guidance)
    with StageProgress("") as progress:
        report = api.evaluate_muse(data, write_reference=write_reference, **options, on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    if "models" in report:
        scored = f"{report['n_tokens']:,} tokens with {report['n_notes']:,} notes"
        source = f"{report['n_pieces']:,} of {report['n_pieces_in_split']:,} pieces of {report['split']}"
        typer.echo(f"{scored}, in {source}. Nats: the lower, the better.")
        for key, what in _NATS.items():
            _table(what, [_readable(row) for row in report[key]])
    if "likeness" in report:
        _print_judged(report)
    if "not_judged" in report:
        typer.echo(f"\nWhat it writes is not judged: {report['not_judged']}.")


def _print_judged(report: Mapping[str, Any]) -> None:
    """Print what `music.judging.judge` found."""
    drawn = ", ".join(
        f"{name} {report[name.replace('-', '_')]}" for name in ("temperature", "top-p", "guidance", "seed")
    )
    typer.echo(
        f"\n{report['n_written']:,} written pieces of 16 bars ({drawn}) beside {report['n_real']:,} held-out ones."
    )
    _table("Distance to real pieces, as a multiple of that between two halves of them", report["likeness"])
    _table(
        "Pieces that have the key and the density that they were asked for (%)",
        list(map(_in_hundreds, report["wishes"])),
    )
    if "gaps" in report:
        rows = [_readable(row) for row in report["gaps"]]
        _table("Gaps in held-out pieces: what fills them, beside what was there", rows)
    _table("Bars that nearly equal one before them, and empty bars (%)", [_in_hundreds(r) for r in report["bars"]])
    _table("Bars that are equal, or nearly, to the bar so many before (%)", [_in_hundreds(r) for r in report["lags"]])
    if report["copies"]:
        _table("Notes of the longest passage that a piece shares with a training piece, in any key", report["copies"])
    copying = report["copying"]
    typer.echo(
        f"\n{copying['n_copying']} of {copying['n_pieces']} were found to copy more than the {copying['usual']} notes "
        "that held-out pieces share at the most.\nRepeated chords and other editions of a piece aside, passages "
        f"of {copying['surely_found']} notes are always found, some of the shorter ones not."
    )
    if composers := report["composers"]:
        _print_composers(composers)


def _print_composers(composers: Mapping[str, Any]) -> None:
    names = composers["labels"]
    for who in ("real", "written"):
        recall, n = composers[who], composers[f"n_{who}"]
        share = "none" if recall is None else f"{100 * recall:.0f} % of each label on average are named rightly"
        what = f"{n} {who} pieces (rows) as a small classifier names them: {share} (by chance {100 / len(names):.0f} %)"
        table = composers[f"{who}_confusion"]
        _table(what, [{"": name, **dict(zip(names, row, strict=True))} for name, row in zip(names, table, strict=True)])


def _in_hundreds(row: Mapping[str, Any]) -> dict[str, object]:
    return {key: f"{100 * value:.1f}" if isinstance(value, float) else value for key, value in row.items()}


def _table(what: str, rows: Sequence[Mapping[str, object]]) -> None:
    typer.echo(f"\n{what}")
    print_rows(rows, as_json=False)


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

    options = given(split=split, se=se, model=model, protocols=protocol)
    with StageProgress("masks") as progress:
        report = api.evaluate_coconet(data, exact=exact, **options, on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    on = f"{count(report['n_pieces'], 'piece')} of {report['split']}"
    typer.echo(f"{report['model']} on {on}, {report['n_cells']:,} cells.")
    rows = [
        {"protocol": name, "nats": f"{report[name]['nats']:.4f}", "se": f"{report[name]['se']:.4f}", "what": meaning}
        for name, meaning in MEANINGS.items()
        if name in report
    ]
    print_rows(rows, as_json)
    for name, nats in report["baselines"].items():
        typer.echo(f"{name.replace('_', ' ')}, counted on train: {nats:.3f} nats a cell")


@app.command()
def chorales(
    data: Annotated[Path, typer.Option("--data", metavar="FILE.json", help="Chorales as in Coconet's JSON.")],
    split: Annotated[
        str | None, typer.Option(metavar="train|valid|test", help="Whose sopranos.", show_default="valid")
    ] = None,
    pieces: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many, always the same ones; 40 if left out.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option(metavar="N", help="How often voices are rewritten; as `musegen harmonize` does.")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(metavar="N", help="Of so many the likeliest is kept.", show_default="1")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="coconet")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The same seed does the same.", show_default="1")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what coconet writes, under held-out sopranos and freely, beside Bach's own chorales and Markov voices.

    Example: musegen evaluate chorales --data Jsb16thSeparated.json
    """
    from musegen import api
    from musegen.music.quality import COLUMNS, MEANINGS

    options = given(split=split, max_pieces=pieces, passes=passes, candidates=candidates, model=model, seed=seed)
    with StageProgress("pieces") as progress:
        report = api.evaluate_chorales(data, **options, on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    how = f"{count(report['passes'], 'pass', 'passes')}, {count(report['candidates'], 'candidate')}"
    on = f"{count(report['n_pieces'], 'piece')} of {report['split']}"
    typer.echo(f"{report['model']} on {on}: {how}, seed {report['seed']}.")
    rows = [
        {"figure": name, **{column: _decimals(report[column][name]) for column in COLUMNS}, "what": meaning}
        for name, meaning in MEANINGS.items()
    ]
    print_rows(rows, as_json)


def _decimals(number: float | None) -> str | None:
    return number if number is None else f"{number:.3f}" if isinstance(number, float) else f"{number:,}"


@app.command()
def onsets(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Chorales from `musegen data chorales`.")],
    split: Annotated[
        str | None, typer.Option(metavar="train|valid", help="Which of them.", show_default="valid")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which model.", show_default="coconet-onsets")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well repeated notes are told from held ones, beside a table counted on train.

    Example: musegen evaluate onsets --data chorales
    """
    from musegen import api

    with StageProgress("pieces") as progress:
        report = api.evaluate_onsets(data, **given(split=split, model=model), on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    scored = f"{report['model']} on {count(report['n_pieces'], 'chorale')} of {report['split']}"
    typer.echo(f"{scored}: sixteenths with the pitch of the one before, in voices whose onsets are not known.")
    print_rows([_in_percent(row) for row in report["figures"]], as_json)


def _in_percent(row: Mapping[str, Any]) -> dict[str, object]:
    shares = {f"{name} %": f"{100 * row[name]:.2f}" for name in ("accuracy", "precision", "recall", "f1")}
    named = {"onsets known": row["known"], "predictor": row["predictor"]}
    return {**named, "nats": f"{row['nats']:.4f}", **shares, "n_cells": row["n"]}


@app.command()
def ranking(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Shards from `musegen data prepare`.")],
    split: Annotated[
        str | None, typer.Option(metavar="train|valid|test", help="Which of them.", show_default="valid")
    ] = None,
    windows: Annotated[
        int | None, typer.Option(metavar="N", help="How many headers, from held-out windows.", show_default="96")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(metavar="N", help="How many are written under each.", show_default="8")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="muse-small")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The same seed does the same.", show_default="1")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep what is written, to go on if it is stopped.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether the piece that a ranking picks is nearer to real music than one picked at random.

    Example: musegen evaluate ranking --data shards
    """
    from musegen import api

    options = given(split=split, windows=windows, candidates=candidates, model=model, seed=seed)
    report = api.evaluate_ranking(data, **options, **given(out=out, n_workers=workers))
    if as_json:
        print_facts(report, as_json)
        return
    picked = (
        f"one of {report['candidates']} picked for each of {count(report['n_windows'], 'window')} of {report['split']}"
    )
    typer.echo(f"{report['model']}: {picked}, beside {count(report['n_real'], 'real piece')}.")
    typer.echo("Distances to real pieces: 1 is as near as half of them is to the other half. Gain: how much less.")
    print_rows([rounded(row) for row in report["choices"]], as_json)


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
