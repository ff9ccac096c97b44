"""Notation as a score: MusicXML, ABC and Humdrum, and streams of music21."""

from musegen.midi.notation.reading import read
from musegen.midi.notation.streams import from_music21

__all__ = ["from_music21", "read"]
