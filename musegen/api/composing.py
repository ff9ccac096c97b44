"""New music: whole pieces, and pieces continued."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musegen import registry
from musegen.api.choosing import Choice, OnRanked
from musegen.api.models import DEFAULT_MODEL, muse
from musegen.api.ordering import (
    DEFAULT_GUIDANCE,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_P,
    Order,
    new_piece,
    sampling_of_wishes,
)
from musegen.errors import CopyWarning, InputError, MeterWarning
from musegen.midi.convert import ScoreLike, as_score
from musegen.midi.score import Score, Tempos
from musegen.midi.units import bpm_to_us_per_quarter
from musegen.music import vocabulary as v
from musegen.music.grid import GridScore, has_beat
from musegen.music.tokenizer import Bar, Controls

if TYPE_CHECKING:
    from musegen.music.copies import Fingerprints
    from musegen.music.generate import Generation
    from musegen.music.requests import Request

OnBar = Callable[[int, int], None]
"""Called with the row of a piece and how many of its new bars are finished."""


def compose(
    *,
    composer: str | None = None,
    instruments: Sequence[str] | None = None,
    bars: int = 16,
    key: str | None = None,
    tempo: float | None = None,
    meter: str | None = None,
    density: str | None = None,
    seed: int | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    top_p: float = DEFAULT_TOP_P,
    guidance: float = DEFAULT_GUIDANCE,
    n: int = 1,
    candidates: int | None = None,
    rank: str | None = None,
    model: str = DEFAULT_MODEL,
    on_bar: OnBar | None = None,
    on_ranked: OnRanked | None = None,
) -> list[Score]:
    """Composes new pieces.

    They begin as loud as one of the composer's pieces, drawn by the seed, mostly is.

    Args:
        composer: in whose style; a name of `composers()`.
        instruments: who plays and nobody else, every one of them; names of `instruments()`, up to 15 beside the drums.
            None takes those of one of the composer's pieces, drawn by the seed.
        bars: how many, at least 1.
        key: such as "G", "a minor", "F#m"; its signature is written, and the notes are a wish, not a promise.
        tempo: quarters a minute, 10 to 640; None takes that of the drawn piece.
        meter: such as "3/4", in every bar; None takes that of the drawn piece.
        density: "low", "medium" or "high"; a wish.
        seed: the same seed and arguments give the same pieces, 0 or more; None draws one.
        temperature: above 1 is bolder, below 1 safer; 0 to 5.
        top_p: draw from the likeliest tokens that together have this probability, above 0 to 1.
        guidance: how much composer, key and density count, 0 to 10: 1 as the model was taught, 0 not at all.
        n: how many pieces, written side by side, 1 to 64.
        candidates: how many are written, `n` to 64, of which the best are returned; None for `n`.
        rank: what is best, and comes first: "critic" for what the model's inner critic finds most like real music,
            "likelihood" for what the model finds most usual, "none" for the order in which they are drawn. None for
            `choosing.DEFAULT_RANKING`.
        model: a trained model of `models()`.
        on_bar: called when a bar is finished.
        on_ranked: called with the ranking and the scores.

    Returns:
        `n` scores, the best one first if they are ranked. Each carries as a text the command that makes it again.

    Raises:
        InputError: an argument is not usable; UnknownNameError lists the nearest names.
        CheckpointError: the model is damaged.
        DataError: what the model's folder says of real pieces is damaged.

    Warns:
        CopyWarning: a piece repeats more of a training piece than music that was kept back does.
    """
    from musegen.music.continuation import in_key

    asked = (composer, instruments, bars, key, tempo, meter, density, seed, temperature, top_p, guidance, n, model)
    order = Order(*asked, candidates, rank)
    request = new_piece(order, all_play=instruments is not None)
    scores = [grid.to_score() for grid in _generate(order, request, on_bar, on_ranked)]
    if order.tempo is not None:  # exactly as asked for: the grid has only levels
        scores = [replace(score, tempos=Tempos([0], bpm_to_us_per_quarter([order.tempo]))) for score in scores]
    if order.key is not None:
        scores = [in_key(score, 0, order.key) for score in scores]
    return [order.signed(score, row, "compose") for row, score in enumerate(scores)]


def continue_score(
    prompt: ScoreLike,
    *,
    bars: int = 8,
    only_new: bool = False,
    composer: str | None = None,
    instruments: Sequence[str] | None = None,
    key: str | None = None,
    tempo: float | None = None,
    meter: str | None = None,
    density: str | None = None,
    seed: int | None = None,
    temperature: float = DEFAULT_TEMPERATURE,
    top_p: float = DEFAULT_TOP_P,
    guidance: float = DEFAULT_GUIDANCE,
    n: int = 1,
    candidates: int | None = None,
    rank: str | None = None,
    model: str = DEFAULT_MODEL,
    on_bar: OnBar | None = None,
    on_ranked: OnRanked | None = None,
) -> list[Score]:
    """Continues a piece from the bar line after its last note. What is not said is as in the prompt.

    A piece without a beat, such as a free performance, is continued where it ends, in bars of two seconds.

    Args:
        prompt: a score, the path of a score file, or an object of another library; see `midi.convert.as_score`.
        bars: how many new bars, at least 1.
        only_new: return the new bars alone, from tick 0.
        composer, instruments, key, tempo, meter, density, seed, temperature, top_p, guidance, n, candidates, rank,
            model, on_bar, on_ranked: as in `compose`.

    Returns:
        `n` scores, the best one first if they are ranked: the prompt's own tracks unchanged, with the new notes in the
        track of their instrument. Each carries as a text the command that makes it again.

    Raises:
        InputError: the prompt has no notes, or an argument is not usable.
        ScoreFileError: the file cannot be read.
        CheckpointError: the model is damaged.
        DataError: what the model's folder says of real pieces is damaged.

    Warns:
        CopyWarning: as in `compose`, of the new bars.
        MeterWarning: the prompt is in a meter that no model knows, such as 17/4, and the new bars are in another.
    """
    from musegen.music.continuation import (
        FreeTime,
        completed,
        extended,
        in_key,
        next_bar_line,
        on_grid,
        tail,
        velocity_levels,
    )
    from musegen.music.requests import Request

    asked = (composer, instruments, bars, key, tempo, meter, density, seed, temperature, top_p, guidance, n, model)
    order = Order(*asked, candidates, rank)
    given = as_score(prompt)
    # Without a beat there are no bar lines to keep to, unless a meter or tempo is to set in.
    free = FreeTime.of(given) if given.n_notes and not (has_beat(given) or meter or tempo) else None
    score = free.clocked if free else given
    grid = on_grid(score)
    if not len(grid.notes):
        raise InputError("prompt has no notes; compose starts from nothing")
    start = next_bar_line(score, grid)
    controls = completed(order.controls, score, grid, start)
    if order.meter is None:
        _warn_of_meter(score, start, controls)
    levels = velocity_levels(grid)
    request = Request(controls, order.bars, keep_meter=True, keep_tempo=True, prompt=grid, velocities=levels)
    scores = [extended(score, grid, longer, order.tempo) for longer in _generate(order, request, on_bar, on_ranked)]
    if free:
        scores = [free.back(longer, start) for longer in scores]
        start = int(free.ticks(np.array([start]))[0])
    if order.key is not None:
        scores = [in_key(longer, start, order.key) for longer in scores]
    words = ["continue", Path(prompt).name if isinstance(prompt, str | os.PathLike) else "prompt.mid"]
    if only_new:
        scores, words = [tail(longer, start) for longer in scores], [*words, "--only-new"]
    return [order.signed(longer, row, *words) for row, longer in enumerate(scores)]


def generation_of(order: Order, request: "Request", seed: int) -> "Generation":
    """Returns the generation that writes `n` pieces of one request."""
    from musegen.music.generate import Generation

    return Generation(muse(order.model), [request] * order.n_written, sampling_of_wishes(order), seed)


def _generate(order: Order, request: "Request", on_bar: OnBar | None, on_ranked: OnRanked | None) -> list[GridScore]:
    """Writes the candidates for one request, prompts included, and returns the best `n`."""
    choice, fingerprints = Choice(order.model, order.rank, order.n, order.n_written), _fingerprints(order.model)
    generation = generation_of(order, request, order.drawn_seed)
    for row, event in generation:
        finished = generation.guides[row].bars_written - 1
        if on_bar and isinstance(event, Bar) and finished:
            on_bar(row, finished)
    for row in range(order.n_written):
        if on_bar:
            on_bar(row, order.bars)
    first_bar = request.prompt.n_bars if request.prompt is not None else 0
    grids = choice.of(generation, request.controls, first_bar, on_ranked)
    if fingerprints:
        warn_of_copies([grid.bars(grid.n_bars - order.bars, grid.n_bars) for grid in grids], fingerprints)
    return grids


def _warn_of_meter(score: Score, start: int, controls: Controls) -> None:
    """Warns where new bars, from tick `start` on, are in another meter than those before them."""
    from musegen.music.continuation import meter_at

    before = meter_at(score, start)
    after = None if controls.meter is None else v.METERS[controls.meter]
    if after and after != before:
        heard, new = ("{}/{}".format(*meter) for meter in (before, after))
        text = f"the prompt is in {heard}, a meter that models do not know; the new bars are in {new}"
        warnings.warn(text, MeterWarning, 3)


def _fingerprints(model: str) -> "Fingerprints | None":
    """Returns those of the pieces that a model was trained on, if its folder has them.

    Raises:
        DataError: they are damaged.
    """
    from musegen.music.reference import Reference

    file = registry.checkpoint_folder(model) / registry.REFERENCE
    return Reference.load(file).fingerprints if file.exists() else None


def warn_of_copies(grids: Sequence[GridScore], fingerprints: "Fingerprints") -> None:
    """Warns of pieces with longer passages of training pieces than held-out music has."""
    for row, grid in enumerate(grids, start=1):
        if n := fingerprints.longest(grid):
            which = f"piece {row} of {len(grids)}" if len(grids) > 1 else "the piece"
            usual = f"music that was kept back shares {fingerprints.n_notes - 1} at the most"
            warnings.warn(
                f"{which} repeats {n} notes in a row of what the model was trained on; {usual}", CopyWarning, 4
            )
