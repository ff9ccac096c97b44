"""Continue a piece in three ways, and keep each as a file of its own."""

import musegen

[opening] = musegen.compose(composer="haydn", instruments=["piano"], bars=4, seed=3)
opening.write("opening.mid")
for number, score in enumerate(musegen.continue_score("opening.mid", bars=4, n=3, seed=4), start=1):
    score.write(f"ending-{number}.mid")
    print(f"ending-{number}.mid: {score.n_notes} notes, {score.duration_seconds:.0f} s")
