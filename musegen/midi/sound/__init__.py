"""A score as sound: written to a file, or played."""

from musegen.midi.sound.rendering import RenderReport, listen, render

__all__ = ["RenderReport", "listen", "render"]
