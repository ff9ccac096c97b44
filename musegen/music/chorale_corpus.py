"""Bach's chorales from music21's corpus, on the grid of `chorales` with what the published set lacks.

That is: where notes begin (a held note is not a repeated one), fermatas, the place in the bar, the key. The published
split says nothing of catalogue numbers; `match_splits` finds them by content.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from musegen.errors import DataError, InputError
from musegen.midi.engraving.spelling import estimate_key
from musegen.music.chorales import N_VOICES, SILENCE, STEPS_PER_BEAT, VOICES, Grid, Mask, to_cells
from musegen.train.shards import Item, Shards, no_shards, prepare

VERSION = 1

_N_INTERVALS = 6  # in a row of one voice: what two editions of a chorale share
_SAME = 0.5  # share of them from which two are the same chorale; of those that are, the least is 0.65, of others 0.28


@dataclass(frozen=True, eq=False)
class Chorale:
    """A chorale.

    Args:
        name: catalogue number, as music21 has it ("bwv1.6").
        grid: (T, 4) MIDI pitches, SILENCE where a voice rests.
        onsets: (T, 4) where a note begins.
        fermatas: (T, 4) where a note with a fermata sounds.
        places: (T,) sixteenths since the bar began; a pick-up counts as the end of its bar.
        bars: (T,) sixteenths in the bar.
        sharps: of the key signature; flats are negative.
        tonic: pitch class, by Krumhansl's key profiles.
        mode: "major" or "minor", likewise.
    """

    name: str
    grid: Grid
    onsets: Mask
    fermatas: Mask
    places: NDArray[np.int64]
    bars: NDArray[np.int64]
    sharps: int
    tonic: int
    mode: str


# --- Reading


def music21_chorales() -> list[Path]:
    """Returns the files of Bach in music21's corpus, in the order of their names.

    Raises:
        DataError: music21 is not installed, or without its corpus.
    """
    found = find_spec("music21")
    folders = found.submodule_search_locations if found else None
    files = sorted(Path(folders[0], "corpus", "bach").glob("*.mxl")) if folders else []
    if not files:
        raise DataError("music21 with its corpus is missing; `pip install music21` brings both")
    return files


def parse_chorale(path: str | Path) -> Chorale:
    """Reads a chorale from a file that music21 reads.

    Of other instruments and of a second note in a voice nothing is kept, nor what lies between two sixteenths.

    Raises:
        DataError: it has no four voices of four names, or a pitch outside 36 to 81.
    """
    from music21 import converter

    score = converter.parse(str(path), forceSource=True)
    parts = [_voice(score, voice) for voice in VOICES]
    flat = [part.flatten() for part in parts]
    n_steps = max(_step(part.highestTime) for part in flat)
    shape = (n_steps, N_VOICES)
    grid, onsets, fermatas = np.full(shape, SILENCE), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for voice, part in enumerate(flat):
        _fill(part, grid[:, voice], onsets[:, voice], fermatas[:, voice])
    places, bars = _bars(parts[0], n_steps)
    signature = next(iter(flat[0].getElementsByClass("KeySignature")), None)
    tonic, mode = find_key(grid)
    try:
        to_cells(grid)
    except InputError as error:
        raise DataError(str(error)) from None
    sharps = signature.sharps if signature else 0
    return Chorale(Path(path).stem, grid, onsets, fermatas, places, bars, sharps, tonic, mode)


def _voice(score: Any, voice: str) -> Any:
    """Returns the part of a music21 score that is named after a voice, alone or first ("Soprano", "Soprano 1")."""
    for part in score.parts:
        if str(part.id).lower().startswith(voice):
            return part
    named = ", ".join(str(part.id) for part in score.parts)
    raise DataError(f"there must be parts named {', '.join(VOICES)}, got {named or 'none'}")


def _step(quarters: float) -> int:
    """Returns the first sixteenth that begins at a time or after it."""
    return int(np.ceil(float(quarters) * STEPS_PER_BEAT - 1e-6))


def _fill(part: Any, pitches: Grid, onsets: Mask, fermatas: Mask) -> None:
    for note in part.notes:
        start, end = _step(note.offset), _step(note.offset + note.quarterLength)
        if start < end:
            pitches[start:end] = max(pitch.midi for pitch in note.pitches)
            onsets[start] = note.tie is None or note.tie.type == "start"
            fermatas[start:end] = any("Fermata" in mark.classes for mark in note.expressions)


def _bars(part: Any, n_steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the place in the bar and the length of the bar of each sixteenth."""
    places, bars = np.zeros(n_steps, dtype=np.int64), np.full(n_steps, 4 * STEPS_PER_BEAT)
    for measure in part.getElementsByClass("Measure"):
        start = _step(measure.offset)
        places[start:] = np.arange(n_steps - start) + _step(measure.paddingLeft)
        bars[start:] = _step(measure.barDuration.quarterLength)
    return places, bars


def find_key(grid: Grid) -> tuple[int, str]:
    """Returns the pitch class of the tonic and the mode whose profile fits a grid best (Krumhansl 1990, chapter 4)."""
    pitches = grid[grid != SILENCE]
    key = estimate_key(pitches, np.ones(len(pitches)))
    return (7 * key.sharps + 9 * key.is_minor) % 12, "minor" if key.is_minor else "major"


# --- A prepared folder


def prepare_chorales(
    out: str | Path,
    files: Sequence[Path] | None = None,
    *,
    n_workers: int | None = None,
    console: Console | None = None,
) -> "ChoraleCorpus":
    """Reads chorales on all cores into a folder; what is already there is not read again.

    Args:
        out: the folder; made if missing.
        files: what to read; None for all of Bach in music21's corpus. What is no chorale is left out.
        n_workers: processes; None for one per core.
        console: where progress goes; None for standard error.
    """
    items = music21_chorales() if files is None else list(files)
    prepare(items, prepare_chorale, out, meta={"chorales": VERSION}, n_workers=n_workers, chunk=32, console=console)
    return ChoraleCorpus(out)


def prepare_chorale(item: Item) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads one file: the work of `prepare`."""
    chorale = parse_chorale(item)
    facts = {name: getattr(chorale, name) for name in ("name", "sharps", "tonic", "mode")}
    arrays = {"grid": chorale.grid.astype(np.int16), "places": chorale.places, "bars": chorale.bars}
    arrays |= {"onsets": chorale.onsets.astype(np.uint8), "fermatas": chorale.fermatas.astype(np.uint8)}
    return facts, {name: array.ravel() for name, array in arrays.items()}


class ChoraleCorpus:
    """A folder that `prepare_chorales` made: a sequence of chorales.

    Args:
        folder: the folder.

    Raises:
        DataError: the folder is missing, or of another kind or version.
    """

    def __init__(self, folder: str | Path):
        if reason := no_shards(Path(folder)):
            raise DataError(f"{reason}; `musegen data chorales --out DIR` makes one")
        self.shards = Shards(Path(folder))
        if self.shards.meta.get("chorales") != VERSION:
            raise DataError(f"{folder} holds no chorales of version {VERSION}")
        self.names = [record["name"] for record in self.shards.records]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Chorale:
        """Returns the chorale at a place, or raises IndexError."""
        record = self.shards.records[index]
        arrays = {name: self.shards.array(index, name) for name in ("grid", "onsets", "fermatas", "places", "bars")}
        return Chorale(
            record["name"],
            arrays["grid"].reshape(-1, N_VOICES).astype(np.int64),
            arrays["onsets"].reshape(-1, N_VOICES).astype(bool),
            arrays["fermatas"].reshape(-1, N_VOICES).astype(bool),
            np.array(arrays["places"]),
            np.array(arrays["bars"]),
            record["sharps"],
            record["tonic"],
            record["mode"],
        )


# --- Which chorale is which


def match_splits(splits: Mapping[str, Iterable[Grid]], chorales: Iterable[tuple[str, Grid]]) -> dict[str, list[str]]:
    """Finds the chorales that the pieces of a split are, by what their voices sing.

    Two are the same if they share half of their runs of six melodic intervals, voice by voice: whatever the key, the
    rhythm, repeats that are written out, and slips of either edition. Of several the nearest in pitch is taken.

    Args:
        splits: grids (T, 4) by split.
        chorales: names and grids (T, 4).

    Returns:
        The name of each piece's chorale by split, in the order of the pieces; empty where there is none.
    """
    holders: defaultdict[tuple[int, ...], set[str]] = defaultdict(set)
    heights = {}
    for name, grid in chorales:
        heights[name] = _height(grid)
        for run in _runs(grid):
            holders[run].add(name)

    def best(grid: Grid) -> str:
        runs, height = _runs(grid), _height(grid)
        shared = Counter(name for run in runs for name in holders.get(run, ()))
        same = [name for name, n_shared in shared.items() if n_shared >= _SAME * len(runs)]
        return min(same, key=lambda name: (abs(heights[name] - height) > 1, -shared[name], name), default="")

    return {split: [best(grid) for grid in grids] for split, grids in splits.items()}


def _height(grid: Grid) -> float:
    return float(grid[grid != SILENCE].mean())


def _runs(grid: Grid) -> set[tuple[int, ...]]:
    """Returns the voice with each run of melodic intervals that it sings; repeated and held notes count once."""
    runs = set()
    for voice, pitches in enumerate(grid.T):
        sung = pitches[pitches != SILENCE]
        steps = np.diff(sung)
        steps = steps[steps != 0].tolist()
        runs |= {(voice, *steps[start : start + _N_INTERVALS]) for start in range(len(steps) - _N_INTERVALS + 1)}
    return runs
