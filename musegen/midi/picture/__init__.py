"""A score as a picture: piano-rolls, and what a notebook shows."""

from musegen.midi.picture.pianoroll import plot

__all__ = ["plot"]
