"""`musegen bench`: how fast it is beside other libraries, and what damaged files do to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from musegen.cli.arguments import given
from musegen.cli.output import AsJson, print_facts, print_rows, rounded
from musegen.cli.progress import StageProgress

app = typer.Typer(no_args_is_help=True)

Seed = Annotated[int, typer.Option(metavar="N", help="The same seed does the same.")]

_TABLES = {"reading": "Files to scores", "tokens": "Files to token ids", "memory": "Memory that reading takes"}


@app.callback()
def bench() -> None:
    """Measure musegen beside other libraries, and try it with damaged files.

    Example: musegen bench midi
    """


@app.command()
def midi(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of MIDI files; made-up ones if left out.")
    ] = None,
    files: Annotated[int | None, typer.Option(metavar="N", help="Only so many, drawn with the seed.")] = None,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Measure reading MIDI files and making tokens of them beside other libraries, on the same files in one run.

    Example: musegen bench midi --data midi-corpus --files 500
    """
    from musegen.bench.midi import compare, verdicts

    with StageProgress("files") as progress:
        report = compare(data, n_files=files, seed=seed, on_progress=progress.update)
    if as_json:
        print_facts(report, as_json)
        return
    print_facts({key: value for key, value in report.items() if key not in _TABLES}, as_json)
    for key, what in _TABLES.items():
        typer.echo(f"\n{what}")
        print_rows(report[key], as_json)
    typer.echo("\n" + "\n".join(verdicts(report)))


@app.command()
def sampler(
    data: Annotated[Path, typer.Option("--data", metavar="FILE.json", help="Chorales as in Coconet's JSON.")],
    split: Annotated[
        str | None, typer.Option(metavar="train|valid|test", help="Whose sopranos.", show_default="valid")
    ] = None,
    pieces: Annotated[int | None, typer.Option(metavar="N", help="So many, the shortest.", show_default="12")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="coconet")] = None,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Measure ways to harmonise with coconet: passes, temperatures, candidates, cell by cell; time beside quality.

    Example: musegen bench sampler --data Jsb16thSeparated.json
    """
    from musegen.bench.sampler import compare

    options = given(split=split, n_pieces=pieces, model=model)
    with StageProgress("pieces") as progress:
        report = compare(data, **options, seed=seed, on_progress=progress.update)
    what = "Seconds a beat; nats a cell by the model itself; breaches; distances to train; share that is Bach's"
    _print_report(report, {"variants": what}, as_json)


def _print_report(report: Mapping[str, Any], tables: Mapping[str, str], as_json: bool) -> None:
    """Print a report: its facts, and below them its lists of rows, each under the title that `tables` gives."""
    if as_json:
        print_facts(report, as_json)
        return
    print_facts({key: value for key, value in report.items() if key not in tables}, as_json)
    for key, what in tables.items():
        if report.get(key):
            typer.echo(f"\n{what}")
            print_rows([rounded(row) for row in report[key]], as_json)


@app.command()
def coconet(
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="rolls|doodle|straight", help="Only this network; may be given more than once."),
    ] = None,
    bars: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Only this length; may be given more than once.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option(metavar="N", help="Passes of the sampler.", show_default="as harmonize has")
    ] = None,
    candidates: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="So many side by side; may be given more than once.", show_default="1, 4, 16"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how long coconet takes to harmonise 2, 8 and 32 bars, beside what the machine could do at best.

    Example: musegen bench coconet --network rolls
    """
    from musegen.bench.coconet import compare

    options = given(candidates=candidates or None)
    with StageProgress("lengths") as progress:
        report = compare(network, passes=passes, bars=bars, **options, on_progress=progress.update)
    tables = {"speed": "Harmonising a soprano", "growth": "One pass", "candidates": "Candidates side by side"}
    _print_report(report, tables, as_json)


@app.command()
def decode(
    batch: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="So many side by side; may be given more than once.", show_default="1, 8, 32"),
    ] = None,
    prompt: Annotated[int | None, typer.Option(metavar="N", help="Tokens of a prompt.", show_default="512")] = None,
    new: Annotated[int | None, typer.Option(metavar="N", help="Tokens to write.", show_default="512, 64, 24")] = None,
    turns: Annotated[int | None, typer.Option(metavar="N", help="How often each is done.", show_default="3")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Shards on whose held-out pieces precisions are judged; else what the model writes."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how many tokens a second muse writes, beside Hugging Face's GPT-2 of the same shape.

    Example: musegen bench decode --batch 1 --turns 1
    """
    from musegen.bench.decode import compare

    options = given(n_prompt=prompt, n_new=new, turns=turns, data=data)
    with StageProgress("done") as progress:
        report = compare(**(options | given(batches=batch or None)), on_progress=progress.update)
    tables = {
        "decoding": "Random prompts",
        "precision": "The trained model, decoded step by step",
        "music": "The trained model: bars a second, times faster than it plays, bars a second of 8 pieces side by side",
    }
    _print_report(report, tables, as_json)


@app.command()
def attention(
    positions: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Only this length; may be given more than once.", show_default="1k to 16k"),
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(metavar="dense|fixed|strided", help="Only this pattern; may be given more than once."),
    ] = None,
    turns: Annotated[int | None, typer.Option(metavar="N", help="How often each is done.", show_default="3")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure time and memory of the sparsity patterns as sequences grow.

    Example: musegen bench attention --positions 1024 --positions 4096
    """
    from musegen.bench.attention import compare

    options = given(positions=positions or None, turns=turns)
    with StageProgress("lengths") as progress:
        report = compare(**options, patterns=pattern, on_progress=progress.update)
    tables = {
        "attention": "A pass forward and backward, a step, and the memory of its cache",
        "exponents": "Powers of the length",
    }
    _print_report(report, tables, as_json)


@app.command()
def train(
    batch: Annotated[int | None, typer.Option(metavar="N", help="Sequences of 1,024 tokens.", show_default="4")] = None,
    turns: Annotated[int | None, typer.Option(metavar="N", help="How often each is done.", show_default="3")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how many tokens a second muse learns from, beside Hugging Face's GPT-2 of the same shape.

    Example: musegen bench train --batch 2 --turns 1
    """
    from musegen.bench.training import compare

    with StageProgress("done") as progress:
        report = compare(**given(batch=batch, turns=turns), on_progress=progress.update)
    _print_report(report, {"training": "Loss and gradients, without the optimizer"}, as_json)


@app.command()
def live(
    events: Annotated[
        int | None, typer.Option(metavar="N", help="How many events, 5 ms apart.", show_default="10000")
    ] = None,
    notes: Annotated[
        int | None, typer.Option(metavar="N", help="How many notes to answer.", show_default="100")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how late messages are sent beside mido, how well a clock is followed, how soon a note is answered.

    Example: musegen bench live --events 2000
    """
    from musegen.bench.live import compare

    with StageProgress("runs") as progress:
        report = compare(**given(n_events=events, n_notes=notes), on_progress=progress.update)
    tables = {
        "lateness": "Lateness of messages",
        "following": "Error of a clock that is followed, with 1 ms of jitter",
        "answers": "From a note to its voices",
    }
    _print_report(report, tables, as_json)


@app.command()
def soak(
    hours: Annotated[
        int | None, typer.Option(metavar="N", help="Hours of stream, in simulated time.", show_default="24")
    ] = None,
    bars: Annotated[int | None, typer.Option(metavar="N", help="Bars to a real receiver.", show_default="1000")] = None,
    moments: Annotated[
        int | None,
        typer.Option(metavar="N", help="Moments at which a stream is ended, for each way.", show_default="100"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether live playing holds: for hours, for a thousand bars, and however it is ended.

    Example: musegen bench soak --hours 2 --bars 50 --moments 5
    """
    from musegen.bench.soak import soak

    with StageProgress("done") as progress:
        report = soak(**given(hours=hours, n_bars=bars, n_moments=moments), on_progress=progress.update)
    print_facts(report, as_json)


@app.command()
def fuzz(
    cases: Annotated[int, typer.Option(metavar="N", help="How many damaged files.")] = 10_000,
    seed: Seed = 1,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of score files to damage, beside built-in ones.")
    ] = None,
    seconds_per_case: Annotated[float, typer.Option(metavar="S", help="What takes longer is a hang.")] = 10.0,
    notation_share: Annotated[
        float, typer.Option(metavar="0..1", help="Share of MusicXML, ABC and Humdrum, which are slow to read.")
    ] = 0.01,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for files that crash, with what happened.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read damaged files: each must be a score or refused with a reason. Exits with 1 if anything else happens.

    Example: musegen bench fuzz --cases 10000 --keep crashes
    """
    from musegen.bench.fuzz import fuzz as run
    from musegen.bench.trial import Settings

    settings = Settings(seed, None if data is None else str(data), notation_share, seconds_per_case)
    with StageProgress("cases") as progress:
        report: dict[str, Any] = run(cases, settings, keep=keep, on_progress=progress.update)
    if not as_json:  # the last line of a traceback says most, and --keep keeps the rest
        report["crashed"] = [{**crash, "detail": crash["detail"].split("\n")[-1]} for crash in report["crashed"]]
    print_facts(report, as_json)
    if report["crashes"]:
        raise typer.Exit(1)
