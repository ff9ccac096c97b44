"""Scores from and to the objects of other libraries."""

from musegen.midi.convert.arrays import PianoRoll, from_notes, from_piano_roll, to_notes, to_piano_roll
from musegen.midi.convert.objects import ScoreLike, as_score, from_mido, from_music21, to_mido, to_music21
from musegen.midi.convert.through_pretty_midi import from_pretty_midi, to_pretty_midi
from musegen.midi.convert.through_symusic import from_symusic, to_symusic

__all__ = [
    "PianoRoll", "ScoreLike", "as_score", "from_mido", "from_music21", "from_notes", "from_piano_roll",
    "from_pretty_midi", "from_symusic", "to_mido", "to_music21", "to_notes", "to_piano_roll", "to_pretty_midi",
    "to_symusic",
]  # fmt: skip
