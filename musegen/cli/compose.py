"""`musegen compose` and `musegen continue`: new music, written as MIDI files.

Options that are not given are not passed on: the defaults are those of the verbs of the API, and the help only repeats
them, so that it need not load the API.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musegen.cli.arguments import given, names
from musegen.cli.output import AsJson, doubts, print_facts
from musegen.cli.progress import BarProgress
from musegen.errors import InputError, ScoreFileError
from musegen.midi.files import check_place

if TYPE_CHECKING:
    from musegen.midi.score import Score

_ENDINGS = (".mid", ".midi", ".musicxml", ".xml", ".mxl")  # known here, so that a typing error loads nothing

Out = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="OUT.mid|musicxml", help="File to write; with -n 3: OUT-1.mid to OUT-3.mid."),
]
Composer = Annotated[
    str | None, typer.Option(metavar="NAME", help="In whose style; `musegen composers` lists the names.")
]
Instruments = Annotated[
    str | None,
    typer.Option(metavar="NAME,NAME...", help="Who plays, and nobody else; `musegen instruments` lists the names."),
]
Bars = Annotated[int | None, typer.Option(help="How many bars.", show_default="16")]
NewBars = Annotated[int | None, typer.Option("--bars", help="How many new bars.", show_default="8")]
Key = Annotated[str | None, typer.Option(help="Key, such as G, a minor or F#m.")]
Tempo = Annotated[float | None, typer.Option(metavar="BPM", help="Quarters a minute.")]
Meter = Annotated[str | None, typer.Option(help="Meter, such as 4/4 or 6/8.")]
Density = Annotated[str | None, typer.Option(metavar="low|medium|high", help="How many notes a bar.")]
Seed = Annotated[int | None, typer.Option(help="The same seed and options give the same file; random if left out.")]
Temperature = Annotated[float | None, typer.Option(help="Above 1 is bolder, below 1 safer.", show_default="1.0")]
TopP = Annotated[
    float | None, typer.Option(help="Draw from the likeliest notes that have this probability.", show_default="0.98")
]
Guidance = Annotated[
    float | None,
    typer.Option(help="How much composer, key and density count: 1 as taught, 0 not at all.", show_default="2.0"),
]
Sheet = Annotated[Path | None, typer.Option(metavar="ALL.png", help="Draw all of them in one picture, to choose from.")]
Count = Annotated[int | None, typer.Option("-n", metavar="COUNT", help="How many pieces.", show_default="1")]
Candidates = Annotated[
    int | None,
    typer.Option(metavar="COUNT", help="Write so many, and keep the best; only the COUNT of -n if left out."),
]
Rank = Annotated[
    str | None,
    typer.Option(metavar="critic|likelihood|none", help="What is best, and comes first; none if left out."),
]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which model; `musegen models` lists the names.", show_default="muse-small"),
]


def compose(
    out: Out,
    composer: Composer = None,
    instruments: Instruments = None,
    bars: Bars = None,
    key: Key = None,
    tempo: Tempo = None,
    meter: Meter = None,
    density: Density = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    guidance: Guidance = None,
    n: Count = None,
    candidates: Candidates = None,
    rank: Rank = None,
    sheet: Sheet = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Compose a new piece.

    Example: musegen compose --composer chopin --instruments piano,violin --bars 24 --seed 1 -o piece.mid
    """
    paths = output_paths(out, n)
    options = given(composer=composer, instruments=names(instruments), bars=bars, key=key, tempo=tempo, meter=meter)
    options |= given(density=density, seed=seed, temperature=temperature, top_p=top_p, n=n, model=model)
    options |= given(guidance=guidance, candidates=candidates, rank=rank)
    from musegen import api

    _write(paths, "Composing", api.compose, options, sheet, as_json)


def continue_(
    prompt: Annotated[Path, typer.Argument(metavar="PROMPT.mid", help="The music to go on from.")],
    out: Out,
    only_new: Annotated[bool, typer.Option("--only-new", help="Write the new bars without the prompt.")] = False,
    composer: Composer = None,
    instruments: Instruments = None,
    bars: NewBars = None,
    key: Key = None,
    tempo: Tempo = None,
    meter: Meter = None,
    density: Density = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    guidance: Guidance = None,
    n: Count = None,
    candidates: Candidates = None,
    rank: Rank = None,
    sheet: Sheet = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Continue a piece: its own notes stay as they are, and new bars follow on the bar line.

    Tempo, meter and instruments are the piece's own where they are not given.

    Example: musegen continue prompt.mid --bars 8 -o longer.mid
    """
    paths = output_paths(out, n)
    options = given(composer=composer, instruments=names(instruments), bars=bars, key=key, tempo=tempo, meter=meter)
    options |= given(density=density, seed=seed, temperature=temperature, top_p=top_p, n=n, model=model)
    options |= given(guidance=guidance, candidates=candidates, rank=rank)
    from musegen import api

    options |= {"prompt": prompt, "only_new": only_new}
    _write(paths, "Continuing", api.continue_score, options, sheet, as_json)


def output_paths(out: Path, n: int | None) -> list[Path]:
    """Name the files that `-n n -o out` writes, before any work is done for them.

    Raises:
        InputError: `n` is out of range.
        ScoreFileError: `out` is no name for a score file, or its folder does not exist or takes no files.
    """
    if n is not None and n < 1:
        raise InputError(f"-n must be at least 1, got {n}")
    if out.suffix.lower() not in _ENDINGS:
        raise ScoreFileError(out, f"the output must end in {', '.join(_ENDINGS)}")
    paths = [out]
    if n is not None and n > 1:
        from musegen.api import MAX_PIECES

        if n > MAX_PIECES:
            raise InputError(f"-n must be at most {MAX_PIECES}, got {n}")
        paths = [out.with_stem(f"{out.stem}-{i}") for i in range(1, n + 1)]
    for path in paths:
        check_place(path)
    return paths


def _write(
    paths: list[Path],
    what: str,
    verb: "Callable[..., list[Score]]",
    options: dict[str, Any],
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Write the scores that a verb of the API makes, while showing how far it is."""
    if sheet is not None:
        from musegen.midi.picture.sheet import check_writable

        check_writable(sheet)
    n_bars = options.get("bars", inspect.signature(verb).parameters["bars"].default)
    ranked: list[tuple[str, float]] = []
    n_rows = options.get("candidates", len(paths))
    with BarProgress(what, n_bars, n_rows) as progress, doubts(as_json) as found:
        scores = verb(
            **options, on_bar=progress.update, on_ranked=lambda by, marks: ranked.extend((by, mark) for mark in marks)
        )
    for path, score in zip(paths, scores, strict=True):
        score.write(path)
    if sheet is not None:
        from musegen.midi.picture.sheet import sheet as draw
        from musegen.midi.score import Score

        shows_prompt = "prompt" in options and not options["only_new"]
        draw(scores, [path.stem for path in paths], sheet, Score.read(options["prompt"]) if shows_prompt else None)
    if as_json:
        from musegen import api

        marks = [{by: mark} for by, mark in ranked] or [{}] * len(paths)
        files = [{"path": str(path), **mark, **api.info(path)} for path, mark in zip(paths, marks, strict=True)]
        print_facts({"first_bar_seconds": progress.first_bar_seconds, "files": files, "warnings": found}, as_json)
        return
    words = [f", {by} {mark:.2f}" for by, mark in ranked] or [""] * len(paths)
    for path, score, word in zip(paths, scores, words, strict=True):
        typer.echo(f"{path}: {score.n_notes:,} notes, {score.duration_seconds:.0f} s{word}")
    if sheet is not None:
        typer.echo(sheet)
