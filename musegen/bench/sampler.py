"""Ways to draw three voices under a soprano with Coconet: what each takes, and how good what it writes is.

The shortest chorales of a split are harmonised in every way, each on the same pieces with the same seed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musegen.api.arguments import MAX_SEED, whole
from musegen.api.models import DEFAULT_COCONET, coconet
from musegen.errors import UnknownNameError
from musegen.music.chorales import STEPS_PER_BEAT, Grid, Mask, read_chorales
from musegen.music.coconet import Coconet
from musegen.music.counterpoint import distances, rules
from musegen.music.gibbs import GibbsConfig, ancestral, gibbs
from musegen.music.quality import mean_nats, same_cells, write

_FEW, _CONSTANT = 0.1, 32  # share of the cells that is masked in every pass, and how many passes


@dataclass(frozen=True)
class Variant:
    """A way to draw voices.

    Args:
        name: what it is called.
        config: how cells are drawn.
        n_candidates: of how many the likeliest is kept.
        one_by_one: whether cells are drawn one after another.
    """

    name: str
    config: GibbsConfig = field(default_factory=GibbsConfig)
    n_candidates: int = 1
    one_by_one: bool = False

    def __call__(self, model: Coconet, cells: Grid, free: Mask, seed: int) -> Grid:
        """Fills in free cells: a `quality.Sampler`."""
        draw = ancestral if self.one_by_one else gibbs
        *_, last = draw(model, cells, free, self.config, seed)
        return last


def variants() -> list[Variant]:
    """Returns the ways that are compared."""
    few = GibbsConfig(_CONSTANT, again="random", first_share=_FEW, last_share=_FEW)
    return [
        *(Variant(f"random, {n} passes", GibbsConfig(n, again="random")) for n in (4, 8, 16, 32, 64, 128)),
        *(Variant(f"unsure, {n} passes", GibbsConfig(n, again="unsure")) for n in (4, 8, 16, 32, 64)),
        Variant(f"random, {_CONSTANT} passes, always {_FEW:.0%} masked", few),
        *(Variant(f"default, temperature {t}", GibbsConfig(temperature=t)) for t in (0.8, 1.1)),
        *(Variant(f"default, best of {n}", n_candidates=n) for n in (4, 16)),
        Variant("default, parallels not mended", GibbsConfig(n_mendings=0)),
        Variant("ancestral, parallels not mended", one_by_one=True),
    ]


def compare(
    data: str | Path,
    *,
    model: str = DEFAULT_COCONET,
    split: str = "valid",
    n_pieces: int = 12,
    seed: int = 1,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Harmonises the sopranos of the shortest chorales of a split in every way.

    Args:
        data: chorales in the format of Coconet's JSON; distances are measured to its train split.
        model: a trained Coconet.
        split: "train", "valid" or "test".
        n_pieces: how many chorales, 1 or more.
        seed: of everything drawn, 0 or more.
        on_progress: called with a way, how many pieces are done in it, and of how many.

    Returns:
        What was measured and "variants", rows of figures: the seconds a beat of music takes, nats a free cell by the
        model itself, breaches (`counterpoint.Rules`), distances of chords and durations to train, and the share of
        cells that are Bach's. The first row is Bach.

    Raises:
        InputError: there is no such split or model, or a number is out of range.
        DataError: the file cannot be used.
        CheckpointError: the model is damaged.
    """
    n_pieces, seed = whole("pieces", n_pieces, 1, 1_000_000), whole("seed", seed, 0, MAX_SEED)
    network, splits = coconet(model), read_chorales(Path(data))
    for name in (split, "train"):
        if name not in splits:
            raise UnknownNameError("split", name, splits)
    pieces, train = sorted(splits[split], key=len)[:n_pieces], splits["train"]
    n_beats = sum(len(piece) for piece in pieces) / STEPS_PER_BEAT
    rows = [_row("Bach", None, network, pieces, pieces, train, seed)]
    for variant in variants():
        grids, started = [], time.perf_counter()
        for index, piece in enumerate(pieces):
            found = write(network, piece, 1, variant, n_candidates=variant.n_candidates, seed=seed + index)
            grids.append(found)
            if on_progress:
                on_progress(variant.name, index + 1, len(pieces))
        seconds = (time.perf_counter() - started) / n_beats
        rows.append(_row(variant.name, seconds, network, grids, pieces, train, seed))
    default = GibbsConfig()
    return {
        "model": model,
        "split": split,
        "n_pieces": len(pieces),
        "n_beats": round(n_beats),
        "seed": seed,
        "default": f"{default.again}, {default.n_passes} passes, temperature {default.temperature}",
        "variants": rows,
    }


def _row(
    name: str,
    seconds: float | None,
    model: Coconet,
    grids: list[Grid],
    pieces: list[Grid],
    train: list[Grid],
    seed: int,
) -> dict[str, Any]:
    breaches, far = rules(grids), distances(grids, train)
    return {
        "variant": name,
        "seconds_per_beat": seconds,
        "nats": mean_nats(model, grids, 1, seed),
        "crossing": breaches.crossing,
        "spacing": breaches.spacing,
        "parallels": breaches.parallel_fifths + breaches.parallel_octaves,
        "hidden": breaches.hidden_fifths + breaches.hidden_octaves,
        "chords": far["harmonies"],
        "durations": far["durations"],
        "same_cells": same_cells(grids, pieces),
    }
