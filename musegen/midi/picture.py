"""Piano-roll pictures of a score."""

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musegen.errors import InputError
from musegen.midi.files import write_atomically
from musegen.midi.instruments import DRUMS, INSTRUMENTS, class_of
from musegen.midi.score import Score
from musegen.midi.units import bar_counts, bar_starts_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 4000
"""The longest score that is drawn; every bar has to stay visible."""

_WIDTH_INCHES, _DPI = 12.0, 100
_MARGIN_LEFT, _MARGIN_RIGHT, _MARGIN_TOP, _MARGIN_BOTTOM = 0.75, 0.2, 0.1, 0.15
_TITLE_INCHES, _LINE_INCHES, _LANE_INCHES, _ROW_GAP_INCHES = 0.26, 0.22, 0.17, 0.35
_LEGEND_COLUMNS = 9
_ROW_QUARTERS, _MAX_ROWS = 64, 14

# Tableau's ten and five more, by how many notes a class has; later classes begin again.
_COLOURS = (
    "#4e79a7", "#e15759", "#59a14f", "#f28e2b", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#ff9da7", "#2f3e75",
    "#c2185b", "#8cd17d", "#a0cbe8", "#6a3d9a", "#808000",
)  # fmt: skip
_DRUM_COLOUR = "#444444"
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
class _Roll:
    """All notes of a score as rectangles, and the frame they are drawn in."""

    start_ticks: NDArray[np.int64]
    end_ticks: NDArray[np.int64]
    level: NDArray[np.int64]  # a pitch, or for drums the place of their lane among `lanes`
    alpha: NDArray[np.float64]
    class_index: NDArray[np.int64]
    lanes: tuple[str, ...]
    colours: dict[int, str]  # by class, the most played first

    @property
    def is_drum(self) -> NDArray[np.bool_]:
        return self.class_index == DRUMS

    def pitch_limits(self) -> tuple[int, int] | None:
        """Returns the lowest and highest line of the pitched panel, or None where there are only drums."""
        pitches = self.level[~self.is_drum]
        if not pitches.size:
            return None if self.lanes else (54, 66)
        low, high = int(pitches.min()) - 2, int(pitches.max()) + 2
        return min(low, high - 16), high


@dataclass(frozen=True)
class _Rows:
    """How the bars are laid out: row r shows bars first[r] to first[r + 1] (not included)."""

    bar_ticks: NDArray[np.int64]  # the start of each bar, and the end of the last one
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first) - 1

    def span(self, row: int) -> tuple[int, int]:
        """Returns the first tick of a row and the tick after its last."""
        return int(self.bar_ticks[self.first[row]]), int(self.bar_ticks[self.first[row + 1]])

    @property
    def width_ticks(self) -> int:
        return max(stop - start for start, stop in map(self.span, range(len(self))))


def plot(score: Score, path: str | os.PathLike[str], *, title: str | None = None, rows: int | None = None) -> None:
    """Draws a score as a piano roll, 1200 pixels wide.

    Notes are coloured by instrument class, the louder the darker; drums have a strip of their own below. Bar lines
    carry bar numbers, beats are fainter lines, and where the meter changes it is written.

    Args:
        score: the music; without notes, an empty frame is drawn.
        path: a file that ends in .png or .svg.
        title: a line above the picture.
        rows: over how many rows the bars are spread, at least 1; by default as many as keep the notes legible.

    Raises:
        InputError: the ending of `path`, `rows`, or the number of bars (over MAX_BARS) cannot be used.
        ScoreFileError: the file cannot be written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise InputError(f"a picture's name must end in .png or .svg, got {Path(path).name!r}")
    if rows is not None and rows < 1:
        raise InputError(f"rows must be at least 1, got {rows}")
    layout = _layout(score, rows)
    roll = _roll(score)
    with warnings.catch_warnings():
        # A title in letters that the font lacks shows boxes; that is no reason to complain on the terminal.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        data = _render(_figure(score, roll, layout, title), kind)
    write_atomically(path, data)


def _render(figure: "Figure", kind: str) -> bytes:
    import matplotlib

    out = io.BytesIO()
    # The salt and the missing date make equal pictures equal files; text stays text in an .svg.
    with matplotlib.rc_context({"svg.hashsalt": "musegen", "svg.fonttype": "none"}):
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": "musegen"})
    return out.getvalue()


def _layout(score: Score, rows: int | None) -> _Rows:
    meters, end_ticks = score.meters, max(score.end_ticks, 1)
    args = meters.start_ticks, meters.numerator, meters.denominator, score.ticks_per_quarter
    n_bars = int(bar_counts(*args, end_ticks).sum())
    if n_bars > MAX_BARS:
        raise InputError(f"a picture holds at most {MAX_BARS} bars, the score has {n_bars}")
    starts = bar_starts_ticks(*args, end_ticks)
    last = meters[np.searchsorted(meters.start_ticks, starts[-1:], side="right") - 1][0]
    last_ticks = -(-4 * score.ticks_per_quarter * last.numerator // last.denominator)
    bar_ticks = np.append(starts, max(starts[-1] + last_ticks, end_ticks))
    total_ticks = int(bar_ticks[-1])
    if rows is not None:
        step_ticks = total_ticks / rows
    else:
        wished = min(max(round(total_ticks / score.ticks_per_quarter / _ROW_QUARTERS), 1), _MAX_ROWS)
        step_ticks = total_ticks / wished
        if len(meters) == 1 and wished > 1:  # phrases come in fours
            step_ticks = max(round(step_ticks / bar_ticks[1] / 4), 1) * 4 * bar_ticks[1]
    first = np.unique(np.searchsorted(starts, np.arange(0, total_ticks, step_ticks)))
    return _Rows(bar_ticks, np.append(first[first < n_bars], n_bars))


def _roll(score: Score) -> _Roll:
    tracks = [track for track in score.tracks if len(track.notes)]

    def column(name: str) -> NDArray[np.int64]:
        parts = [getattr(track.notes, name).astype(np.int64) for track in tracks]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    classes = [class_of(track.program, track.is_drum) for track in tracks]
    class_index = np.repeat(np.array(classes, np.int64), [len(track.notes) for track in tracks])
    start_ticks, level = column("start_ticks"), column("pitch")
    is_drum = class_index == DRUMS
    used, lane = np.unique(_LANE_OF[level[is_drum]], return_inverse=True)
    level[is_drum] = lane
    present, n_notes = np.unique(class_index, return_counts=True)
    pitched = [int(c) for c in present[np.argsort(-n_notes, kind="stable")] if c != DRUMS]
    colours = {c: _COLOURS[place % len(_COLOURS)] for place, c in enumerate(pitched)}
    if used.size:
        colours[DRUMS] = _DRUM_COLOUR
    return _Roll(
        start_ticks=start_ticks,
        end_ticks=start_ticks + column("duration_ticks"),
        level=level,
        alpha=0.35 + 0.65 * np.minimum(column("velocity") / 100, 1.0),
        class_index=class_index,
        lanes=tuple(_LANES[lane][0] for lane in used),
        colours=colours,
    )


def _figure(score: Score, roll: _Roll, layout: _Rows, title: str | None) -> "Figure":
    from matplotlib.figure import Figure  # half a second: only who draws pays

    limits = roll.pitch_limits()
    # Every semitone gets a hair over 3 pixels, within what a screen takes in at a glance.
    panel_inches = min(max((limits[1] - limits[0]) * 0.034, 0.9), 2.4) if limits else 0.0
    strip_inches = len(roll.lanes) * _LANE_INCHES
    row_inches = panel_inches + strip_inches + _ROW_GAP_INCHES
    header_inches = _MARGIN_TOP + _TITLE_INCHES * bool(title) + _LINE_INCHES * (1 + _n_legend_lines(roll))
    height = header_inches + len(layout) * row_inches + _MARGIN_BOTTOM
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=_DPI, facecolor="white")
    _header(figure, score, roll, layout, title)
    left, width = _MARGIN_LEFT / _WIDTH_INCHES, 1 - (_MARGIN_LEFT + _MARGIN_RIGHT) / _WIDTH_INCHES
    for row in range(len(layout)):
        top = height - header_inches - row * row_inches - _ROW_GAP_INCHES
        panels = []
        if limits:
            panels.append(figure.add_axes((left, (top - panel_inches) / height, width, panel_inches / height)))
            _pitch_lines(panels[-1], limits)
            _notes(panels[-1], roll, ~roll.is_drum, layout, row)
        if roll.lanes:
            bottom = top - panel_inches - strip_inches
            panels.append(figure.add_axes((left, bottom / height, width, strip_inches / height)))
            _lane_lines(panels[-1], roll.lanes)
            _notes(panels[-1], roll, roll.is_drum, layout, row)
        for panel in panels:
            _frame(panel, layout, row)
            _beat_lines(panel, score, layout, row)
        _bar_numbers(panels[0], score, layout, row)
    return figure


def _n_legend_lines(roll: _Roll) -> int:
    return -(-len(roll.colours) // _LEGEND_COLUMNS)


def _header(figure: "Figure", score: Score, roll: _Roll, layout: _Rows, title: str | None) -> None:
    height, left = figure.get_figheight(), _MARGIN_LEFT / _WIDTH_INCHES
    down = _MARGIN_TOP
    if title:
        figure.text(left, 1 - down / height, title, va="top", fontsize=13, fontweight="bold", parse_math=False)
        down += _TITLE_INCHES
    bpm = score.tempos.bpm
    n_bars = len(layout.bar_ticks) - 1
    facts = (
        f"{n_bars} bar{'s' * (n_bars != 1)}",
        _clock(score.duration_seconds),
        f"{bpm[0]:.0f} bpm" if len(bpm) == 1 else f"{bpm.min():.0f} to {bpm.max():.0f} bpm",
        f"{score.n_notes} note{'s' * (score.n_notes != 1)}",
    )
    figure.text(left, 1 - down / height, "  ·  ".join(facts), va="top", fontsize=9, color="#555555")
    down += _LINE_INCHES
    column = (1 - left) / _LEGEND_COLUMNS
    for place, (c, colour) in enumerate(roll.colours.items()):
        x = left + place % _LEGEND_COLUMNS * column
        y = 1 - (down + 0.13 + place // _LEGEND_COLUMNS * _LINE_INCHES) / height
        figure.text(x, y, "\N{BLACK SQUARE}", fontsize=11, color=colour)
        figure.text(x + 0.014, y + 0.01 / height, INSTRUMENTS[c].name, fontsize=9)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _frame(panel: "Axes", layout: _Rows, row: int) -> None:
    start, stop = layout.span(row)
    # All rows share one scale; a short last row stays short.
    panel.set_xlim(start, start + layout.width_ticks)
    panel.set_xticks([])
    panel.tick_params(axis="y", length=0, labelsize=7.5, pad=3, labelcolor="#444444")
    for side in panel.spines.values():
        side.set_visible(False)
    if stop < start + layout.width_ticks:
        panel.axvspan(stop, start + layout.width_ticks, color="white", zorder=0.9, linewidth=0)


def _pitch_lines(panel: "Axes", limits: tuple[int, int]) -> None:
    low, high = limits
    panel.set_ylim(low - 0.5, high + 0.5)
    for pitch in range(low, high + 1):
        if pitch % 12 in (1, 3, 6, 8, 10):  # the black keys
            panel.axhspan(pitch - 0.5, pitch + 0.5, color="#f4f4f6", linewidth=0, zorder=0)
        if pitch % 12 == 0:
            panel.axhline(pitch - 0.5, color="#c9c9d2", linewidth=0.6, zorder=0.5)
    octaves = [pitch for pitch in range(low, high) if pitch % 12 == 0]  # the top line is for the bar numbers
    panel.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])


def _lane_lines(panel: "Axes", lanes: tuple[str, ...]) -> None:
    panel.set_ylim(-0.5, len(lanes) - 0.5)
    for lane in range(len(lanes)):
        panel.axhspan(lane - 0.5, lane + 0.5, color=("#f0ece4", "#f8f5ef")[lane % 2], linewidth=0, zorder=0)
    panel.set_yticks(range(len(lanes)), list(lanes))


def _pixel_ticks(layout: _Rows) -> float:
    """Returns how many ticks one pixel shows."""
    return layout.width_ticks / ((_WIDTH_INCHES - _MARGIN_LEFT - _MARGIN_RIGHT) * _DPI)


def _notes(panel: "Axes", roll: _Roll, is_shown: NDArray[np.bool_], layout: _Rows, row: int) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    start, stop = layout.span(row)
    pixel = _pixel_ticks(layout)
    # A drum's length says nothing: all hits are drawn alike. A pitched note is at least 2 pixels wide.
    pitched_ends = np.maximum(roll.end_ticks, roll.start_ticks + 2 * pixel)
    ends = np.where(roll.is_drum, roll.start_ticks + 3 * pixel, pitched_ends)
    chosen = np.flatnonzero(is_shown & (roll.start_ticks < stop) & (ends > start))
    left, right = np.maximum(roll.start_ticks[chosen], start), np.minimum(ends[chosen], stop)
    half = np.where(roll.is_drum[chosen], 0.36, 0.45)
    low, high = roll.level[chosen] - half, roll.level[chosen] + half
    corners = np.stack([left, low, left, high, right, high, right, low], axis=1).reshape(-1, 4, 2)
    colours = np.empty((len(chosen), 4))
    for c, colour in roll.colours.items():
        colours[roll.class_index[chosen] == c, :3] = to_rgb(colour)
    colours[:, 3] = roll.alpha[chosen]
    edges = colours.copy()
    edges[:, :3] *= 0.6  # a darker rim keeps repeated notes apart
    panel.add_collection(PolyCollection(list(corners), facecolors=colours, edgecolors=edges, linewidths=0.5, zorder=3))


def _beat_lines(panel: "Axes", score: Score, layout: _Rows, row: int) -> None:
    pixel = _pixel_ticks(layout)
    bars = layout.bar_ticks[layout.first[row] : layout.first[row + 1] + 1]
    if np.diff(bars).min() >= 4 * pixel:
        panel.vlines(bars, *panel.get_ylim(), colors="#8a8a96", linewidths=0.7, zorder=1.5)
    place = np.searchsorted(score.meters.start_ticks, bars[:-1], side="right") - 1
    beat_ticks = 4 * score.ticks_per_quarter / score.meters.denominator[place]
    beats: list[Any] = [
        np.arange(bar + beat, stop - beat / 4, beat)
        for bar, stop, beat in zip(bars[:-1], bars[1:], beat_ticks, strict=True)
        if beat >= 8 * pixel
    ]
    if beats:
        panel.vlines(np.concatenate(beats), *panel.get_ylim(), colors="#dcdce2", linewidths=0.6, zorder=1)


def _bar_numbers(panel: "Axes", score: Score, layout: _Rows, row: int) -> None:
    first, last = int(layout.first[row]), int(layout.first[row + 1])
    bars = layout.bar_ticks[first:last]
    bar_pixels = np.median(np.diff(layout.bar_ticks)) / _pixel_ticks(layout)
    step = next(n for n in (1, 2, 4, 8, 16, 32, 64, MAX_BARS) if n * bar_pixels >= 26 or n == MAX_BARS)
    above = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "annotation_clip": False}
    for number, tick in enumerate(bars, first + 1):
        if tick == bars[0] or ((number - 1) % step == 0 and tick - bars[0] >= 26 * _pixel_ticks(layout)):
            panel.annotate(str(number), (tick, 1), (0, 2), ha="center", fontsize=7.5, color="#444444", **above)
    time = _clock(score.seconds_at(int(bars[0])))
    panel.annotate(time, (bars[0], 1), (-14, 2), ha="right", fontsize=7.5, color="#999999", **above)
    before = (0, 0)
    for start_ticks, *meter in score.meters:
        if meter != before and start_ticks in bars:
            text = f"{meter[0]}/{meter[1]}"
            style = {"ha": "center", "fontsize": 7.5, "fontweight": "bold", "color": "#a03030"}
            panel.annotate(text, (start_ticks, 1), (0, 12), **style, **above)
        before = meter
