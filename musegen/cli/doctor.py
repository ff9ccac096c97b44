"""`musegen doctor`: what is installed and works, how fast this machine is, and what to install for the rest."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from musegen.cli.output import AsJson

_NAME_WIDTH = 25


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out how fast this machine composes and renders.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is installed and works, how fast this machine is, and what to install for the rest.

    The exit code is 1 if musegen cannot compose here, and 0 if only extras are missing.

    Example: musegen doctor --quick
    """
    from musegen.bench.doctor import Check, diagnose

    checks: list[Check] = []
    for check in diagnose(quick):
        checks.append(check)
        if not as_json:
            typer.echo(f"{'ok' if check.ok else '--':4}{check.name:{_NAME_WIDTH}}{check.detail}")
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    elif advised := [check for check in checks if check.advice]:
        typer.echo("\nWhat would help:")
        for check in advised:
            typer.echo(f"    {check.name:{_NAME_WIDTH}}{check.advice}")
    if any(check.is_core and not check.ok for check in checks):
        raise typer.Exit(1)
