"""The command `musegen`, assembled from the groups beside this file.

Nothing heavy is imported before a command runs: `musegen --help` and `musegen --version` load neither torch nor NumPy.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from musegen.cli import bench, compose, data, doctor, evaluate, harmonize, live, score, serve, show, sound, train
from musegen.errors import MusegenError
from musegen.version import __version__


class _Commands(TyperGroup):
    """The commands, with every failure that is not a bug turned into one red line on stderr."""

    def invoke(self, ctx: Any) -> Any:  # click's Context, or typer's own copy of it in newer versions
        try:
            return super().invoke(ctx)
        except MusegenError as error:
            raise _failed(str(error), 2) from None
        except BrokenPipeError:
            raise  # The reader of our output has gone; click ends quietly.
        except OSError as error:
            raise _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2) from None
        except KeyboardInterrupt:
            raise _failed("interrupted", 130) from None


def _failed(message: str, exit_code: int) -> typer.Exit:
    typer.secho(f"musegen: {' '.join(message.split())}", fg=typer.colors.RED, err=True)
    return typer.Exit(exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"musegen {__version__}")
        raise typer.Exit


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def musegen(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Compose, continue and arrange music on this computer, offline.

    Example: musegen compose --composer bach --bars 16 -o bach.mid
    """


app.command("compose")(compose.compose)
app.command("continue")(compose.continue_)
app.command("harmonize")(harmonize.harmonize)
app.command("infill")(harmonize.infill)
app.command("chorale")(harmonize.chorale)
app.command("models")(show.models)
app.command("composers")(show.composers)
app.command("instruments")(show.instruments)
app.command("info")(show.info)
app.command("plot")(show.plot)
app.command("score")(score.score)
app.command("convert")(show.convert)
app.command("render")(sound.render)
app.command("listen")(sound.listen)
app.command("ports")(live.ports)
app.command("play")(live.play)
app.command("stream")(live.stream)
app.command("jam")(live.jam)
app.command("record")(live.record)
app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)
app.command("train")(train.train)
app.command("export")(train.export)
app.add_typer(data.app, name="data")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line."""
    app()
