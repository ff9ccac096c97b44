"""What Coconet writes, measured beside Bach's own: rules, distributions, cadences, copies, and its own likelihood.

Under the sopranos of held-out chorales it writes the other three voices, and it writes new chorales of the same
lengths. Bach's chorales of the same split are the mark to reach: they, too, break rules now and then and differ from
the training split. Voices that know nothing of each other, drawn from a Markov table, are the floor.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from musegen.music.cadences import cadences, phrase_ends
from musegen.music.chorales import STEPS_PER_BEAT, Grid, Mask, to_cells, to_grid, with_ends_and_free
from musegen.music.coconet import Coconet
from musegen.music.counterpoint import distances, longest_copies, rules, total_variation
from musegen.music.gibbs import GibbsConfig, gibbs, log_likelihoods
from musegen.music.markov import markov_draw

Sampler = Callable[[Coconet, Grid, Mask, int], Grid]  # cells and what is free (B, T, V), and a seed, to cells
OnProgress = Callable[[str, int, int], None]  # of what how many pieces are done, and of how many

COLUMNS = ("bach", "harmonized", "new", "markov_harmonized", "markov_new")
MEANINGS = {
    "out_of_range": "share of cells outside the voice's range",
    "crossing": "share of sixteenths in which voices cross",
    "spacing": "share of sixteenths in which neighbours are too far apart",
    "parallel_fifths": "for 100 changes of chord",
    "parallel_octaves": "for 100 changes of chord",
    "hidden_fifths": "for 100 changes of chord, soprano and bass",
    "hidden_octaves": "for 100 changes of chord, soprano and bass",
    "pitches": "distance to train, in semitones (Wasserstein)",
    "melodic_intervals": "distance to train, in semitones (Wasserstein)",
    "durations": "distance to train, in sixteenths (Wasserstein)",
    "harmonies": "distance to train of chords, 0 to 1 (total variation)",
    "phrase_ends": "chords held for two beats, for 100 beats",
    "cadence_chords": "distance to train of chords at phrase ends, 0 to 1 (total variation)",
    "triads": "share of phrase ends on a triad in root position",
    "fifths": "share of phrase ends that the bass falls a fifth to",
    "final_tonics": "share of pieces that end on the key's triad",
    "final_fifths": "share of pieces whose bass ends from the fifth degree to the first",
    "same_cells": "share of the three lower voices' cells that are Bach's",
    "same_chords": "share of beats with the pitch classes of Bach's chord",
    "longest_copy": "sixteenths shared with a training chorale in all voices, longest of all pieces",
    "mean_longest_copy": "likewise, mean over pieces",
    "nats_given_soprano": "nats a cell of the lower voices, by the model itself",
    "nats": "nats a cell of all voices, by the model itself",
}


def evaluate(
    model: Coconet,
    train: Sequence[Grid],
    pieces: Sequence[Grid],
    config: GibbsConfig,
    *,
    n_candidates: int = 1,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, dict[str, float | None]]:
    """Writes chorales and measures them beside Bach's.

    Args:
        model: in eval mode.
        train: MIDI pitches (T, 4) of the chorales that distances and copies are measured to.
        pieces: MIDI pitches (T, 4) of held-out chorales; nothing but the soprano and the length of each is used.
        config: how cells are drawn.
        n_candidates: of how many, by the model's own likelihood, the best is kept.
        seed: of everything drawn: the first piece is drawn with it, the next with the one after it, and so on.
        on_progress: called as pieces are done.

    Returns:
        The figures of `MEANINGS` for each of `COLUMNS`; None where one makes no sense. Phrases under a given soprano
        end where Bach's do, in new chorales where `cadences.phrase_ends` finds them.
    """
    train_cells = [to_cells(grid) for grid in train]

    def sampler(network: Coconet, cells: Grid, free: Mask, seed: int) -> Grid:
        *_, last = gibbs(network, cells, free, config, seed)
        return last

    written: dict[str, list[Grid]] = {"bach": list(pieces)}
    for name, given in (("harmonized", 1), ("new", 0)):
        written[name], written[f"markov_{name}"] = [], []
        for index, grid in enumerate(pieces):
            found = write(model, grid, given, sampler, n_candidates=n_candidates, seed=seed + index)
            written[name].append(found)
            rng = np.random.default_rng(seed + index)
            drawn = markov_draw(train_cells, to_cells(grid), free_voices(grid, given), rng)
            written[f"markov_{name}"].append(to_grid(drawn))
            if on_progress:
                on_progress(name, index + 1, len(pieces))
    figures = {}
    for done, name in enumerate(COLUMNS, start=1):
        figures[name] = _figures(model, written[name], pieces, train, name, seed)
        if on_progress:
            on_progress("measured", done, len(COLUMNS))
    return figures


def spread(pieces: Sequence[Grid], n: int) -> list[Grid]:
    """Returns so many pieces at most, spread evenly over all of them."""
    return [pieces[int(place)] for place in np.arange(min(n, len(pieces))) * len(pieces) / min(n, len(pieces))]


def free_voices(grid: Grid, n_given: int) -> Mask:
    """Returns which cells of a grid (T, 4) are free if the highest voices are given."""
    return np.broadcast_to(np.arange(grid.shape[1]) >= n_given, grid.shape)


def write(model: Coconet, grid: Grid, n_given: int, sampler: Sampler, *, n_candidates: int = 1, seed: int = 0) -> Grid:
    """Writes voices of a chorale anew.

    Args:
        model: in eval mode.
        grid: (T, 4) MIDI pitches.
        n_given: how many of the highest voices are given.
        sampler: fills in free cells.
        n_candidates: how many to draw side by side; the one that the model finds likeliest is kept.
        seed: of everything drawn.

    Returns:
        (T, 4) MIDI pitches.
    """
    cells, free = _rows([grid] * n_candidates, n_given)
    found = sampler(model, cells, free, seed)
    best = int(log_likelihoods(model, found, free, seed).argmax()) if n_candidates > 1 else 0
    return to_grid(found[best, STEPS_PER_BEAT : STEPS_PER_BEAT + len(grid)])


def mean_nats(model: Coconet, grids: Sequence[Grid], n_given: int, seed: int = 0) -> float:
    """Returns -log p of a cell in nats, by the model, for all but the highest voices; see `gibbs.log_likelihoods`."""
    found = [-log_likelihoods(model, *_rows([grid], n_given), seed)[0] for grid in grids]
    return float(np.average(found, weights=[len(grid) for grid in grids]))


def same_cells(grids: Sequence[Grid], others: Sequence[Grid]) -> float:
    """Returns the share of cells of the three lower voices that are the same in chorales of the same lengths."""
    same = [grid[:, 1:] == other[:, 1:] for grid, other in zip(grids, others, strict=True)]
    return float(np.concatenate(same).mean())


def same_chords(grids: Sequence[Grid], others: Sequence[Grid]) -> float:
    """Returns the share of beats with the same pitch classes in chorales of the same lengths."""
    same = [
        set(chord % 12) == set(other_chord % 12)
        for grid, other in zip(grids, others, strict=True)
        for chord, other_chord in zip(_sounding(grid), _sounding(other), strict=True)
    ]
    return float(np.mean(same))


def _sounding(grid: Grid) -> list[Grid]:
    return [frame[frame >= 0] for frame in grid[::STEPS_PER_BEAT]]


def _rows(grids: Sequence[Grid], n_given: int) -> tuple[Grid, Mask]:
    """Returns cells and what is free (B, T', V) of grids of one length, with their ends."""
    rows = [with_ends_and_free(to_cells(grid), free_voices(grid, n_given)) for grid in grids]
    cells, free = zip(*rows, strict=True)
    return np.stack(cells), np.stack(free)


def _figures(
    model: Coconet, grids: Sequence[Grid], pieces: Sequence[Grid], train: Sequence[Grid], name: str, seed: int
) -> dict[str, float | None]:
    is_given, is_new = not name.endswith("new"), not name.endswith("harmonized")
    own_ends = [phrase_ends(grid) for grid in grids]
    ends = [phrase_ends(piece) for piece in pieces] if is_given else own_ends
    shares, chords = cadences(grids, ends)
    _, train_chords = cadences(train, [phrase_ends(grid) for grid in train])
    copies = longest_copies(grids, train)
    n_beats = sum(len(grid) for grid in grids) / STEPS_PER_BEAT
    return {
        **asdict(rules(grids)),
        **distances(grids, train),
        "phrase_ends": 100 * sum(map(len, own_ends)) / n_beats,
        "cadence_chords": total_variation(chords, train_chords),
        **asdict(shares),
        "same_cells": same_cells(grids, pieces) if is_given else None,
        "same_chords": same_chords(grids, pieces) if is_given else None,
        "longest_copy": max(copies),
        "mean_longest_copy": float(np.mean(copies)),
        "nats_given_soprano": mean_nats(model, grids, 1, seed) if is_given else None,
        "nats": mean_nats(model, grids, 0, seed) if is_new else None,
    }
