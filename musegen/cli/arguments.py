"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

ScoreFile = Annotated[Path, typer.Argument(metavar="FILE", help="A MIDI, MusicXML, ABC or Humdrum file.")]
