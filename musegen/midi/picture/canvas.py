"""Two surfaces to draw on: an .svg that grows as text and a .png that is painted in an array.

Both know filled rectangles, groups of notes and lines of text, and nothing global: drawing in several threads is safe,
and equal drawings give equal bytes. Coordinates are pixels from the top left corner.
"""

import functools
import importlib.util
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

Anchor = Literal["start", "middle", "end"]
Pixels = NDArray[np.float64]


class Canvas(Protocol):
    """What a picture is drawn on."""

    def rectangle(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """Fills a rectangle with an opaque colour, "#rrggbb"."""
        ...

    def notes(self, left: Pixels, right: Pixels, top: Pixels, height: float, colour: str, opacity: float) -> None:
        """Fills many rectangles of one height with one see-through colour, 0..1; where they overlap it counts once."""
        ...

    def text(
        self, x: float, y: float, text: str, size: int, colour: str, anchor: Anchor = "start", bold: bool = False
    ) -> None:
        """Writes a line of text whose baseline is at y."""
        ...

    def data(self) -> bytes:
        """Returns the finished file."""
        ...


def printable(text: str, longest: int) -> str:
    """Returns a text from outside as one line without control characters, cut to `longest` characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def text_width(text: str, size: int, bold: bool = False) -> float:
    """Returns about how many pixels a line of text is wide."""
    return _font(size, bold, threading.get_ident()).getlength(text)


@functools.lru_cache(maxsize=32)
def _font(size: int, bold: bool, thread: int) -> "FreeTypeFont | BitmapFont":
    """Returns a font for one thread: FreeType's must not be shared."""
    from PIL import ImageFont

    # matplotlib carries DejaVu, which knows notes, sharps and flats; finding it does not import matplotlib.
    package = importlib.util.find_spec("matplotlib")
    for folder in package.submodule_search_locations or () if package else ():
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


class SvgCanvas:
    """Draws an .svg; text stays text."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Verdana, sans-serif">'
            f"<title>{escape(title)}</title>",
        ]
        self.rectangle(0, 0, width, height, "#ffffff")

    def rectangle(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """See Canvas."""
        place = f'x="{left:.6g}" y="{top:.6g}" width="{width:.6g}" height="{height:.6g}"'
        self._parts.append(f'<rect {place} fill="{colour}"/>')

    def notes(self, left: Pixels, right: Pixels, top: Pixels, height: float, colour: str, opacity: float) -> None:
        """See Canvas."""
        boxes = zip(left.tolist(), (right - left).tolist(), top.tolist(), strict=True)
        path = "".join(f"M{x:.6g} {y:.6g}h{width:.4g}v{height:.4g}H{x:.6g}z" for x, width, y in boxes)
        self._parts.append(f'<path fill="{colour}" fill-opacity="{opacity:.2f}" d="{path}"/>')

    def text(
        self, x: float, y: float, text: str, size: int, colour: str, anchor: Anchor = "start", bold: bool = False
    ) -> None:
        """See Canvas."""
        style = f'font-size="{size}" fill="{colour}" text-anchor={quoteattr(anchor)}' + ' font-weight="bold"' * bold
        self._parts.append(f'<text x="{x:.6g}" y="{y:.6g}" {style}>{escape(text)}</text>')

    def data(self) -> bytes:
        """See Canvas."""
        return "\n".join([*self._parts, "</svg>\n"]).encode()


class PngCanvas:
    """Paints a .png on whole pixels: nothing is blurred."""

    def __init__(self, width: int, height: int) -> None:
        self._pixels = np.full((height, width, 3), 255, np.uint8)
        self._texts: list[tuple[float, float, str, int, str, Anchor, bool]] = []

    def rectangle(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """See Canvas."""
        x, y = round(left), round(top)
        right, bottom = max(round(left + width), x + 1), max(round(top + height), y + 1)
        self._pixels[max(y, 0) : bottom, max(x, 0) : right] = _rgb(colour)

    def notes(self, left: Pixels, right: Pixels, top: Pixels, height: float, colour: str, opacity: float) -> None:
        """See Canvas."""
        # A million notes cost what the pixels cost: count for each line of notes which pixels any of them covers.
        first = np.rint(left).astype(np.int64)
        stop = np.maximum(np.rint(right).astype(np.int64), first + 1)
        tops, line = np.unique(np.rint(top).astype(np.int64), return_inverse=True)
        width = self._pixels.shape[1] + 1
        begun = np.bincount(line * width + np.clip(first, 0, width - 1), minlength=len(tops) * width)
        ended = np.bincount(line * width + np.clip(stop, 0, width - 1), minlength=len(tops) * width)
        covered = np.cumsum((begun - ended).reshape(len(tops), width)[:, :-1], axis=1) > 0
        lines, x = np.nonzero(covered)
        shade = opacity * _rgb(colour).astype(np.float32) + 0.5
        for y in range(round(height)):
            pixels = self._pixels[tops[lines] + y, x]
            self._pixels[tops[lines] + y, x] = (pixels * np.float32(1 - opacity) + shade).astype(np.uint8)

    def text(
        self, x: float, y: float, text: str, size: int, colour: str, anchor: Anchor = "start", bold: bool = False
    ) -> None:
        """See Canvas."""
        self._texts.append((x, y, text, size, colour, anchor, bold))

    def data(self) -> bytes:
        """See Canvas."""
        from PIL import Image, ImageDraw

        image = Image.fromarray(self._pixels)
        pen = ImageDraw.Draw(image)
        for x, y, text, size, colour, anchor, bold in self._texts:
            font = _font(size, bold, threading.get_ident())
            before = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * font.getlength(text)
            pen.text((round(x - before), round(y)), text, colour, font, anchor="ls")
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()


def _rgb(colour: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)
