"""Standard MIDI files: bytes to and from a `Score` (Standard MIDI Files 1.0, RMID container)."""

from musegen.midi.smf.reading import from_bytes
from musegen.midi.smf.writing import to_bytes

__all__ = ["from_bytes", "to_bytes"]
