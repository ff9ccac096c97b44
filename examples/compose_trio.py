"""Compose eight bars for three instruments, and print who plays how much."""

import musegen

[score] = musegen.compose(composer="mozart", instruments=["violin", "cello", "piano"], bars=8, key="G", seed=1)
score.write("trio.mid")
for track in score.tracks:
    print(f"{track.name}: {len(track.notes)} notes")
