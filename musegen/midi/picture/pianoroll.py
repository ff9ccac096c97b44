"""Piano-roll pictures of a score."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.files import write_atomically
from musegen.midi.picture.canvas import Canvas, PngCanvas, SvgCanvas, printable, text_width
from musegen.midi.picture.marks import caption, clock, key_marks, meter_marks, tempo_marks
from musegen.midi.picture.roll import MAX_BARS, Roll, Rows, Voice, gather, lay_out
from musegen.midi.score import Score

__all__ = ["MAX_BARS", "Picture", "System", "draw", "plot"]

WIDTH = 1200
MAX_HEIGHT = 16_000
MAX_SVG_NOTES = 200_000

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 14
_TITLE, _LINE, _LANE, _NUMBERS, _MARKS, _GAP = 28, 20, 14, 13, 13, 12
_MAX_LEGEND_LINES = 6
_SMALL, _NORMAL, _LARGE = 10, 12, 18

_INK, _SOFT, _FAINT = "#222222", "#555560", "#8a8a94"
_PAPER, _BLACK_KEYS, _OCTAVE, _LANES = "#fbfbfd", "#f0f0f4", "#c4c4d0", ("#f3efe7", "#faf7f1")
_BAR, _BEAT = "#9a9aa6", "#dfdfe6"
_MARK = "#96281b"
_OPACITY = (0.4, 0.55, 0.7, 0.85, 1.0)  # from soft to loud


@dataclass(frozen=True)
class System:
    """Where a row of bars lies in a picture, in pixels, and the ticks at its two ends."""

    start_ticks: int
    stop_ticks: int
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Picture:
    """A finished picture: the file's bytes, its size in pixels, its rows of bars and how many bars the score has."""

    data: bytes
    width: int
    height: int
    systems: tuple[System, ...]
    last_bar: int
    n_bars: int


def plot(
    score: Score,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    rows: int | None = None,
    bars: tuple[int, int] | None = None,
) -> None:
    """Draws a score as a piano roll, 1200 pixels wide.

    A colour is an instrument class, the same in every picture; two to four tracks of one class are shades of it. The
    louder a note, the stronger its colour; its left edge is darker. Drums have lanes of their own below. Bar lines
    carry bar numbers, beats are fainter lines, and changes of meter, key and tempo are written above.

    Args:
        score: the music; without notes, an empty frame is drawn.
        path: a file that ends in .png or .svg.
        title: a line above the picture, by default the score's name.
        rows: over how many rows the bars are spread, at least 1; by default as many as keep the notes legible.
        bars: the first and the last bar to draw, counted from 1, such as (9, 24); by default all.

    Raises:
        InputError: the ending of `path`, `rows` or `bars` cannot be used, or the picture would not be legible: over
            MAX_BARS bars, MAX_HEIGHT pixels or, in an .svg, MAX_SVG_NOTES notes.
        ScoreFileError: the file cannot be written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise InputError(f"a picture's name must end in .png or .svg, got {Path(path).name!r}")
    write_atomically(path, draw(score, kind, title=title, rows=rows, bars=bars).data)


def draw(
    score: Score,
    kind: str,
    *,
    title: str | None = None,
    rows: int | None = None,
    bars: tuple[int, int] | None = None,
    with_caption: bool = True,
) -> Picture:
    """Draws what `plot` writes.

    Args:
        score: the music.
        kind: "png" or "svg".
        title: see plot.
        rows: see plot.
        bars: see plot.
        with_caption: whether a line of facts is written above it.

    Raises:
        InputError: see plot.
    """
    if rows is not None and rows < 1:
        raise InputError(f"rows must be at least 1, got {rows}")
    layout = lay_out(score, rows, bars)
    roll = gather(score, layout)
    title = printable(score.name if title is None else title, 90)
    heading, legend, frame = _heading(score, layout, title, with_caption), _legend(roll), _Frame.of(roll)
    above = _TOP + sum(line[2] for line in heading) + _LINE * (legend[-1][1] + 1 if legend else 0)
    height = above + len(layout) * frame.height + _BOTTOM
    if height > MAX_HEIGHT:
        most = (MAX_HEIGHT - above - _BOTTOM) // frame.height
        raise InputError(f"a picture is at most {MAX_HEIGHT} pixels high: {len(layout)} rows are too many, draw {most}")
    spans = [layout.span(row) for row in range(len(layout))]
    if kind == "svg" and sum(len(voice.shown(*span)) for voice in roll.voices for span in spans) > MAX_SVG_NOTES:
        raise InputError(f"an .svg holds at most {MAX_SVG_NOTES} notes; write a .png, or draw fewer bars")
    canvas = SvgCanvas(WIDTH, height, title or "piano-roll") if kind == "svg" else PngCanvas(WIDTH, height)
    _header(canvas, heading, legend)
    systems = []
    for row in range(len(layout)):
        system = _system(layout, row, above + row * frame.height, frame)
        _background(canvas, roll, frame, system)
        _grid(canvas, score, layout, row, system)
        for voice in roll.voices:
            _notes(canvas, voice, frame, system)
        _row_labels(canvas, score, layout, row, system)
        systems.append(system)
    return Picture(canvas.data(), WIDTH, height, tuple(systems), layout.last_bar, layout.n_bars)


@dataclass(frozen=True)
class _Frame:
    """The heights of a row's parts in pixels."""

    semitone: int
    panel: int
    strip: int
    highest: int  # pitch

    @classmethod
    def of(cls, roll: Roll) -> "_Frame":
        n_pitches = len(roll.pitches) if roll.pitches else 0
        semitone = next(height for height, most in ((8, 18), (6, 24), (5, 36), (4, 56), (3, 999)) if n_pitches <= most)
        highest = roll.pitches[-1] if roll.pitches else 0
        return cls(semitone, semitone * n_pitches, _LANE * len(roll.lanes), highest)

    @property
    def height(self) -> int:
        return _MARKS + _NUMBERS + self.panel + self.strip + _GAP


def _system(layout: Rows, row: int, top: int, frame: _Frame) -> System:
    start, stop = layout.span(row)
    right = _LEFT + (WIDTH - _LEFT - _RIGHT) * (stop - start) / layout.width_ticks
    top += _MARKS + _NUMBERS
    return System(start, stop, _LEFT, right, top, top + frame.panel + frame.strip)


def _legend(roll: Roll) -> list[tuple[float, int, str, str]]:
    """Returns where each voice stands in the legend: x, line, label and colour."""
    entries: list[tuple[float, int, str, str]] = []
    x, line = float(_LEFT), 0
    for voice in roll.voices:
        width = 16 + text_width(voice.label, _NORMAL) + 22
        if x + width > WIDTH - _RIGHT and x > _LEFT:
            x, line = float(_LEFT), line + 1
        if line == _MAX_LEGEND_LINES:
            entries, (x, line, *_) = entries[:-1], entries[-1]
            return [*entries, (x, line, f"and {len(roll.voices) - len(entries)} more", "")]
        entries.append((x, line, voice.label, voice.colour))
        x += width
    return entries


def _heading(score: Score, layout: Rows, title: str, with_caption: bool) -> list[tuple[str, int, int]]:
    """Returns the lines at the top: text, letter size and height."""
    lines = [(title, _LARGE, _TITLE)] if title else []
    return [*lines, ("  ·  ".join(caption(score, layout)), _NORMAL, _LINE)] if with_caption else lines


def _header(canvas: Canvas, heading: list[tuple[str, int, int]], legend: list[tuple[float, int, str, str]]) -> None:
    y = _TOP
    for text, size, height in heading:
        canvas.text(_LEFT, y + size - 2, text, size, _INK if size == _LARGE else _SOFT, bold=size == _LARGE)
        y += height
    for x, line, label, colour in legend:
        base = y + _LINE * line + 12
        if colour:
            canvas.rectangle(x, base - 10, 11, 11, colour)
        canvas.text(x + 16, base, label, _NORMAL, _INK)


def _background(canvas: Canvas, roll: Roll, frame: _Frame, system: System) -> None:
    width, top = system.right - system.left, system.top
    if roll.pitches:
        canvas.rectangle(system.left, top, width, frame.panel, _PAPER)
        for place, pitch in enumerate(reversed(roll.pitches)):
            y = top + place * frame.semitone
            if pitch % 12 in (1, 3, 6, 8, 10):
                canvas.rectangle(system.left, y, width, frame.semitone, _BLACK_KEYS)
            if pitch % 12 == 0 and place < len(roll.pitches) - 1:
                canvas.rectangle(system.left, y + frame.semitone, width, 1, _OCTAVE)
            if pitch % 12 == 0 and y >= top + 6:  # not into the time above the row
                canvas.text(system.left - 5, y + frame.semitone / 2 + 4, f"C{pitch // 12 - 1}", _SMALL, _SOFT, "end")
    for place, name in enumerate(reversed(roll.lanes)):
        y = top + frame.panel + place * _LANE
        canvas.rectangle(system.left, y, width, _LANE, _LANES[place % 2])
        canvas.text(system.left - 5, y + 11, name, _SMALL, _SOFT, "end")


def _x(system: System, ticks: NDArray[Any]) -> NDArray[Any]:
    share = (ticks - system.start_ticks) / (system.stop_ticks - system.start_ticks)
    return system.left + share * (system.right - system.left)


def _grid(canvas: Canvas, score: Score, layout: Rows, row: int, system: System) -> None:
    bars = layout.bar_ticks[layout.first[row] : layout.first[row + 1] + 1]
    height, pixels = system.bottom - system.top, np.diff(_x(system, bars))
    under = np.searchsorted(score.meters.start_ticks, bars[:-1], side="right") - 1
    meters = zip(score.meters.numerator[under].tolist(), score.meters.denominator[under].tolist(), strict=True)
    for start, stop, wide, (numerator, denominator) in zip(bars[:-1], bars[1:], pixels, meters, strict=True):
        # Three eighths make a beat in 6/8, 9/8 and 12/8.
        units = 3 if denominator >= 8 and numerator % 3 == 0 and numerator > 3 else 1
        beat_ticks = 4 * score.ticks_per_quarter * units / denominator
        if beat_ticks * wide >= 7 * (stop - start):
            for x in _x(system, np.arange(start + beat_ticks, stop - beat_ticks / 4, beat_ticks)):
                canvas.rectangle(x, system.top, 1, height, _BEAT)
    if pixels.min() >= 3:
        for x in _x(system, bars):
            canvas.rectangle(x, system.top, 1, height, _BAR)


def _notes(canvas: Canvas, voice: Voice, frame: _Frame, system: System) -> None:
    shown = voice.shown(system.start_ticks, system.stop_ticks)
    if not shown.size:
        return
    start = _x(system, np.maximum(voice.start_ticks[shown], system.start_ticks))
    stop = _x(system, np.minimum(voice.end_ticks[shown], system.stop_ticks))
    level = voice.level[shown].astype(np.float64)
    if voice.is_drum:  # A drum's length says nothing: all hits are alike.
        stop, height = start + 4, _LANE - 4
        top = system.bottom - (level + 1) * _LANE + 2
    else:
        stop, height = np.maximum(stop, start + 2), frame.semitone - (frame.semitone > 4)
        top = system.top + (frame.highest - level) * frame.semitone
    loudness = np.minimum(voice.velocity[shown].astype(np.int64) * len(_OPACITY) // 101, len(_OPACITY) - 1)
    has_edge = stop - start >= 4
    for each, opacity in enumerate(_OPACITY):
        chosen = loudness == each
        if chosen.any():
            canvas.notes(start[chosen], stop[chosen], top[chosen], height, voice.colour, opacity)
        chosen &= has_edge
        if chosen.any():  # a dark left edge keeps repeated notes apart
            canvas.notes(start[chosen], start[chosen] + 1, top[chosen], height, _darker(voice.colour), opacity)


def _darker(colour: str) -> str:
    return "#" + "".join(f"{value // 2:02x}" for value in bytes.fromhex(colour[1:]))


def _row_labels(canvas: Canvas, score: Score, layout: Rows, row: int, system: System) -> None:
    first, last = int(layout.first[row]), int(layout.first[row + 1])
    bars, base = layout.bar_ticks[first:last], system.top - 3
    x_of, n_first = _x(system, bars), layout.first_bar + first
    room = text_width(str(layout.last_bar), _SMALL) + 8
    bar_pixels = (system.right - system.left) / len(bars)
    step = next((n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n * bar_pixels >= room), MAX_BARS)
    free = -1.0
    for number, x in enumerate(x_of, n_first):
        if (number == n_first or (number - 1) % step == 0) and x >= free:
            canvas.text(x, base, str(number), _SMALL, _INK if number == n_first else _SOFT, bold=number == n_first)
            free = x + room
    canvas.text(system.left - 5, base, clock(score.seconds_at(int(bars[0]))), _SMALL, _FAINT, "end")
    _marks(canvas, score, system, base - _NUMBERS, is_first=row == 0)


def _marks(canvas: Canvas, score: Score, system: System, base: float, is_first: bool) -> None:
    """Writes above a row where meter, key and tempo change; a tempo only where there is room beside the others."""
    span = system.start_ticks, system.stop_ticks
    taken: list[tuple[float, float]] = []
    signs: dict[int, list[str]] = {}
    for ticks, text in (*meter_marks(score, span, is_first), *key_marks(score, span, is_first)):
        signs.setdefault(ticks, []).append(text)
    tempos = tempo_marks(score, span, is_first)
    for ticks, text in tempos:
        if ticks in signs:
            signs[ticks].append(text)
    others = [(ticks, text) for ticks, text in tempos if ticks not in signs]
    for ticks, text in [*((ticks, "  ".join(texts)) for ticks, texts in sorted(signs.items())), *others]:
        left, width = float(_x(system, np.array([ticks]))[0]), text_width(text, _SMALL)
        if left + width <= WIDTH and not any(start < left + width and left < stop for start, stop in taken):
            canvas.text(left, base, text, _SMALL, _MARK)
            taken.append((left, left + width + 9))
