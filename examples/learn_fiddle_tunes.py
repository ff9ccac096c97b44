"""Teach the model that ships a style of its own: fifty fiddle tunes out of music21, which it has never seen.

Twenty other tunes tell what it learned: how many nats a token costs it before and after. It takes some minutes; an
argument such as train.steps=30 makes it shorter.
"""

import os
import sys
from pathlib import Path

from music21 import corpus

from musegen import Score, api


def main() -> None:
    tunes = sorted(corpus.getComposer("ryansMammoth"))  # Ryan's Mammoth Collection, Boston 1883
    for number, path in enumerate(tunes[:: len(tunes) // 70][:70]):
        folder = Path("others" if number % 7 in (2, 5) else "taught", "fiddle")
        folder.mkdir(parents=True, exist_ok=True)
        Score.from_music21(corpus.parse(path)).write(folder / f"{path.stem}.mid")

    ended = api.train(overrides=sys.argv[1:], base="muse-small", data="taught", style="fiddle", out="runs/fiddle")
    api.export("runs/fiddle", "models/muse-fiddle")
    os.environ["MUSEGEN_CHECKPOINTS"] = "models"
    print(f"Fine-tuned in {ended['elapsed_seconds'] / 60:.1f} minutes.")

    api.prepare_data("others", "runs/others")
    for model in ("muse-small", "muse-fiddle"):
        # All of the other tunes: whatever their split, none of them was learned from.
        report = api.evaluate_muse("runs/others", model=model, split="train", written=0)
        nats = {row["model"]: row["nats_per_token"] for row in report["models"]}
        print(f"{model}: {nats['muse, nothing told']:.3f} nats a token, with its label {nats['muse, style told']:.3f}")

    [reel] = api.compose(model="muse-fiddle", composer="fiddle", bars=16, seed=1)
    reel.write("reel.mid")
    api.plot(reel, "reel.png")


if __name__ == "__main__":  # the files are read by processes of their own, which begin by reading this one
    main()
