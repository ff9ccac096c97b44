"""Bars or parts of a score written anew by Muse, from what stands before, behind and beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from musegen.errors import InputError
from musegen.midi.instruments import INSTRUMENTS, class_of
from musegen.midi.score import Meters, Notes, Score, Track
from musegen.midi.units import bar_starts_ticks
from musegen.music import vocabulary as v
from musegen.music.continuation import CUT_TICKS, in_ticks, on_grid, untangled, velocity_levels
from musegen.music.features import Place
from musegen.music.grid import DURATION, INSTRUMENT, ONSET, GridScore, quantise, short_meters
from musegen.music.requests import Gap, Request
from musegen.music.sequences import controls_of
from musegen.music.tokenizer import encode
from musegen.music.voices import bar_lines

_READ_SHARE = 0.6  # of the context for what stands around a gap; the rest is for what is written
_WRITE_SHARE = 0.3  # of the context that one gap is expected to take
_TOKENS_A_BAR = 40  # of a part that is new
_LEAST_FULL = 16  # notes in a bar

Write = Callable[[Sequence[Request]], list[GridScore]]
"""Writes one gap for each request."""


@dataclass(frozen=True)
class Missing:
    """What is to be written anew.

    Args:
        bars: the first and the last bar of the score, counted from 1; None for all.
        tracks: places of the tracks, from 0, of which nothing stays in these bars; None for all that have notes, or if
            tracks are added, for none.
        added: instrument classes that get a new track.
    """

    bars: tuple[int, int] | None = None
    tracks: tuple[int, ...] | None = None
    added: tuple[int, ...] = ()


@dataclass(frozen=True)
class Inpainting:
    """A score in which something is missing, on the grid.

    Args:
        score: as it came.
        left: the score without the notes that are missing, with an empty track for each instrument added.
        places: of the tracks in `left` that are written.
        grid: the score as it came.
        rest: what is left of it, in the same bars.
        first: the first bar of the grid in which something is missing, from 0.
        last: the one after the last.
        instruments: whose notes are written; none for everybody's.
    """

    score: Score
    left: Score
    places: tuple[int, ...]
    grid: GridScore
    rest: GridScore
    first: int
    last: int
    instruments: tuple[int, ...]


def prepared(score: Score, missing: Missing) -> Inpainting:
    """Takes out of a score what is to be written anew: the notes that begin, on the grid, in the bars and tracks.

    Raises:
        InputError: there are no such bars or tracks, they are shorter than a tick, or nothing is left that says who
            plays.
    """
    grid = on_grid(score)  # which refuses what a damaged file makes endless
    if (named := in_named_meters(score)) is not score:
        grid = on_grid(named)
    if not len(grid.notes):
        raise InputError("score has no notes; compose starts from nothing")
    grid, lines = with_bar_lines(score, grid)
    n_bars = len(lines) - 1
    first, last = (1, n_bars) if missing.bars is None else missing.bars
    if not 1 <= first <= last <= n_bars:
        raise InputError(f"bars is {first}-{last}; allowed are bars from 1 to {n_bars}")
    first_bar, end_bar = int(lines[first - 1]), max(int(lines[last]), int(lines[first - 1]) + 1)
    tracks = missing.tracks
    if tracks is None:
        tracks = () if missing.added else tuple(p for p, track in enumerate(score.tracks) if len(track.notes))
    span = grid.bar_ticks[first_bar], grid.bar_ticks[end_bar]
    starts, ends = (round(int(tick) * score.ticks_per_quarter / v.TICKS_PER_QUARTER) for tick in span)
    if starts >= ends:
        raise InputError(f"bars is {first}-{last}, which hold no tick of the score")
    kept = [
        _without(track, span, score.ticks_per_quarter) if place in tracks else track
        for place, track in enumerate(score.tracks)
    ]
    new = [Track(INSTRUMENTS[i].name, INSTRUMENTS[i].program, INSTRUMENTS[i].is_drum, Notes()) for i in missing.added]
    left = replace(score, tracks=(*kept, *new), left_out={})
    places = (*tracks, *range(len(kept), len(kept) + len(new)))
    classes = {_class(score, left, place) for place in places}
    everybody = not missing.added and set(tracks) >= {p for p, track in enumerate(score.tracks) if len(track.notes)}
    rest = GridScore(grid.meters, grid.tempos, quantise(replace(left, meters=named.meters))[0].notes)
    instruments = () if everybody else tuple(sorted(classes))
    return Inpainting(score, left, places, grid, rest, first_bar, end_bar, instruments)


def in_named_meters(score: Score) -> Score:
    """Returns a score in meters that the grid can name: a bar in another, such as 17/4, is four of 4/4 and one of 1/4.

    Bars that are no whole number of 32nds, such as those of 33/64, are left to the grid, which comes within one.
    """
    meters, quarter = score.meters, score.ticks_per_quarter
    is_named = np.array([(meter.numerator, meter.denominator) in v.METER_INDEX for meter in meters])
    if is_named.all():
        return score
    lines = bar_lines(meters, quarter, score.end_ticks + 1)
    ends = np.append(lines[1:], score.end_ticks + 1)  # a new meter may cut a bar short
    place = np.searchsorted(meters.start_ticks, lines, side="right") - 1
    numerator, denominator = meters.numerator[place].astype(np.int64), meters.denominator[place].astype(np.int64)
    n_wholes, rest = np.divmod(numerator, denominator)
    common, rest_start = np.gcd(rest, denominator), lines + 4 * quarter * n_wholes
    begins = ~is_named[place] & (n_wholes > 0)
    ends_so = ~is_named[place] & (rest > 0) & (rest_start < ends)
    fours = np.full(int(begins.sum()), 4)
    rests = Meters(rest_start[ends_so], (rest // common)[ends_so], (denominator // common)[ends_so])
    return replace(score, meters=meters[is_named].joined(Meters(lines[begins], fours, fours), rests))


def with_bar_lines(score: Score, grid: GridScore) -> tuple[GridScore, np.ndarray]:
    """Returns a score on the grid, its last bar whole, and where its own bars are there.

    Args:
        score: as it came; bars are counted in its own meters.
        grid: the same with notes, from `in_named_meters` and `on_grid`.

    Returns:
        The grid score, and (n_bars + 1,) the bar of the grid with which each bar of the score begins, and the one
        behind the last.
    """
    meters, quarter = score.meters, score.ticks_per_quarter
    longest = int((v.TICKS_PER_WHOLE * meters.numerator.astype(np.int64) // meters.denominator).max()) + 1
    # In ticks as fine as both: a bar line may lie between two of either.
    starts, reach = meters.start_ticks * v.TICKS_PER_QUARTER, (grid.n_ticks + longest) * quarter + 1
    lines = bar_starts_ticks(
        starts, meters.numerator, meters.denominator, quarter * v.TICKS_PER_QUARTER, end_ticks=reach
    )
    ticks = lines / quarter
    n_bars = int((ticks < grid.bar_ticks[-2] + CUT_TICKS).sum())
    n_wholes, rest = divmod(max(int(ticks[n_bars]) - grid.n_ticks, 0), v.TICKS_PER_WHOLE)
    silent = [v.METER_INDEX[4, 4]] * n_wholes + (
        short_meters(rest // CUT_TICKS * CUT_TICKS) if rest >= CUT_TICKS else []
    )
    tempos = np.append(grid.tempos, np.full(len(silent), grid.tempos[-1]))
    grid = GridScore(np.append(grid.meters, silent), tempos, grid.notes)
    between = (grid.bar_ticks[:-1] + grid.bar_ticks[1:]) / 2
    return grid, np.append(np.searchsorted(between, ticks[:n_bars], side="right"), grid.n_bars)


def inpainted(
    what: Inpainting, write: Write, n: int, context: int, style: int | None = None, density: int | None = None
) -> list[Score]:
    """Returns `n` scores in which what was missing is written.

    A long gap is written a stretch at a time, each with what is written before it.

    Args:
        what: from `prepared`.
        write: Muse.
        n: how many.
        context: of the model, in tokens.
        style: style slot that is asked for.
        density: index in DENSITIES; None for that of the score as it came.
    """
    rests = [what.rest] * n
    news: list[list[np.ndarray]] = [[] for _ in range(n)]
    first = what.first
    while first < what.last:
        last = _stretch_end(what, first, context)
        requests = [request_for(what, rest, (first, last), context, style, density) for rest in rests]
        for row, written in enumerate(write(requests)):
            notes = written.notes + np.array([what.grid.bar_ticks[first], 0, 0, 0, 0])
            news[row].append(notes)
            rests[row] = replace(rests[row], notes=_merged(rests[row].notes, notes))
        first = last
    return [_joined(what, np.concatenate(notes)) for notes in news]


def _without(track: Track, span: tuple[int, int], ticks_per_quarter: int) -> Track:
    """Returns a track without the notes that begin, on the grid, in a span of its ticks."""
    scaled = 2 * track.notes.start_ticks * v.TICKS_PER_QUARTER + ticks_per_quarter
    onset = scaled // (2 * ticks_per_quarter)
    return replace(track, notes=track.notes[(onset < span[0]) | (onset >= span[1])])


def _class(score: Score, left: Score, place: int) -> int:
    """Returns the instrument class of a track: that of its newest note, as it came."""
    track = score.tracks[place] if place < len(score.tracks) else left.tracks[place]
    program = int(track.programs_of(track.notes.start_ticks[-1:])[0]) if len(track.notes) else track.program
    return class_of(program, track.is_drum)


def _stretch_end(what: Inpainting, first: int, context: int) -> int:
    """Returns the bar behind the stretch of a gap that is written at once, with what stands there."""
    came, rest = (encode(grid.bars(first, what.last)).bar_starts for grid in (what.grid, what.rest))
    n_bars = np.arange(len(rest))
    n_new = np.maximum(came - rest, _TOKENS_A_BAR * (len(what.instruments) or 1) * n_bars)
    fits = (rest + n_new <= _WRITE_SHARE * context).sum() - 1
    return first + max(int(fits), 1)


def request_for(
    what: Inpainting,
    rest: GridScore,
    span: tuple[int, int],
    context: int,
    style: int | None = None,
    density: int | None = None,
) -> Request:
    """Returns the request for one stretch of a gap.

    Args:
        what: from `prepared`.
        rest: what is left of the score, and what is written already.
        span: the first bar of the stretch, and the one after the last.
        context: of the model, in tokens.
        style: style slot that is asked for.
        density: index in DENSITIES; None for that of the score as it came.
    """
    first, last = span
    room = int(_READ_SHARE * context)
    around = _emptied(rest, first, last)
    start, end = _window(encode(around).bar_starts, first, last, room)
    grid = _thinned(around.bars(start, end), room)
    place, played = Place(start, what.grid.n_bars), what.grid.bars(first, last).instruments
    beside = rest.bars(first, last) if what.instruments else None
    gap = Gap(grid, first - start, last - start, beside, what.instruments, place, played)
    heard = controls_of(encode(what.grid.bars(start, end)).tokens.astype(np.int64), style)
    playing = tuple(sorted({*what.grid.instruments, *what.instruments}))
    controls = replace(heard, instruments=playing, density=heard.density if density is None else density)
    fullest = _fullest(what.grid) if density is None else None
    return Request(controls, last - first, velocities=velocity_levels(what.grid), fullest=fullest, gap=gap)


def _fullest(grid: GridScore) -> int:
    """Returns how many notes one instrument has in its fullest bar, and sixteen at least."""
    bar = np.searchsorted(grid.bar_ticks, grid.notes[:, ONSET], side="right") - 1
    _, n_notes = np.unique(np.stack([grid.notes[:, INSTRUMENT], bar]), axis=1, return_counts=True)
    return max(int(n_notes.max()), _LEAST_FULL)


def _window(starts: np.ndarray, first: int, last: int, room: int) -> tuple[int, int]:
    """Returns the bars around first..last - 1 that fit into `room` tokens, as many before as behind where there are."""
    start, end = first, last
    n_bars = len(starts) - 1

    def fits(start: int, end: int) -> bool:
        # A bar's gap mark, and what the first line of a window names.
        return int(starts[end] - starts[start]) + (last - first) + 2 <= room

    grows = True
    while grows:
        before, behind = (start > 0 and fits(start - 1, end)), (end < n_bars and fits(start, end + 1))
        take_before = before and (not behind or first - start <= end - last)
        start, end = start - take_before, end + (behind and not take_before)
        grows = before or behind
    return start, end


def _emptied(grid: GridScore, first: int, last: int) -> GridScore:
    """Returns a piece without what begins in some bars."""
    onset = grid.notes[:, ONSET]
    return replace(grid, notes=grid.notes[(onset < grid.bar_ticks[first]) | (onset >= grid.bar_ticks[last])])


def _thinned(grid: GridScore, room: int) -> GridScore:
    """Returns bars with as many of their notes, spread evenly, as fit into `room` tokens."""
    notes = grid.notes
    while len(notes) and len(encode(GridScore(grid.meters, grid.tempos, notes)).tokens) > room:
        notes = notes[::2] if len(notes) < 4 else np.delete(notes, np.s_[::4], axis=0)
    return GridScore(grid.meters, grid.tempos, notes)


def _merged(notes: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns the notes of both, those new ones left out that strike what is struck at that tick."""
    struck = {tuple(note) for note in notes[:, :DURATION].tolist()}
    return np.concatenate([notes, [note for note in new.tolist() if tuple(note[:DURATION]) not in struck]])


def _joined(what: Inpainting, new: np.ndarray) -> Score:
    """Returns the score with new grid notes (n, 5) in the tracks that are written, each in that nearest in register."""
    tracks, quarter = list(what.left.tracks), what.left.ticks_per_quarter
    first, last = (int(what.grid.bar_ticks[bar]) for bar in (what.first, what.last))
    start, end = (round(tick * quarter / v.TICKS_PER_QUARTER) for tick in (first, last))
    classes = {place: _class(what.score, what.left, place) for place in what.places}
    for index in np.unique(new[:, INSTRUMENT]).tolist():
        own = [place for place in what.places if classes[place] == index]
        if not own:  # a track whose program changes plays as several instruments
            own = [place for place in what.places if tracks[place].is_drum == INSTRUMENTS[index].is_drum]
        rows = new[new[:, INSTRUMENT] == index] - np.array([first, 0, 0, 0, 0])
        notes = in_ticks(rows, what.score, start, end - start)
        nearest = np.abs(notes.pitch[:, None] - np.array([_register(what, place) for place in own])).argmin(axis=1)
        for nth, place in enumerate(own):
            track = tracks[place]
            added = untangled(track.notes, notes[nearest == nth], track.is_drum)
            tracks[place] = replace(track, notes=track.notes.joined(added))
    return replace(what.left, tracks=tuple(tracks))


def _register(what: Inpainting, place: int) -> float:
    """Returns the mean pitch of a track as it came, of a new one the middle of its range."""
    if place < len(what.score.tracks) and len(what.score.tracks[place].notes):
        return float(what.score.tracks[place].notes.pitch.mean())
    instrument = INSTRUMENTS[_class(what.score, what.left, place)]
    return (instrument.low + instrument.high) / 2
