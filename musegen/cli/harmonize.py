"""`musegen harmonize`, `musegen chorale` and `musegen infill`: four-part writing, and scores filled in.

Options that are not given are not passed on: the defaults are those of the verbs of the API.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musegen.cli.arguments import bar_span, given, names
from musegen.cli.output import AsJson, print_facts
from musegen.cli.progress import StageProgress

if TYPE_CHECKING:
    from musegen.midi.score import Score

Out = Annotated[Path, typer.Option("--out", "-o", metavar="OUT.mid|musicxml", help="File to write.")]
Instruments = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|A,B,C,D",
        help="Who sings: choir, strings, woodwinds, brass, saxophones, organ, one instrument, or four.",
    ),
]
Candidates = Annotated[
    int | None, typer.Option(metavar="N", help="Write so many, and keep the one that the model likes best.")
]
Passes = Annotated[int | None, typer.Option(metavar="N", help="How often the voices are rewritten.")]
Temperature = Annotated[float | None, typer.Option(metavar="T", help="Above 1 is bolder, below 1 safer.")]
Seed = Annotated[int | None, typer.Option(help="The same seed and options give the same file; random if left out.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Which model.", show_default="coconet")]


def harmonize(
    melody: Annotated[
        Path, typer.Argument(metavar="MELODY", help="One note at a time: MIDI, MusicXML, ABC or Humdrum.")
    ],
    out: Out,
    voice: Annotated[
        str | None,
        typer.Option(metavar="soprano|alto|tenor|bass", help="Which voice it is.", show_default="soprano"),
    ] = None,
    track: Annotated[
        int | None, typer.Option(metavar="N", help="Which track it is, as `musegen info` counts them.")
    ] = None,
    instruments: Instruments = None,
    candidates: Candidates = None,
    passes: Passes = None,
    temperature: Temperature = None,
    seed: Seed = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Set three voices to a melody, as in a chorale of Bach. The melody stays as it is.

    Example: musegen harmonize melody.mid --instruments choir -o chorale.mid
    """
    options = given(voice=voice, track=track, instruments=instruments, candidates=candidates, passes=passes)
    options |= given(temperature=temperature, seed=seed, model=model)
    from musegen import api

    _write(out, "Harmonising", lambda on_pass: api.harmonize(melody, **options, on_pass=on_pass), as_json)


def infill(
    score: Annotated[Path, typer.Argument(metavar="SCORE", help="MIDI, MusicXML, ABC or Humdrum.")],
    out: Out,
    bars: Annotated[
        str | None, typer.Option(metavar="A-B", help="Bars to write anew, a pick-up counted; all if left out.")
    ] = None,
    tracks: Annotated[
        str | None,
        typer.Option(metavar="NAME|N,...", help="Tracks to write anew, such as bass,2; all if left out."),
    ] = None,
    add: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Instruments to add; `musegen instruments` lists the names.")
    ] = None,
    voices: Annotated[
        str | None, typer.Option(metavar="NAME,NAME...", help="Voices of a chorale, such as alto,tenor.")
    ] = None,
    composer: Annotated[
        str | None, typer.Option(metavar="NAME", help="In whose style; `musegen composers` lists the names.")
    ] = None,
    density: Annotated[str | None, typer.Option(metavar="low|medium|high", help="How many notes a bar.")] = None,
    candidates: Candidates = None,
    passes: Passes = None,
    temperature: Temperature = None,
    top_p: Annotated[
        float | None, typer.Option(metavar="P", help="Draw from the likeliest notes that have this probability.")
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="How much composer and density count, as in compose.")] = None,
    seed: Seed = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="auto|muse|NAME", help="Which model; auto: coconet for chorales, else muse.", show_default="auto"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write bars, tracks or voices of a score anew, or add a track. Everything else stays as it is.

    Example: musegen infill song.mid --bars 5-8 --tracks bass -o filled.mid
    """
    options = given(bars=bar_span(bars), tracks=names(tracks), add=names(add), voices=names(voices))
    options |= given(composer=composer, density=density, candidates=candidates, passes=passes)
    options |= given(temperature=temperature, top_p=top_p, guidance=guidance, seed=seed, model=model)
    from musegen import api

    _write(out, "Filling in", lambda on_done: api.infill(score, **options, on_progress=on_done), as_json)


def chorale(
    out: Out,
    bars: Annotated[int | None, typer.Option(help="How many bars of 4/4.", show_default="8")] = None,
    key: Annotated[str | None, typer.Option(help="Key, such as G, a minor or F#m; drawn if left out.")] = None,
    instruments: Instruments = None,
    candidates: Candidates = None,
    passes: Passes = None,
    temperature: Temperature = None,
    seed: Seed = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Write a new chorale in four voices.

    Example: musegen chorale --bars 8 --key G --seed 1 -o chorale.mid
    """
    options = given(bars=bars, key=key, instruments=instruments, candidates=candidates, passes=passes)
    options |= given(temperature=temperature, seed=seed, model=model)
    from musegen import api

    _write(out, "Writing", lambda on_pass: api.chorale(**options, on_pass=on_pass), as_json)


def _write(out: Path, what: str, verb: "Callable[[Callable[[int, int], None]], Score]", as_json: bool) -> None:
    """Write the score that a verb of the API makes, while showing how far it is."""
    from musegen.midi.formats import check_writable

    check_writable(out)
    with StageProgress("done") as progress:
        score = verb(lambda done, of: progress.update(what, done, of))
    score.write(out)
    if as_json:
        from musegen import api

        facts: dict[str, Any] = {"path": str(out), **api.info(out)}
        print_facts(facts, as_json)
        return
    typer.echo(f"{out}: {score.n_notes:,} notes, {score.duration_seconds:.0f} s")
