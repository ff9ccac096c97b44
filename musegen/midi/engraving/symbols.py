"""Symbols of written music: the notes of one voice as tied note values, rests, triplets and beams, bar by bar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from musegen.midi.engraving.rhythm import FINEST, UNITS, VALUES, Bar, split_value

_N_BEAMS = {"eighth": 1, "16th": 2, "32nd": 3, "64th": 4, "128th": 5}


@dataclass
class Symbol:
    """A note, a chord or a rest.

    Args:
        start: its unit.
        end: the unit after it.
        notes: which notes it holds; none for a rest.
        tied_from: those of them that sound on from the symbol before.
        tied_to: those of them that sound on in the next.
        value: its note type; "" for a rest that fills any bar.
        dots: after it.
        triplet: the stretch (start, end) of a triplet that it is in.
        beams: what each of its beams does, from the eighths' down.
    """

    start: int
    end: int
    notes: tuple[int, ...] = ()
    tied_from: frozenset[int] = frozenset()
    tied_to: frozenset[int] = frozenset()
    value: str = ""
    dots: int = 0
    triplet: tuple[int, int] | None = None
    beams: list[str] = field(default_factory=list)


def symbols(
    notes: Sequence[int], start: Sequence[int], end: Sequence[int], bars: Sequence[Bar], *, is_drum: bool = False
) -> Iterator[list[Symbol]]:
    """Yields the symbols of one voice for each bar; nothing for a bar in which it is silent.

    Args:
        notes: the notes of the voice by their place in `start` and `end`, in order of start.
        start: units.
        end: units.
        bars: all bars of the piece.
        is_drum: drums are not tied: what is left of a stroke is a rest.
    """
    sounding: list[int] = []
    following = iter([*notes, -1])
    upcoming = next(following)
    for bar in bars:
        sounding = [note for note in sounding if end[note] > bar.start]
        while upcoming >= 0 and start[upcoming] < bar.end:
            sounding.append(upcoming)
            upcoming = next(following)
        if not sounding:
            yield []
            continue
        written = _bar_symbols(sounding, start, end, bar)
        if is_drum:
            _untie(written)
        _beam(written, bar)
        yield written


def _bar_symbols(notes: Sequence[int], start: Sequence[int], end: Sequence[int], bar: Bar) -> list[Symbol]:
    cuts = {bar.start, bar.end}
    for note in notes:
        cuts |= {max(start[note], bar.start), min(end[note], bar.end)}
    places = sorted(cuts)
    triplets = _triplets(places, bar)
    written: list[Symbol] = []
    for first, last in pairwise(places):
        here = tuple(note for note in notes if start[note] <= first and end[note] >= last)
        for symbol in _pieces(first, last, not here, triplets, bar):
            symbol.notes = here
            symbol.tied_from = frozenset(note for note in here if start[note] < symbol.start)
            symbol.tied_to = frozenset(note for note in here if end[note] > symbol.end)
            written.append(symbol)
    return written


def _untie(written: Sequence[Symbol]) -> None:
    for symbol in written:
        if symbol.tied_from:
            symbol.notes = ()
        symbol.tied_from = symbol.tied_to = frozenset()


def _triplets(places: Sequence[int], bar: Bar) -> list[tuple[int, int]]:
    """Returns the stretches of a bar that are written as triplets."""
    found: list[tuple[int, int]] = []
    for first in range(bar.start, bar.end, bar.cell):
        last = min(first + bar.cell, bar.end)
        if any((place - first) % FINEST for place in places if first < place < last):
            # Two beats may be one triplet of quarters.
            pair = (first - bar.cell, last)
            joined = (
                (first - bar.start) % (2 * bar.cell) and last - first == bar.cell and found[-1:] == [(pair[0], first)]
            )
            if joined and not any(
                (place - pair[0]) % (2 * bar.cell // 3) for place in places if pair[0] < place < last
            ):
                found.pop()
                first = pair[0]
            found.append((first, last))
    return found


def _pieces(first: int, last: int, is_rest: bool, triplets: Sequence[tuple[int, int]], bar: Bar) -> Iterator[Symbol]:
    """Cuts a stretch of a bar at triplets and accents."""
    at = first
    for triplet in (*(t for t in triplets if t[1] > first and t[0] < last), None):
        straight_end = min(triplet[0], last) if triplet else last
        if at < straight_end:
            yield from _values(at, straight_end, bar.start, bar.levels, is_rest)
            at = straight_end
        if triplet and at < last:
            length = triplet[1] - triplet[0]
            levels = [length]
            below = length // 3
            while below:
                levels.append(below)
                below //= 2
            inside_end = min(triplet[1], last)
            for symbol in _values(at, inside_end, triplet[0], tuple(levels), is_rest, 3):
                symbol.triplet = triplet
                yield symbol
            at = inside_end


def _values(
    first: int, last: int, base: int, levels: tuple[int, ...], is_rest: bool, scale: int = 2
) -> Iterator[Symbol]:
    at = first
    for stop in split_value(first - base, last - base, levels, is_rest=is_rest, scale=scale):
        value, dots = VALUES[(base + stop - at) * scale]
        yield Symbol(at, base + stop, value=value, dots=dots)
        at = base + stop


# Beams ----------------------------------------------------------------------------------------------------------------


def _beam(written: Sequence[Symbol], bar: Bar) -> None:
    """Joins short notes of a beat by beams, and plain eighths of half a bar."""
    group: list[Symbol] = []
    group_place = -1
    windows = _windows(written, bar)
    for symbol in written:
        place = next(i for i, stop in enumerate(windows) if symbol.start < stop)
        if place != group_place or symbol.value not in _N_BEAMS or not symbol.notes:
            _join(group)
            group = []
        if symbol.value in _N_BEAMS and symbol.notes:
            group.append(symbol)
            group_place = place
    _join(group)


def _windows(written: Sequence[Symbol], bar: Bar) -> list[int]:
    """Returns where the stretches end within which notes are joined."""
    if bar.is_compound or bar.denominator <= 4:
        width = max(bar.beat, UNITS) if not bar.is_compound else bar.beat
    else:
        width = bar.beat * (3 if bar.numerator == 3 else 2)
    stops = [min(first + width, bar.end) for first in range(bar.start, bar.end, width)]
    half = 2 * UNITS
    if bar.is_compound or bar.denominator > 4 or bar.full_length % half:
        return stops
    for first in range(bar.start, bar.end, half):
        inside = [symbol for symbol in written if first <= symbol.start < first + half]
        if all((s.value, s.dots, s.triplet, bool(s.notes)) == ("eighth", 0, None, True) for s in inside):
            stops = [stop for stop in stops if not first < stop < first + half]
    return stops


def _join(group: Sequence[Symbol]) -> None:
    if len(group) < 2:
        return
    counts = [0, *(_N_BEAMS[symbol.value] for symbol in group), 0]
    for place, symbol in enumerate(group, 1):
        for level in range(1, counts[place] + 1):
            before, after = counts[place - 1] >= level, counts[place + 1] >= level
            if before and after:
                symbol.beams.append("continue")
            elif before:
                symbol.beams.append("end")
            elif after:
                symbol.beams.append("begin")
            else:
                symbol.beams.append("forward hook" if place == 1 else "backward hook")
