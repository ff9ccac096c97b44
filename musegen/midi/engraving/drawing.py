"""Verovio's SVG drawn by matplotlib, which musegen has anyway: exact glyphs, and the same text on every machine.

Only what verovio writes is understood: groups, glyphs that are used by reference, paths, polygons, lines and text.
"""

import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Outline

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COMMAND = re.compile(r"([MmLlHhVvCcSsQqZz])([^MmLlHhVvCcSsQqZz]*)")
_TRANSFORM = re.compile(r"(\w+)\(([^)]*)\)")
# STIX looks like Times, for which verovio leaves room, and comes with matplotlib, as DejaVu does. The others are those
# of the systems that have them, for titles in other scripts.
_FONTS = ("STIXGeneral", "DejaVu Sans", "Noto Serif CJK JP", "Noto Sans CJK JP", "Hiragino Sans", "MS Gothic", "SimSun",
          "Arial Unicode MS")  # fmt: skip
_N_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4}


def draw(svg: str, figure: "Figure", resources: Path) -> None:
    """Draws a page on a figure, which it fills.

    Args:
        svg: from verovio.
        figure: of matplotlib.
        resources: verovio's folder of music fonts.
    """
    from matplotlib.collections import PathCollection

    root = ElementTree.fromstring(svg)
    page = _Page(root, resources)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, page.width)
    axes.set_ylim(page.height, 0)
    points_per_unit = figure.get_figwidth() * 72 / page.width
    axes.add_collection(PathCollection(page.fills, facecolors="black", linewidths=0))
    for width, outlines in page.strokes.items():
        axes.add_collection(
            PathCollection(outlines, facecolors="none", edgecolors="black", linewidths=width * points_per_unit)
        )


class _Page:
    """The shapes of a page in its own coordinates: `fills`, and `strokes` by their width."""

    def __init__(self, root: Element, resources: Path):
        self.fills: list[Outline] = []
        self.strokes: dict[float, list[Outline]] = {}
        self._resources = resources
        self._glyphs = {f"#{glyph.get('id')}": glyph for glyph in root.iter(f"{_SVG}g") if glyph.get("id")}
        inner = root.find(f"{_SVG}svg")
        page = root if inner is None else inner
        self.width, self.height = (float(number) for number in page.get("viewBox", "0 0 1 1").split()[2:])
        for child in page:
            self._add(child, np.eye(3), "")

    def _add(self, element: Element, matrix: NDArray[np.float64], style: str) -> None:
        tag = element.tag.removeprefix(_SVG)
        classes = element.get("class", "").split()
        if tag in ("defs", "style", "desc", "title") or "placeholder" in classes:
            return
        matrix = matrix @ _matrix(element.get("transform", ""))
        style = _style(classes, style)
        if tag in ("g", "svg"):
            for child in element:
                self._add(child, matrix, style)
        elif tag == "use":
            x, y = float(element.get("x", 0)), float(element.get("y", 0))
            for child in self._glyphs[element.get(_HREF) or element.get("href", "")]:
                self._add(child, matrix @ _matrix(f"translate({x},{y})"), style)
        elif tag == "text":
            self._add_text(element, matrix, style)
        else:
            self._add_shape(element, tag, matrix)

    def _add_shape(self, element: Element, tag: str, matrix: NDArray[np.float64]) -> None:
        outline = _outline(element, tag)
        if outline is None:
            return
        placed = _placed(outline, matrix)
        if element.get("fill") != "none":
            self.fills.append(placed)
        width = float(element.get("stroke-width", "1").removesuffix("px")) * abs(np.linalg.det(matrix)) ** 0.5
        if width > 2:  # of 10 to a tenth of a millimetre: thinner ones only soften an edge
            self.strokes.setdefault(round(width, 2), []).append(placed)

    # Text ------------------------------------------------------------------------------------------------------------

    def _add_text(self, element: Element, matrix: NDArray[np.float64], style: str) -> None:
        """Sets lines of text; a span with coordinates begins a line."""
        line: list[tuple[Outline, float]] = []
        place = (0.0, 0.0, "start")

        def end_line() -> None:
            x, y, anchor = place
            total = sum(advance for _, advance in line)
            x -= {"middle": total / 2, "end": total}.get(anchor, 0.0)
            for outline, advance in line:
                self.fills.append(_placed(outline, matrix @ _matrix(f"translate({x},{y})")))
                x += advance
            line.clear()

        def walk(span: Element, size: float, family: str, style: str) -> None:
            nonlocal place
            size = float(span.get("font-size", str(size)).removesuffix("px"))
            family, style = span.get("font-family", family), _style([span.get("class", "")], style)
            style = span.get("font-style", style if style == "italic" else "") or style
            style = "bold" if span.get("font-weight") == "bold" else style
            if span.get("x") is not None and span.get("y") is not None:
                end_line()
                place = (float(span.get("x", 0)), float(span.get("y", 0)), span.get("text-anchor", place[2]))
            if (span.text and span.text.strip("\n\t ")) or (span.text and "\n" not in span.text):
                line.append(self._set(span.text, size, family, style))
            for child in span:
                walk(child, size, family, style)

        walk(element, 0.0, "", style)
        end_line()

    def _set(self, text: str, size: float, family: str, style: str) -> "tuple[Outline, float]":
        """Returns the outline of a text at the origin and how far it advances."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.path import Path as Outline
        from matplotlib.textpath import TextPath

        glyphs = [self._music_glyph(character, family) for character in text] if family in _MUSIC_FONTS else []
        if glyphs and all(glyph is not None for glyph in glyphs):
            outline = Outline.make_compound_path(*(glyph for glyph in glyphs if glyph is not None))
            scaled = _placed(outline, _matrix(f"scale({size / 1000})"))
            return scaled, float(scaled.get_extents().x1)
        font = FontProperties(
            family=list(_installed(_FONTS)),
            style="italic" if style == "italic" else "normal",
            weight="bold" if style == "bold" else "normal",
        )
        with warnings.catch_warnings():
            # A script that no font has shows boxes.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            outline = TextPath((0, 0), text, size=100, prop=font, usetex=False)
            marked = TextPath((0, 0), f"|{text}|", size=100, prop=font, usetex=False)
            bars = TextPath((0, 0), "||", size=100, prop=font, usetex=False)
        advance = (marked.get_extents().x1 - bars.get_extents().x1) * size / 100
        return _placed(outline, _matrix(f"scale({size / 100},{-size / 100})")), float(advance)

    def _music_glyph(self, character: str, family: str) -> "Outline | None":
        file = self._resources / family / f"{ord(character):04X}.xml"
        if not file.is_file():
            return None
        path = ElementTree.parse(file).getroot().find("path")
        return None if path is None else _placed(_path(path.get("d", "")), _matrix(path.get("transform", "")))


_MUSIC_FONTS = ("Leipzig", "Bravura", "Leland")


def _installed(families: tuple[str, ...]) -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    known = {font.name for font in fontManager.ttflist}
    return tuple(family for family in families if family in known)


def _style(classes: list[str], style: str) -> str:
    """Returns what verovio's own style sheet says of a class."""
    if not {"ending", "fing", "reh", "tempo"}.isdisjoint(classes):
        return "bold"
    if not {"dir", "dynam", "mNum"}.isdisjoint(classes):
        return "italic"
    return "" if "label" in classes else style


# Geometry -------------------------------------------------------------------------------------------------------------


@lru_cache(4096)
def _matrix(transform: str) -> NDArray[np.float64]:
    """Returns the matrix (3, 3) of a transform attribute."""
    matrix = np.eye(3)
    for name, inner in _TRANSFORM.findall(transform):
        numbers = [float(number) for number in _NUMBER.findall(inner)]
        step = np.eye(3)
        if name == "translate":
            step[:2, 2] = (*numbers, 0.0)[:2]
        elif name == "scale":
            step[0, 0], step[1, 1] = numbers[0], numbers[-1]
        elif name == "rotate":
            angle = np.deg2rad(numbers[0])
            step[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            if len(numbers) == 3:
                step[:2, 2] = np.array(numbers[1:]) - step[:2, :2] @ numbers[1:]
        elif name == "matrix":
            step[:2] = np.array(numbers).reshape(3, 2).T
        matrix = matrix @ step
    return matrix


def _placed(outline: "Outline", matrix: NDArray[np.float64]) -> "Outline":
    from matplotlib.path import Path as Outline

    return Outline(np.asarray(outline.vertices) @ matrix[:2, :2].T + matrix[:2, 2], outline.codes)


def _outline(element: Element, tag: str) -> "Outline | None":
    from matplotlib.path import Path as Outline

    if tag == "path":
        return _path(element.get("d", ""))
    if tag in ("polygon", "polyline"):
        points = np.array(_NUMBER.findall(element.get("points", "")), float).reshape(-1, 2)
        return Outline(np.vstack([points, points[:1]]) if tag == "polygon" else points, closed=tag == "polygon")
    if tag == "rect":
        x, y, width, height = (float(element.get(name, 0)) for name in ("x", "y", "width", "height"))
        return _placed(Outline.unit_rectangle(), np.array([[width, 0, x], [0, height, y], [0, 0, 1]]))
    if tag in ("ellipse", "circle"):
        cx, cy, rx, ry = (float(element.get(name, element.get("r", 0))) for name in ("cx", "cy", "rx", "ry"))
        return _placed(Outline.unit_circle(), np.array([[rx, 0, cx], [0, ry, cy], [0, 0, 1]]))
    return None


@lru_cache(4096)  # glyphs come again and again
def _path(d: str) -> "Outline":
    """Reads the path language of SVG, without its arcs."""
    from matplotlib.path import Path as Outline

    vertices: list[NDArray[np.float64]] = []
    codes: list[int] = []
    at, first, handle = np.zeros(2), np.zeros(2), None
    for letter, inner in _COMMAND.findall(d):
        kind, origin = letter.upper(), letter.islower()
        if kind == "Z":
            vertices.append(first)
            codes.append(int(Outline.CLOSEPOLY))
            at, handle = first, None
            continue
        numbers = np.array(_NUMBER.findall(inner), float).reshape(-1, _N_ARGUMENTS[kind])
        for row, values in enumerate(numbers):
            base = at if origin else np.zeros(2)
            if kind == "H":
                points = np.array([[base[0] + values[0], at[1]]])
            elif kind == "V":
                points = np.array([[at[0], base[1] + values[0]]])
            else:
                points = values.reshape(-1, 2) + base
            if kind == "S":  # its first handle mirrors the last one
                points = np.vstack([2 * at - handle if handle is not None else at, points])
            code = {"C": Outline.CURVE4, "S": Outline.CURVE4, "Q": Outline.CURVE3}.get(kind, Outline.LINETO)
            if kind == "M" and row == 0:
                code, first = Outline.MOVETO, points[-1]
            vertices.extend(points)
            codes.extend([int(code)] * len(points))
            handle = points[-2] if kind in "CS" else None
            at = points[-1]
    return Outline(np.array(vertices).reshape(-1, 2), codes)
