"""Words that a file keeps apart from the notes they are sung on, as karaoke files do."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from musegen.midi.score import Score, Text, TextKind, Track

_LINE_MARKS = "\\/\r\n"  # of a new paragraph and a new line in karaoke files, and of others


def with_lyrics(score: Score, tracks: Sequence[Track]) -> list[Track]:
    """Gives the words of the song, and those of tracks without notes, to the track whose notes begin where they do.

    Args:
        score: the score.
        tracks: those of its tracks that are written.
    """
    sources = [score.texts, *(track.texts for track in score.tracks if not len(track.notes))]
    words = [text for texts in sources for text in _syllables(texts)]
    if not words or not tracks:
        return list(tracks)
    ticks = np.array([text.start_ticks for text in words])
    n_sung = [0 if track.is_drum else int(np.isin(ticks, track.notes.start_ticks).sum()) for track in tracks]
    best = int(np.argmax(n_sung))
    if not n_sung[best]:
        return list(tracks)
    return [
        replace(track, texts=(*track.texts, *words)) if place == best else track for place, track in enumerate(tracks)
    ]


def _syllables(texts: Sequence[Text]) -> list[Text]:
    """Returns the words among texts as lyrics, with a hyphen after a syllable that the next one goes on."""
    found = [text for text in texts if text.kind is TextKind.LYRIC]
    if not found and any(text.text.startswith("@") for text in texts):  # the head of a karaoke file
        found = [text for text in texts if text.kind is TextKind.TEXT and not text.text.startswith("@")]
    if not any(text.text[:1].isspace() or text.text[-1:].isspace() or _is_new_line(text) for text in found):
        return found
    sung = []
    for text, following in pairwise([*found, Text(0, "\n")]):
        syllable = text.text.strip(_LINE_MARKS + " \t")
        goes_on = not text.text[-1:].isspace() and not following.text[:1].isspace() and not _is_new_line(following)
        hyphen = "-" if goes_on and syllable[-1:].isalpha() else ""
        if syllable:
            sung.append(Text(text.start_ticks, syllable + hyphen, TextKind.LYRIC))
    return sung


def _is_new_line(text: Text) -> bool:
    return text.text[:1] in tuple(_LINE_MARKS)
