"""What may be asked of Muse: new bars, behind others or from nothing, or what is missing in a piece."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from musegen.errors import InputError
from musegen.music import vocabulary as v
from musegen.music.features import Place
from musegen.music.grid import ONSET, GridScore
from musegen.music.sequences import sequence, without
from musegen.music.tokenizer import Controls, encode


@dataclass(frozen=True)
class Standing:
    """A note that stands in a bar that is written: its tick in the bar, and its tokens."""

    tick: int
    tokens: list[int]


@dataclass(frozen=True)
class Gap:
    """Where something is missing in a piece.

    Args:
        grid: the piece, or as much of it as the context of the model holds, without what begins in the gap.
        first: the first of its bars in which something is missing.
        last: the one after the last.
        beside: the bars of the gap with what stands there, which comes with what is written; None for nothing.
        instruments: whose notes are written; none for all.
        place: where the grid stands in the piece.
        played: where the notes of all are missing, who of them has to play.
    """

    grid: GridScore
    first: int
    last: int
    beside: GridScore | None = None
    instruments: tuple[int, ...] = ()
    place: Place = field(default_factory=Place)
    played: tuple[int, ...] = ()

    def preamble(self, header: list[int]) -> np.ndarray:
        """Returns what the model reads before the missing bars: (T, 6), behind the header (`sequences.without`)."""
        (left, place), (asked, there) = without(self.grid, self.first, self.last, self.place)
        return sequence(header, [(left, place), (asked[:1], there)]).rows

    def standing(self) -> list[deque[Standing]]:
        """Returns what stands in each of its bars, in canonical order."""
        beside = self.beside
        return [] if beside is None else [_standing(beside.bars(bar, bar + 1)) for bar in range(beside.n_bars)]

    @property
    def held(self) -> dict[int, int]:
        """The notes that sound on into the gap, and until which of its ticks."""
        start = self.grid.bar_ticks[self.first]
        onset, instrument, pitch, duration, _ = self.grid.notes.T
        on = (onset < start) & (onset + duration > start)
        notes = instrument[on] * v.N_PITCHES + pitch[on] - v.LOWEST_PITCH
        return dict(zip(notes.tolist(), (onset[on] + duration[on] - start).tolist(), strict=True))


@dataclass(frozen=True)
class Request:
    """What is to be written.

    Args:
        controls: the header: what the model is told.
        n_bars: how many bars to write; None for endless.
        keep_meter: no meter but that of the controls.
        keep_tempo: no tempo but that of the controls.
        prompt: the bars before, in which what is written goes on.
        all_play: every instrument of the controls must play; otherwise they are only the ones that may.
        enter_by: the new bar, from 0, on whose line the last of them enters; None for the
            middle, in endless playing 8, in a gap the last.
        velocities: the lowest and the highest velocity level; None for any.
        opening: the velocity level of what sounds first, without a prompt; None for any.
        fullest: the most notes of one instrument that may begin in a bar; None for any number.
        gap: what is missing, instead of a prompt: just this is written, `n_bars` are its bars, with their meters and
            tempos.
    """

    controls: Controls
    n_bars: int | None
    keep_meter: bool = False
    keep_tempo: bool = False
    prompt: GridScore | None = None
    all_play: bool = True
    enter_by: int | None = None
    velocities: tuple[int, int] | None = None
    opening: int | None = None
    fullest: int | None = None
    gap: Gap | None = None

    @property
    def playing(self) -> tuple[int, ...]:
        """Who may play."""
        return (self.gap and self.gap.instruments) or self.controls.instruments

    @property
    def entering(self) -> tuple[int, ...]:
        """Who has to play."""
        if self.gap and not self.gap.instruments:
            return self.gap.played
        return self.playing if self.all_play else ()

    def __post_init__(self):
        if self.n_bars is not None and self.n_bars < 1:
            raise InputError(f"bars is {self.n_bars}; allowed are 1 and more")
        for keep, name in ((self.keep_meter, "meter"), (self.keep_tempo, "tempo")):
            if keep and getattr(self.controls, name) is None:
                raise InputError(f"keep_{name} needs a {name} in the controls")
        if self.gap and self.gap.beside and self.gap.beside.n_bars != self.n_bars:
            raise InputError(f"beside has {self.gap.beside.n_bars} bars; the gap has {self.n_bars}")
        if self.gap and (self.prompt is not None or self.n_bars != self.gap.last - self.gap.first):
            raise InputError(f"bars is {self.n_bars}; a gap has {self.gap.last - self.gap.first}, and takes no prompt")


def _standing(bar: GridScore) -> deque[Standing]:
    """Returns the notes of one bar."""
    ticks, notes = iter(bar.notes[:, ONSET].tolist()), deque[Standing]()
    for token in encode(bar).tokens.tolist():
        if token in v.NOTE:
            notes.append(Standing(next(ticks), [token]))
        elif token in v.LENGTH or token == v.TIE:
            notes[-1].tokens.append(token)
    return notes
