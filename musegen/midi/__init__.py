"""Scores and MIDI files without torch: notes in integer ticks, units, instruments, reading, writing and pictures."""
