"""`musegen train` and `musegen export`: one training run from its recipe, and its weights made a model to ship."""

from pathlib import Path
from typing import Annotated

import typer

from musegen.cli.output import AsJson, doubts, print_facts


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="[RECIPE]", help="A recipe's name, such as muse-small, or its file; none to fine-tune."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Change a setting, such as train.max_hours=1.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="What to train on: short for --set task.data=PATH.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Fine-tune this trained muse on --data, as --style.")
    ] = None,
    style: Annotated[
        str | None, typer.Option("--style", metavar="NAME", help="What the music of --data is to be called.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run into this folder stopped.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the run; runs/RECIPE or runs/STYLE if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model, or fine-tune a trained one on a folder of MIDI files, whose style gets a name.

    Example: musegen train --from muse-small --data my-songs --style mine --out runs/mine
    """
    from musegen import api

    with doubts(as_json) as found:
        ended = api.train(recipe, settings or [], data=data, base=base, style=style, resume=resume, out=out)
    print_facts({**ended, "warnings": found} if as_json else ended, as_json)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the model; its name is the model's.")],
    as_json: AsJson = False,
) -> None:
    """Write the best weights of a run as a model to ship, in half precision.

    `compose --model NAME` finds models in the folder that MUSEGEN_CHECKPOINTS names.

    Example: musegen export runs/muse-small --out checkpoints/muse-small
    """
    from musegen import api

    print_facts(api.export(run, out), as_json)
