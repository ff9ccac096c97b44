"""Harmonise a folk song that ships with music21, and keep it as MIDI, as a score and as a picture."""

from music21 import corpus

import musegen

song = corpus.parse("essenFolksong/boehme10", number=199)  # "Der Mond ist aufgegangen"; J. A. P. Schulz, 1790
score = musegen.harmonize(song, instruments="choir", candidates=8, seed=1)
score.write("moon.mid")
score.write("moon.musicxml")
musegen.plot(score, "moon.png")
for track in score.tracks:
    print(f"{track.name}: {len(track.notes)} notes")
