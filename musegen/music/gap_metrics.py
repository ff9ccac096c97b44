"""How well Muse fills gaps: what it writes in held-out pieces in the place of what was taken out of them.

Four bars in the middle of a window (`reference.windows`) lose what begins in them: everything, or the notes of one
instrument among others. Muse fills the gap as a user's would be (`inpainting`), and so does a baseline, with the four
bars before it once more. Both are set beside what was there:

    notes          how many notes they have for each that was there
    off            by what factor a gap typically has too many notes or too few: e to the mean of |log n - log m|,
                   of one note more than there are
    empty          the share of bars without notes
    pitch classes  what the pitch classes of a bar have in common with those that were there: the sum of the smaller
                   shares, 0 to 1, on average over bars that had notes, without drums

What was there also costs Muse so many nats a note, read from both sides and from beside, as when it fills, and from
what comes before alone, as when it continues; of an instrument, from its own notes alone. The nats are those among what
the rules of filling and continuing (`grammar.MuseGuide`) allow, and what was there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from musegen.core.sampling import Sampling
from musegen.midi.instruments import DRUMS, class_of
from musegen.music import vocabulary as v
from musegen.music.continuation import on_grid
from musegen.music.corpus import Corpus
from musegen.music.generate import Generation
from musegen.music.grammar import MuseGuide
from musegen.music.grid import INSTRUMENT, ONSET, PITCH, GridScore
from musegen.music.inpainting import Inpainting, Missing, inpainted, prepared, request_for
from musegen.music.muse import Muse
from musegen.music.reference import windows
from musegen.music.requests import Request
from musegen.music.tokenizer import encode

ALL, ONE = "4 bars", "an instrument in 4 bars"
"""What is taken out."""

MUSE, BASELINE, REAL = "muse", "the bars before", "real"
"""Who fills the gaps."""

_FIRST, _LAST = 7, 10  # the bars of a gap, from 1
_WINDOWS_A_PIECE = 4


@dataclass(frozen=True)
class Filled:
    """A gap, and what stands in it.

    Args:
        n_notes: how many notes each bar of it has, of each of MUSE, BASELINE and REAL.
        pitch_classes: the share of each pitch class in each bar, (n_bars, 12).
        nats: what was there costs, from both sides and from before alone; None where it does not fit into the context.
    """

    n_notes: dict[str, np.ndarray]
    pitch_classes: dict[str, np.ndarray]
    nats: tuple[float, float] | None


def evaluate(
    model: Muse,
    corpus: Corpus,
    split: str,
    n_gaps: int,
    sampling: Sampling,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Fills gaps of each kind, and returns for each kind, and each that fills it, a row of the figures above.

    Args:
        model: in eval mode.
        corpus: where the pieces come from.
        split: "train", "valid" or "test".
        n_gaps: how many of each kind, or as many as there are.
        sampling: how tokens are drawn.
        seed: of everything drawn.
        on_progress: called with how many gaps are filled, and of how many.

    Returns:
        The rows; none of a kind of which the split has no gap.
    """
    found = [(kind, gap) for kind in (ALL, ONE) for gap in _some(corpus, split, kind, n_gaps, seed)]
    filled: dict[str, list[Filled]] = {}
    for place, (kind, gap) in enumerate(found):
        filled.setdefault(kind, []).append(fill(model, gap, sampling, seed + place))
        if on_progress:
            on_progress(place + 1, len(found))
    return [_row(kind, by, gaps) for kind, gaps in filled.items() for by in (MUSE, BASELINE, REAL)]


def _some(corpus: Corpus, split: str, kind: str, n: int, seed: int) -> list[Inpainting]:
    """Returns up to so many gaps, each in another window, of as many pieces as there are."""
    rng = np.random.default_rng(seed)
    gaps: dict[int, list[Inpainting]] = {}
    for index, window in windows(corpus, corpus.select(split).tolist(), _WINDOWS_A_PIECE, rng):
        if gap := taken_out(window, kind, rng):
            gaps.setdefault(index, []).append(gap)
    order = rng.permutation(sorted(gaps)).tolist()
    rounds = (gaps[index][nth] for nth in range(_WINDOWS_A_PIECE) for index in order if nth < len(gaps[index]))
    return list(islice(rounds, n))


def taken_out(window: GridScore, kind: str, rng: np.random.Generator) -> Inpainting | None:
    """Returns a window with a gap of a kind; None where nothing would be missing, or for one instrument, nothing left.

    Args:
        window: of ten bars at least.
        kind: ALL or ONE.
        rng: draws the instrument; drums are not drawn.
    """
    score = window.to_score()
    playing = [index for index in window.bars(_FIRST - 1, _LAST).instruments if index != DRUMS]
    if not playing or (kind == ONE and len(window.instruments) < 2):
        return None
    if kind == ALL:
        return prepared(score, Missing((_FIRST, _LAST)))
    drawn = int(rng.choice(playing))
    places = (place for place, track in enumerate(score.tracks) if class_of(track.program, track.is_drum) == drawn)
    return prepared(score, Missing((_FIRST, _LAST), tuple(places)))


def fill(model: Muse, gap: Inpainting, sampling: Sampling, seed: int) -> Filled:
    """Fills a gap, and measures what stands in it."""

    def write(requests: Sequence[Request]) -> list[GridScore]:
        generation = Generation(model, requests, sampling, seed)
        for _ in generation:
            pass
        return generation.grids()

    [score] = inpainted(gap, write, 1, model.config.context)
    n_bars = gap.last - gap.first
    parts = {
        MUSE: _part(on_grid(score), gap, gap.first),
        BASELINE: _part(gap.grid, gap, gap.first - n_bars),
        REAL: _part(gap.grid, gap, gap.first),
    }
    n_notes = {by: np.histogram(part.notes[:, ONSET], part.bar_ticks)[0] for by, part in parts.items()}
    return Filled(n_notes, {by: _pitch_classes(part) for by, part in parts.items()}, _nats(model, gap))


def _part(grid: GridScore, gap: Inpainting, first: int) -> GridScore:
    """Returns as many bars as a gap has from one on, with the notes of those who play in it."""
    part = grid.bars(first, first + gap.last - gap.first)
    is_asked = np.isin(part.notes[:, INSTRUMENT], gap.instruments) | (not gap.instruments)
    return replace(part, notes=part.notes[is_asked])


def _pitch_classes(part: GridScore) -> np.ndarray:
    notes = part.notes[part.notes[:, INSTRUMENT] != DRUMS]
    bar = np.searchsorted(part.bar_ticks, notes[:, ONSET], side="right") - 1
    counts = np.zeros((part.n_bars, 12))
    np.add.at(counts, (bar, notes[:, PITCH] % 12), 1)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _nats(model: Muse, gap: Inpainting) -> tuple[float, float] | None:
    """Returns what was there costs in all, from both sides and from before alone; None where it does not fit."""
    context, there = model.config.context, gap.grid.bars(gap.first, gap.last)
    request = request_for(gap, gap.rest, (gap.first, gap.last), context)
    both = _cost(model, request, np.append(encode(there).tokens, v.END))
    own = gap.grid.bars(0, gap.last)
    controls = request.controls
    if gap.instruments:
        own = replace(own, notes=own.notes[np.isin(own.notes[:, INSTRUMENT], gap.instruments)])
        controls = replace(controls, instruments=gap.instruments)
    body = encode(own)
    # One bar more, so that the line behind the last does not end the piece.
    past = Request(controls, there.n_bars + 1, prompt=own.bars(0, gap.first))
    before = _cost(model, past, np.append(body.tokens[body.bar_starts[gap.first] :], v.BAR))
    return None if both is None or before is None else (both, before)


def _cost(model: Muse, request: Request, tokens: np.ndarray) -> float | None:
    """Returns the nats of tokens that are written for a request; None where they do not fit into the context."""
    context = model.config.context
    guide = MuseGuide(request, context)
    rows = [guide.prompt(), *(row[None] for token in tokens[:-1].tolist() if (row := guide.push(token)) is not None)]
    inputs = np.concatenate(rows)
    if len(inputs) > context:
        return None
    with torch.inference_mode():
        told = model(torch.from_numpy(inputs)[None])[0, len(rows[0]) - 1 :].double().numpy()
    guide, nats = MuseGuide(request, context), 0.0
    for token, logits in zip(tokens.tolist(), told, strict=True):
        allowed = guide.allowed()
        # No rule is kept by all music.
        weighed = guide.weigh(logits) if allowed[token] else logits
        allowed[token] = True
        nats += float(np.logaddexp.reduce(weighed[allowed]) - weighed[token])
        guide.push(token)
    return nats


def _row(kind: str, by: str, gaps: list[Filled]) -> dict[str, Any]:
    n_notes, there = (np.concatenate([gap.n_notes[who] for gap in gaps]) for who in (by, REAL))
    sums = np.array([(gap.n_notes[by].sum(), gap.n_notes[REAL].sum()) for gap in gaps]) + 1
    classes, real = (np.concatenate([gap.pitch_classes[who] for gap in gaps]) for who in (by, REAL))
    had = real.any(1)
    scored = [gap for gap in gaps if gap.nats] if by == MUSE else []
    n_scored = sum(int(gap.n_notes[REAL].sum()) for gap in scored)
    both, before = (sum(gap.nats[side] for gap in scored if gap.nats) for side in (0, 1))
    return {
        "taken_out": kind,
        "filled_by": by,
        "n_gaps": len(gaps),
        "notes": float(n_notes.sum() / there.sum()),
        "off": float(np.exp(np.abs(np.log(sums[:, 0] / sums[:, 1])).mean())),
        "empty": float((n_notes == 0).mean()),
        "pitch_classes": float(np.minimum(classes, real)[had].sum(1).mean()) if had.any() else None,
        "nats_per_note": both / n_scored if n_scored else None,
        "nats_per_note_from_before": before / n_scored if n_scored else None,
    }
