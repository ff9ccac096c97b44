"""The log of a run: one JSON line at a time, TensorBoard if it is installed, and something to look at."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from musegen.train.atomic import write_text

COUNTS = ("tokens", "items")  # metrics that are logged as a rate


class Log:
    """Writes rows to `<folder>/log.jsonl`, to TensorBoard under `<folder>/tensorboard`, and to the terminal.

    Args:
        folder: the run's folder.
        step: rows past this step are dropped, as the run goes on from there.
        steps: where the run ends.
        console: default standard error. A terminal gets a progress bar, anything else plain lines.
    """

    def __init__(self, folder: Path, step: int, steps: int, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False)
        path = folder / "log.jsonl"
        rows = read_log(folder)
        kept = [row for row in rows if row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")
        self._board = self._open_board(folder / "tensorboard", step)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._bar = self._progress.add_task("training", total=steps, completed=step, note="")
        self._progress.start()

    def row(self, step: int, values: dict[str, Any]) -> None:
        """Add a row."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)
        text = "  ".join(f"{name} {_short(value)}" for name, value in values.items() if name != "elapsed_seconds")
        if self.console.is_terminal:
            self._progress.update(self._bar, note=text)
        else:
            self.console.print(f"step {step}  {text}", soft_wrap=True)

    def advance(self, step: int) -> None:
        """Move the progress bar to `step`."""
        self._progress.update(self._bar, completed=step)

    def line(self, text: str) -> None:
        """Say something once."""
        self.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Stop the bar and close the files."""
        self._progress.stop()
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _open_board(self, folder: Path, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.line("tensorboard is not installed: the log goes to log.jsonl only")
            return None
        return SummaryWriter(str(folder), purge_step=step + 1)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log; a last line that was cut off is left out."""
    path = folder / "log.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
