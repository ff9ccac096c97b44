"""The order in which the bars of a notation are played: repeats, endings, da capo, segno, coda and fine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from musegen.errors import InputError

MAX_PLAYED_BARS = 100_000
"""Repeats that play more bars than this are refused: it is ten times the longest opera."""


class Jump(Enum):
    """Where a jump at the end of a bar leads."""

    DA_CAPO = "D.C."
    DAL_SEGNO = "D.S."


@dataclass
class Bar:
    """What the marks of one bar say about the order of playing.

    Args:
        starts_repeat: a repeat begins with it.
        times: how often the repeat that ends with it is played, 2 as a rule; 0 where none ends.
        endings: the passes of the repeat in which it is played ("1.", "2."); empty: in all.
        has_segno: a segno stands in it.
        has_fine: the end of the piece after a jump.
        leaves_to_coda: after a jump, the coda follows it.
        is_coda: the coda begins with it.
        jump: what is played after it instead of the next bar.
        jumps_to_coda: whether that jump is "al Coda"; otherwise it is followed to a fine or the end.
    """

    starts_repeat: bool = False
    times: int = 0
    endings: frozenset[int] = frozenset()
    has_segno: bool = False
    has_fine: bool = False
    leaves_to_coda: bool = False
    is_coda: bool = False
    jump: Jump | None = None
    jumps_to_coda: bool = False


def played_order(bars: Sequence[Bar]) -> tuple[list[tuple[int, int]], int]:
    """Returns the order in which bars are played.

    After a D.C. or D.S. repeats are not played again, and of endings the last is taken. Each jump is made once.

    Args:
        bars: in the order of the notation.

    Returns:
        Pairs of the place of a bar in `bars` and the pass of the repeat in which it is played (from 1); and how many
        jumps lead nowhere and were passed over.

    Raises:
        InputError: more than MAX_PLAYED_BARS would be played.
    """
    return _Player(bars).order()


class _Player:
    """The state of one walk through the bars."""

    def __init__(self, bars: Sequence[Bar]):
        self.bars = _with_true_endings(bars)
        self.last_passes = _last_passes(self.bars)
        self.place, self.section, self.n_pass = 0, 0, 1
        self.jumped = self.to_coda = False
        self.taken: set[int] = set()
        self.n_nowhere = 0

    def order(self) -> tuple[list[tuple[int, int]], int]:
        played: list[tuple[int, int]] = []
        while self.place < len(self.bars):
            place, bar = self.place, self.bars[self.place]
            self._enter(place)
            n_pass = self.last_passes[place] if self.jumped else self.n_pass
            if bar.endings and n_pass not in bar.endings:
                self.place += 1
                continue
            played.append((place, n_pass))
            if len(played) > MAX_PLAYED_BARS:
                raise InputError(f"its repeats play more than {MAX_PLAYED_BARS:,} bars")
            if self.jumped and bar.has_fine and not self.to_coda:
                break
            self.place = self._after(place)
        return played, self.n_nowhere

    def _enter(self, place: int) -> None:
        """Notices that a new section begins: at a repeat sign, or with the first bar after the endings."""
        leaves_endings = place > 0 and bool(self.bars[place - 1].endings) and not self.bars[place].endings
        if (self.bars[place].starts_repeat or leaves_endings) and place != self.section:
            self.section, self.n_pass = place, 1

    def _after(self, place: int) -> int:
        bar = self.bars[place]
        if self.jumped and self.to_coda and bar.leaves_to_coda:
            self.to_coda = False
            target = self._first("is_coda", place + 1)
            if target is not None:
                return target
        if bar.times and not self.jumped:
            if self.n_pass < (self.last_passes[place] if bar.endings else bar.times):
                self.n_pass += 1
                return self.section
            if not bar.endings:
                self.section, self.n_pass = place + 1, 1
        if bar.jump and place not in self.taken:
            self.taken.add(place)
            target = self._target(bar)
            if target is not None:
                self.jumped, self.to_coda = True, bar.jumps_to_coda
                return target
            self.n_nowhere += 1
        return place + 1

    def _target(self, bar: Bar) -> int | None:
        if bar.jumps_to_coda and not (
            any(each.leaves_to_coda for each in self.bars) and any(each.is_coda for each in self.bars)
        ):
            return None
        return 0 if bar.jump is Jump.DA_CAPO else self._first("has_segno", 0)

    def _first(self, mark: str, start: int) -> int | None:
        return next((place for place in range(start, len(self.bars)) if getattr(self.bars[place], mark)), None)


def _with_true_endings(bars: Sequence[Bar]) -> list[Bar]:
    """Returns the bars with endings that are counted 1, 2, 3 where they are not, and none where nothing repeats."""
    found = list(bars)
    for start, end in _ending_groups(bars):
        group = bars[start:end]
        runs = list(dict.fromkeys(bar.endings for bar in group))
        numbers = frozenset[int]().union(*runs)
        new = {endings: endings for endings in runs}
        if not any(bar.times or bar.jump for bar in group):
            new = dict.fromkeys(runs, frozenset[int]())
        elif numbers != frozenset(range(1, len(numbers) + 1)):
            new = {endings: frozenset((number,)) for number, endings in enumerate(runs, start=1)}
        found[start:end] = [replace(bar, endings=new[bar.endings]) for bar in group]
    return found


def _last_passes(bars: Sequence[Bar]) -> list[int]:
    """Returns for each bar the last pass of the endings that it belongs to; 1 outside of endings."""
    passes = [1] * len(bars)
    for start, end in _ending_groups(bars):
        group = bars[start:end]
        # A lone first ending that repeats: what follows it is the second, though no bracket says so.
        is_lone = len({bar.endings for bar in group}) == 1 and any(bar.times for bar in group)
        last = max(max(bar.endings) for bar in group) + is_lone
        passes[start:end] = [last] * len(group)
    return passes


def _ending_groups(bars: Sequence[Bar]) -> Iterator[tuple[int, int]]:
    """Yields the first bar and the end of each row of endings that belong together."""
    start = 0
    while start < len(bars):
        end = start
        while end < len(bars) and bars[end].endings and not (end > start and bars[end].starts_repeat):
            end += 1
        if end > start:
            yield start, end
        start = max(end, start + 1)
