"""A score as notation: MusicXML, streams of music21, and sheet music."""

from musegen.midi.engraving.musicxml import to_music21, to_musicxml, to_mxl
from musegen.midi.engraving.pages import engrave, svg_pages

__all__ = ["engrave", "svg_pages", "to_music21", "to_musicxml", "to_mxl"]
