"""Engraved pages of a score: verovio sets them, and they are written as .svg, .png or .pdf."""

import io
import os
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
    toolkit.setOptions(
        {
            "pageWidth": _PAGE_WIDTH,
            "pageHeight": _PAGE_HEIGHT,
            "pageMarginTop": 120,
            "pageMarginBottom": 120,
            "pageMarginLeft": 120,
            "pageMarginRight": 120,
            "unit": 7.5 if n_staves <= 4 else 6.5 if n_staves <= 8 else 5.0,
            "scale": 100,
            "svgViewBox": True,
            "footer": "none",
            "justifyVertically": True,
            "xmlIdSeed": 1,  # equal scores give equal pages
        }
    )
    if not toolkit.loadData(musicxml):
        raise InputError("verovio cannot engrave this score")
    return toolkit


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
