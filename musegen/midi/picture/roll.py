"""What a piano-roll shows: which bars in which row, and which notes at which height in which colour.

Nothing here draws.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.instruments import DRUMS, INSTRUMENTS, class_of
from musegen.midi.picture.canvas import printable
from musegen.midi.score import Score, Track
from musegen.midi.units import bar_counts

MAX_BARS = 4000
"""The most bars in one picture; every bar has to stay visible."""

_ROW_QUARTERS, _MAX_ROWS = 48, 24
_NAME_LETTERS = 30
_FEWEST_PITCHES = 17
_SHADES = (
    (0, 1.0),
    (0, 0.58),
    (255, 0.6),
    (0, 0.3),
)  # of one colour: toward black or white, and how much of it is kept

# One colour a class, in the order of INSTRUMENTS and the same in every picture. They were searched for so that classes
# which play together (string quartet, wind quintet, brass, orchestra, band) differ for the colour-blind too, at a
# contrast of at least 2:1 with white. Classes that hardly meet share one.
_COLOURS = (
    "#3366bb", "#00cc88", "#aa0022", "#aabb00", "#bb88ff", "#ff9900", "#005555", "#6622aa", "#55bbaa", "#0044bb",
    "#3355cc", "#ff9900", "#997700", "#9977ff", "#990066", "#ff88dd", "#55bbff", "#bb77ff", "#005544", "#99bb00",
    "#663399", "#aa8800", "#22cc77", "#0099aa", "#991100", "#aa0066", "#225500", "#aaaaff", "#dd5577", "#996600",
    "#881177", "#00cc88", "#7766ee", "#ff9955", "#0044bb", "#77bbcc", "#115522", "#aa7788", "#444444",
)  # fmt: skip
assert len(_COLOURS) == len(INSTRUMENTS), "every class has a colour"

# Lanes of the drum strip from bottom to top, as General MIDI and Roland's electronic kits number the drums.
_LANES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("kick", (35, 36)),
    ("snare", (31, 37, 38, 39, 40)),
    ("toms", (41, 43, 45, 47, 48, 50, 58)),
    ("hi-hat", (22, 26, 42, 44, 46)),
    ("cymbals", (49, 51, 52, 53, 55, 57, 59)),
    ("other", ()),
)
_LANE_OF = np.full(128, len(_LANES) - 1)
for _lane, (_, _pitches) in enumerate(_LANES):
    _LANE_OF[list(_pitches)] = _lane


@dataclass(frozen=True)
class Rows:
    """How the bars are laid out: row r shows bars first[r] to first[r + 1] (not included) of those in the picture."""

    bar_ticks: NDArray[np.int64]  # the start of each bar, and the end of the last one
    first: NDArray[np.int64]
    first_bar: int  # the number of the first one, from 1
    n_bars: int  # in the whole score

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def last_bar(self) -> int:
        """The number of the last bar in the picture."""
        return self.first_bar + len(self.bar_ticks) - 2

    def span(self, row: int) -> tuple[int, int]:
        """Returns the first tick of a row and the tick after its last."""
        return int(self.bar_ticks[self.first[row]]), int(self.bar_ticks[self.first[row + 1]])

    @property
    def width_ticks(self) -> int:
        """How long the longest row is: all rows share one scale."""
        return max(stop - start for start, stop in map(self.span, range(len(self))))


@dataclass(frozen=True)
class Voice:
    """Notes of one colour: those of an instrument class, or of one of its tracks."""

    label: str
    colour: str
    is_drum: bool
    start_ticks: NDArray[np.int64]
    end_ticks: NDArray[np.int64]
    level: NDArray[np.int64]  # a pitch, or for drums the place of their lane among those in use
    velocity: NDArray[np.uint8]

    def shown(self, start_ticks: int, stop_ticks: int) -> NDArray[np.intp]:
        """Returns the places of the notes that are seen in a span of ticks; one of no length is seen where it is."""
        is_begun = self.start_ticks < stop_ticks
        return np.flatnonzero(is_begun & ((self.end_ticks > start_ticks) | (self.start_ticks >= start_ticks)))


@dataclass(frozen=True)
class Roll:
    """The notes of a picture, and the frame they are drawn in."""

    voices: tuple[Voice, ...]  # the class with most notes first, drums last
    lanes: tuple[str, ...]  # of drums, from bottom to top
    pitches: range | None  # from the lowest line to the highest; None where there are only drums


def lay_out(score: Score, rows: int | None, bars: tuple[int, int] | None) -> Rows:
    """Spreads the bars over rows.

    Raises:
        InputError: `rows` or `bars` is out of range, or the bars are more than MAX_BARS.
    """
    last_start = max((int(track.notes.start_ticks[-1]) for track in score.tracks if len(track.notes)), default=0)
    bar_ticks, first_bar, n_bars = _bar_ticks(score, max(score.end_ticks, last_start + 1), bars)
    starts, total_ticks = bar_ticks[:-1] - bar_ticks[0], int(bar_ticks[-1] - bar_ticks[0])
    if rows is not None:
        step_ticks = total_ticks / rows
    else:
        wished = min(max(round(total_ticks / score.ticks_per_quarter / _ROW_QUARTERS), 1), _MAX_ROWS)
        step_ticks = total_ticks / wished
        bar = int(bar_ticks[1] - bar_ticks[0])
        if len(np.unique(np.diff(bar_ticks))) == 1 and wished > 1:  # phrases come in fours
            step_ticks = max(-(-step_ticks // (4 * bar)), 1) * 4 * bar
    first = np.unique(np.searchsorted(starts, np.arange(0, total_ticks, step_ticks)))
    first = np.append(first[first < len(starts)], len(starts))
    return Rows(bar_ticks, first, first_bar, n_bars)


def _bar_ticks(score: Score, end_ticks: int, bars: tuple[int, int] | None) -> tuple[NDArray[np.int64], int, int]:
    """Returns the starts of the bars asked for with the end of the last, the number of the first, and of all bars."""
    meters = score.meters
    counts = bar_counts(meters.start_ticks, meters.numerator, meters.denominator, score.ticks_per_quarter, end_ticks)
    before = np.concatenate(([0], np.cumsum(counts)))
    n_bars = int(before[-1])
    first, last = (1, n_bars) if bars is None else bars
    if not 1 <= first <= last:
        raise InputError(f"bars must be the first and the last, counted from 1, got {bars}")
    if first > n_bars:
        raise InputError(f"bars begin at {first}, the score has {n_bars}")
    last = min(last, n_bars)
    if last - first >= MAX_BARS:
        some = f"such as bars {first} to {first + 399}"
        raise InputError(f"a picture holds at most {MAX_BARS} bars, got {last - first + 1}; draw some of them, {some}")
    number = np.arange(first - 1, last)
    under = np.searchsorted(before, number, side="right") - 1
    numerator = 4 * score.ticks_per_quarter * meters.numerator.astype(np.int64)[under]
    denominator = meters.denominator.astype(np.int64)[under]
    nth = number - before[under]
    starts = meters.start_ticks[under] + nth * numerator // denominator
    stop = int(meters.start_ticks[under[-1]] + -(-(nth[-1] + 1) * numerator[-1] // denominator[-1]))
    if last == before[under[-1] + 1] and last < n_bars:  # the next meter may cut a bar short
        later = np.flatnonzero(counts[under[-1] + 1 :])[0] + under[-1] + 1
        stop = int(meters.start_ticks[later])
    return np.append(starts, max(stop, int(starts[-1]) + 1)), first, n_bars


def gather(score: Score, rows: Rows) -> Roll:
    """Collects the notes that sound in the bars of `rows`, by instrument class and track."""
    start, stop = int(rows.bar_ticks[0]), int(rows.bar_ticks[-1])
    parts: list[tuple[int, Track, NDArray[np.bool_]]] = []
    for track in score.tracks:
        notes = track.notes
        shown = (notes.start_ticks < stop) & ((notes.end_ticks > start) | (notes.start_ticks >= start))
        if not shown.any():
            continue
        programs = track.programs_of(notes.start_ticks)
        classes = np.array([class_of(program, track.is_drum) for program in range(128)])[programs]
        parts += [(int(c), track, shown & (classes == c)) for c in np.unique(classes[shown])]
    hits = [_LANE_OF[track.notes.pitch[chosen]] for c, track, chosen in parts if c == DRUMS]
    used = np.unique(np.concatenate(hits)) if hits else np.empty(0, np.int64)
    parts.sort(key=lambda part: part[0])
    groups = [_voices(list(group), used) for _, group in itertools.groupby(parts, lambda part: part[0])]
    groups.sort(key=lambda group: (group[0].is_drum, -sum(len(voice.level) for voice in group)))
    voices = list(itertools.chain.from_iterable(groups))
    levels = [voice.level for voice in voices if not voice.is_drum]
    pitches: range | None = None
    if levels:
        low, high = min(int(each.min()) for each in levels), max(int(each.max()) for each in levels)
        more = max(_FEWEST_PITCHES - (high - low + 3), 0)  # a single line of music is no line of pixels
        pitches = range(low - 1 - more // 2, high + 2 + (more + 1) // 2)
    elif not voices:
        pitches = range(54, 67)
    return Roll(tuple(voices), tuple(_LANES[lane][0] for lane in used), pitches)


def _voices(parts: list[tuple[int, Track, NDArray[np.bool_]]], lanes: NDArray[np.int64]) -> list[Voice]:
    """Makes one voice a track of one class, in shades of its colour; many tracks share one."""
    c, name, colour = parts[0][0], INSTRUMENTS[parts[0][0]].name, _COLOURS[parts[0][0]]
    if c == DRUMS or len(parts) > len(_SHADES):
        label = name if c == DRUMS or len(parts) == 1 else f"{name} ({len(parts)} tracks)"
        return [_voice(label, colour, c, parts, lanes)]
    titles = [printable(track.name, _NAME_LETTERS) for _, track, _ in parts]
    if len(parts) == 1:
        return [_voice(name, colour, c, parts, lanes)]
    if len({*titles}) < len(titles) or "" in titles:
        titles = [f"{title} {place}".strip() for place, title in enumerate(titles, 1)]
    return [
        _voice(f"{name} {title}" if title.isdecimal() else f"{name}: {title}", _shade(colour, place), c, [part], lanes)
        for place, (title, part) in enumerate(zip(titles, parts, strict=True))
    ]


def _shade(colour: str, place: int) -> str:
    """Returns a colour as it is or lighter or darker; a dark one is lightened first."""
    values = bytes.fromhex(colour[1:])
    shades = ((0, 1.0), (255, 0.6), (255, 0.35), (0, 0.5)) if sum(values) < 300 else _SHADES
    toward, keep = shades[place]
    return "#" + "".join(f"{round(toward * (1 - keep) + value * keep):02x}" for value in values)


def _voice(
    label: str, colour: str, c: int, parts: list[tuple[int, Track, NDArray[np.bool_]]], lanes: NDArray[np.int64]
) -> Voice:
    notes = [(track.notes, chosen) for _, track, chosen in parts]
    pitch = np.concatenate([each.pitch[chosen] for each, chosen in notes]).astype(np.int64)
    return Voice(
        label=label,
        colour=colour,
        is_drum=c == DRUMS,
        start_ticks=np.concatenate([each.start_ticks[chosen] for each, chosen in notes]),
        end_ticks=np.concatenate([each.end_ticks[chosen] for each, chosen in notes]),
        level=np.searchsorted(lanes, _LANE_OF[pitch]) if c == DRUMS else pitch,
        velocity=np.concatenate([each.velocity[chosen] for each, chosen in notes]),
    )
