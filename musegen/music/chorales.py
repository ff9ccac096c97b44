"""Four-part chorales as grids of sixteenths: one row a sixteenth, one column a voice, and in each cell what sounds.

    grid    (T, 4) int64   MIDI pitches of soprano, alto, tenor and bass; SILENCE where a voice rests
    cells   (T, 4) int64   the same as classes: 0 a rest, 1 to 46 the pitches 36 to 81; OUTSIDE beyond a piece's ends

A grid cannot tell a held note from a repeated one, and has no fermatas, meter or key.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import DataError, InputError
from musegen.midi.instruments import VOICES

Grid = NDArray[np.int64]
Mask = NDArray[np.bool_]  # (T, 4): which cells are unknown

N_VOICES = len(VOICES)
STEPS_PER_BEAT = 4
LOWEST, HIGHEST = 36, 81
N_PITCHES = HIGHEST - LOWEST + 1
SILENCE = -1

N_CLASSES = 1 + N_PITCHES  # a rest, then the pitches from the lowest
OUTSIDE = N_CLASSES  # beyond the ends of a piece: given, and never predicted

SPLITS = ("train", "valid", "test")

# The lowest and highest pitch of each voice in the training split of jsb_chorales.
RANGES: tuple[tuple[int, int], ...] = ((60, 81), (52, 74), (46, 69), (36, 66))


def read_chorales(path: str | Path) -> dict[str, list[Grid]]:
    """Read chorales in the format of Coconet's JSON: {"train" | "valid" | "test": [[[S, A, T, B], ...], ...]}.

    Args:
        path: the file. A number is a MIDI pitch 36 to 81, or -1 for silence.

    Returns:
        Grids (T, 4) by split.

    Raises:
        DataError: the file is missing or is not of this form; the message names the place.
    """
    try:
        splits = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from None
    if not isinstance(splits, dict) or not splits or not set(splits) <= set(SPLITS):
        found = ", ".join(sorted(splits)) if isinstance(splits, dict) else type(splits).__name__
        raise DataError(f"{path} must be an object with some of {', '.join(SPLITS)}, got {found or 'nothing'}")
    return {name: _split(pieces, f"{path}: {name}") for name, pieces in splits.items()}


def _split(pieces: Any, where: str) -> list[Grid]:
    if not isinstance(pieces, list) or not pieces:
        raise DataError(f"{where} must be a list of chorales, got {pieces!r:.40}")
    return [_piece(piece, f"{where}[{index}]") for index, piece in enumerate(pieces)]


def _piece(piece: Any, where: str) -> Grid:
    try:
        grid = np.asarray(piece)
    except ValueError:
        grid = np.empty((0, 0))
    if grid.ndim != 2 or grid.shape[1] != N_VOICES or not len(grid) or not np.issubdtype(grid.dtype, np.integer):
        raise DataError(f"{where} must be a list of sixteenths with {N_VOICES} whole numbers each, got {piece!r:.60}")
    wrong = np.argwhere((grid != SILENCE) & ((grid < LOWEST) | (grid > HIGHEST)))
    if len(wrong):
        step, voice = wrong[0]
        allowed = f"{LOWEST} to {HIGHEST}, or {SILENCE}"
        raise DataError(f"{where}[{step}][{voice}] must be a pitch {allowed}, got {grid[step, voice]}")
    return grid.astype(np.int64)


def write_chorales(path: str | Path, splits: Mapping[str, Sequence[Grid]]) -> None:
    """Write grids in the format that `read_chorales` reads."""
    lists = {name: [grid.tolist() for grid in grids] for name, grids in splits.items()}
    Path(path).write_text(json.dumps(lists, separators=(",", ":")), encoding="utf-8")


def to_cells(grid: Grid) -> Grid:
    """Pitches and SILENCE to classes, of any shape.

    Raises:
        InputError: a pitch is outside 36 to 81.
    """
    wrong = grid[(grid != SILENCE) & ((grid < LOWEST) | (grid > HIGHEST))]
    if wrong.size:
        raise InputError(f"pitches must be {LOWEST} to {HIGHEST}, or {SILENCE} for silence, got {wrong.flat[0]}")
    return np.where(grid == SILENCE, 0, grid - LOWEST + 1)


def to_grid(cells: Grid) -> Grid:
    """Classes 0 to 46 to pitches and SILENCE, of any shape."""
    return np.where(cells == 0, SILENCE, cells + LOWEST - 1)


def transpositions(grid: Grid, ranges: Sequence[tuple[int, int]] = RANGES) -> range:
    """Returns the transpositions, in semitones, that keep every voice in its range; 0 is always one of them.

    Args:
        grid: (T, 4).
        ranges: the lowest and highest pitch of each voice.
    """
    lowest, highest = -N_PITCHES, N_PITCHES
    for voice, (low, high) in zip(grid.T, ranges, strict=True):
        sounding = voice[voice != SILENCE]
        if len(sounding):
            lowest = max(lowest, low - int(sounding.min()))
            highest = min(highest, high - int(sounding.max()))
    return range(min(lowest, 0), max(highest, 0) + 1)


def transpose(grid: Grid, semitones: int) -> Grid:
    """Moves every pitch of a grid, of any shape, by so many semitones; silence stays."""
    return np.where(grid == SILENCE, SILENCE, grid + semitones)


def whole_beats(cells: Grid) -> Grid:
    """Returns cells (T, 4) with OUTSIDE behind their end, up to a whole number of beats."""
    missing = -len(cells) % STEPS_PER_BEAT
    return np.pad(cells, ((0, missing), (0, 0)), constant_values=OUTSIDE)


def with_ends(cells: Grid) -> Grid:
    """Returns whole beats with one beat of OUTSIDE before and behind them, so that a network sees the ends."""
    ends = ((STEPS_PER_BEAT, STEPS_PER_BEAT), (0, 0))
    return np.pad(whole_beats(cells), ends, constant_values=OUTSIDE)


def with_ends_and_free(cells: Grid, free: Mask) -> tuple[Grid, Mask]:
    """Returns cells (T, 4) as `with_ends` does, and which of these (T', 4) are free; the first is a beat further on."""
    ended = with_ends(cells)
    return ended, np.pad(free, ((STEPS_PER_BEAT, len(ended) - len(cells) - STEPS_PER_BEAT), (0, 0)))


def runs(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns the runs of what is true in (T,): the first place of each, and the place after its last."""
    edges = np.flatnonzero(np.diff(where, prepend=False, append=False))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
