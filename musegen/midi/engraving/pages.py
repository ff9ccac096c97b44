"""Engraved pages of a score: verovio sets them, and they are written as .svg, .png or .pdf."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musegen.errors import InputError
from musegen.midi.engraving.musicxml import to_musicxml
from musegen.midi.files import write_atomically
from musegen.midi.score import Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")

_PAGE_WIDTH, _PAGE_HEIGHT = 2100, 2970  # A4 in tenths of a millimetre
_TENTHS_PER_INCH = 254
_DPI = 150
_SCALES = (100, 80, 64, 52, 42, 34)  # percent of the usual size; below the last, nobody can read it
_N_STAVES_THAT_FIT = 8
_LOWEST = 0.93  # of the page's height: below it are the margin and the last ledger lines
_VIEW_BOX = re.compile(r'viewBox="0 0 \S+ (\S+)"')
_STAFF_LINE = re.compile(r'<path d="M\S+ (\S+) L\S+ \1"')


def engrave(
    score: Score, path: str | os.PathLike[str], on_progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Writes a score as sheet music on A4 pages.

    Args:
        score: the music; its notes are moved to a grid that can be read.
        path: a file that ends in .pdf (all pages in one file), .svg or .png (several pages are name-1.svg, name-2.svg).
        on_progress: called with the pages done and their number.

    Returns:
        The files that were written.

    Raises:
        InputError: the ending of `path` is another, verovio is not installed, or the score has too many bars.
        ScoreFileError: a file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"the name of sheet music must end in one of {', '.join(SUFFIXES)}, got {path.name!r}")
    toolkit = _toolkit(to_musicxml(score))
    n_pages = toolkit.getPageCount()
    report = on_progress or (lambda done, of: None)
    report(0, n_pages)
    if kind == ".pdf":
        write_atomically(path, _pdf(toolkit, n_pages, report))
        return [path]
    written = []
    for page in range(1, n_pages + 1):
        svg = toolkit.renderToSVG(page)
        name = path if n_pages == 1 else path.with_name(f"{path.stem}-{page}{path.suffix}")
        write_atomically(name, svg.encode() if kind == ".svg" else _png(svg, toolkit))
        written.append(name)
        report(page, n_pages)
    return written


def svg_pages(score: Score, n_most: int | None = None) -> list[str]:
    """Returns a score's engraved pages as SVG, the first `n_most` or all.

    Raises:
        InputError: verovio is not installed, or the score has too many bars.
    """
    toolkit = _toolkit(to_musicxml(score))
    n_pages = toolkit.getPageCount()
    return [toolkit.renderToSVG(page) for page in range(1, min(n_pages, n_most or n_pages) + 1)]


def _toolkit(musicxml: str) -> Any:
    """Returns verovio with the music loaded."""
    try:
        import verovio
    except ImportError as error:
        raise InputError("sheet music needs verovio: pip install 'musegen[score]'") from error
    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    n_staves = max(musicxml.count("<part id="), musicxml.count("<clef"))
    unit = 7.5 if n_staves <= 4 else 6.5 if n_staves <= 8 else 5.0
    for scale in _SCALES:
        toolkit.setOptions(_options(unit, scale))
        if not toolkit.loadData(musicxml):
            raise InputError("verovio cannot engrave this score")
        if n_staves <= _N_STAVES_THAT_FIT or _fits(toolkit):
            return toolkit
    raise InputError(f"the score has {n_staves} staves, more than fit below each other on a page")


def _options(unit: float, scale: int) -> dict[str, Any]:
    return {
        "pageWidth": _PAGE_WIDTH,
        "pageHeight": _PAGE_HEIGHT,
        "pageMarginTop": 120,
        "pageMarginBottom": 120,
        "pageMarginLeft": 120,
        "pageMarginRight": 120,
        "unit": unit,
        "scale": scale,
        "scaleToPageSize": True,
        "svgViewBox": True,
        "footer": "none",
        "justifyVertically": True,
        "xmlIdSeed": 1,  # equal scores give equal pages
    }


def _fits(toolkit: Any) -> bool:
    """Whether the lowest staff lines of all pages are on the page."""
    for page in range(1, toolkit.getPageCount() + 1):
        svg = toolkit.renderToSVG(page)
        height = max(float(box) for box in _VIEW_BOX.findall(svg))
        if max((float(y) for y in _STAFF_LINE.findall(svg)), default=0.0) > height * _LOWEST:
            return False
    return True


def _figure(svg: str, toolkit: Any) -> "Figure":
    from matplotlib.figure import Figure

    from musegen.midi.engraving.drawing import draw

    figure = Figure(figsize=(_PAGE_WIDTH / _TENTHS_PER_INCH, _PAGE_HEIGHT / _TENTHS_PER_INCH), facecolor="white")
    draw(svg, figure, Path(toolkit.getResourcePath()))
    return figure


def _png(svg: str, toolkit: Any) -> bytes:
    out = io.BytesIO()
    _figure(svg, toolkit).savefig(out, format="png", dpi=_DPI, metadata={"Software": "musegen"})
    return out.getvalue()


def _pdf(toolkit: Any, n_pages: int, report: Callable[[int, int], None]) -> bytes:
    from matplotlib.backends.backend_pdf import PdfPages

    out = io.BytesIO()
    with PdfPages(out, metadata={"Creator": "musegen", "Producer": "musegen", "CreationDate": None}) as pages:
        for page in range(1, n_pages + 1):
            pages.savefig(_figure(toolkit.renderToSVG(page), toolkit))
            report(page, n_pages)
    return out.getvalue()
