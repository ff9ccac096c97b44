"""How commands print facts: JSON for programs, plain aligned text for people and for grep."""

import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from musegen.errors import MusegenWarning

AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def print_facts(facts: Mapping[str, object], as_json: bool) -> None:
    """Print one thing's facts."""
    typer.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Print a list of things that have the same facts."""
    typer.echo(json.dumps(rows, indent=2) if as_json else "\n".join(_table(rows)))


@contextmanager
def doubts(as_json: bool) -> Iterator[list[str]]:
    """Yields a list that gathers what musegen warns of; people are told at once. Other warnings go where they would."""
    found: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", MusegenWarning)
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, MusegenWarning):
                show_others(message, category, *where, **more)
                return
            found.append(str(message))
            if not as_json:
                # Not `err=True`, which would not see that a progress bar stands in the way.
                typer.secho(f"musegen: {message}", fg=typer.colors.YELLOW, file=sys.stderr)

        warnings.showwarning = show
        yield found


def rounded(row: Mapping[str, Any]) -> dict[str, object]:
    """Returns a row of figures with three decimals each."""
    return {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in row.items()}


def _lines(facts: Mapping[str, object], indent: str = "") -> list[str]:
    width = max((len(_words(key)) for key in facts), default=0)
    lines = []
    for key, value in facts.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{_words(key)}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines += [f"{indent}{_words(key)}", *(f"{indent}  {line}" for line in _table(value))]
        else:
            lines.append(f"{indent}{_words(key):{width}}  {_text(value)}")
    return lines


def _table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    if not rows:
        return ["none"]
    columns = list(rows[0])
    cells = [[_words(c) for c in columns], *([_text(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    is_number = [all(isinstance(row.get(c), int | float) for row in rows) for c in columns]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in cells
    ]


def _words(key: str) -> str:
    return key.removeprefix("n_").replace("_", " ")


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return ", ".join(_text(item) for item in value) or "-"
        case Mapping():
            return ", ".join(f"{_words(str(key))} {_text(item)}" for key, item in value.items()) or "-"
        case _:
            return str(value)
