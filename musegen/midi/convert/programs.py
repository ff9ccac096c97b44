"""Tracks of one program each, for peers whose tracks have no program changes."""

from dataclasses import replace

from musegen.midi.score import Track


def by_program(track: Track) -> list[Track]:
    """Returns a track as one part a program that its notes sound with, in the order of their first notes.

    Every part has all the controls and pitch bends, for each will sound on a channel of its own: a pedal that went down
    under one program may come up under the next. Texts stay with the first part.
    """
    of_notes = track.programs_of(track.notes.start_ticks)
    used = list(dict.fromkeys(of_notes.tolist()))
    if len(used) <= 1:
        return [replace(track, program=used[0] if used else track.program, programs=None)]
    return [
        replace(
            track,
            program=program,
            notes=track.notes[of_notes == program],
            programs=None,
            texts=track.texts if program == used[0] else (),
        )
        for program in used
    ]
