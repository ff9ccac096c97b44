"""What Muse's critic reads: excerpts of real pieces and of what Muse writes in their place, made alike.

A critic finds whatever tells one kind from the other, so nothing may but the music. Each real window of bars is asked
of Muse under the same header, tempo and meter. Real windows are cut to what Muse may write (`MuseGuide`): one tempo, no
key struck while it is down, nothing that sounds past the last bar line; one that still breaks a rule of the guide is
left out, and so are windows in more than one meter. Both are encoded anew and read alike: with nothing told of where
they stand, without the bars in which Muse makes an end, and counted from the second bar on, for real windows start in
the middle of things.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musegen.core.checkpoint import fingerprint
from musegen.core.sampling import Sampling
from musegen.midi.instruments import DRUMS
from musegen.music import vocabulary as v
from musegen.music.corpus import Corpus
from musegen.music.features import Place
from musegen.music.grammar import MuseGuide
from musegen.music.grid import DRUM_TICKS, DURATION, INSTRUMENT, ONSET, PITCH, GridScore
from musegen.music.judging import write
from musegen.music.muse import Muse, MuseConfig
from musegen.music.reference import N_BARS, windows
from musegen.music.requests import Request
from musegen.music.sequences import sequence
from musegen.music.tasks import build_muse, muse_checkpoint
from musegen.music.tokenizer import Controls, encode
from musegen.train.recipe import from_table
from musegen.train.shards import Item, Record, Shards, prepare

_SHARES = {"train": 1.0, "valid": 0.25}  # of the pieces asked for
_LEAD_IN = 4  # bars before those that are judged
_ENDING = 2  # bars at the end of what is written
_PIECES_A_BATCH = 10  # of which six or seven have windows that Muse may write


@dataclass(frozen=True)
class Excerpt:
    """A stretch of music as Muse reads it.

    Args:
        rows: (T, 6) the inputs, header first.
        first: the first of them that counts.
    """

    rows: np.ndarray
    first: int


def excerpts(grid: GridScore, controls: Controls, context: int, first_bar: int = 0) -> list[Excerpt]:
    """Returns what is read of a piece, in stretches of N_BARS bars, and of fewer where they do not fit.

    Args:
        grid: the piece.
        controls: what Muse was told of it. Key and density, which are wishes, are kept from the critic.
        context: how many inputs Muse holds.
        first_bar: the first bar to be judged; bars before it are read for what they lead to.
    """
    header = replace(controls, key=None, density=None).tokens()
    last = max(grid.n_bars - _ENDING, first_bar + 1)
    found, start = [], max(first_bar - _LEAD_IN, 0)
    while start < last:
        body = encode(grid.bars(start, min(start + N_BARS, last)))
        n_bars = max(int(np.searchsorted(body.bar_starts, context - len(header), side="right")) - 1, 1)
        tokens = body.tokens[: body.bar_starts[n_bars]].astype(np.int64)
        end = start + n_bars
        if end > first_bar:
            counted_from = min(max(first_bar, start + 1), end - 1)
            first = len(header) + int(body.bar_starts[counted_from - start])
            found.append(Excerpt(sequence(header, [(tokens, Place(start, None))]).rows[:context], first))
        start = end
    return found


@torch.inference_mode()
def hidden_states(model: Muse, grid: GridScore, controls: Controls, first_bar: int = 0) -> Tensor:
    """Returns what the critic judges a piece by: Muse's hidden states (T, C) at all inputs that count.

    Args:
        model: in eval mode.
        grid, controls, first_bar: as in `excerpts`.
    """
    read = excerpts(grid, controls, model.config.context, first_bar)
    device = model.head.weight.device
    states = [model.hidden(torch.from_numpy(one.rows).to(device)[None])[0, one.first :] for one in read]
    return torch.cat(states)


# --- Both kinds from a corpus


def request_for(window: GridScore, style: int) -> Request:
    """Returns what Muse is asked for in the place of a real window: its style, instruments, main meter and tempo."""
    meter, tempo = int(np.bincount(window.meters).argmax()), int(np.median(window.tempos))
    controls = Controls(style, window.instruments, tempo=tempo, meter=meter)
    return Request(controls, window.n_bars, keep_meter=True, keep_tempo=True)


def as_written(window: GridScore, request: Request) -> GridScore | None:
    """Returns a real window as Muse may write it when it is asked for it; None if it may not, whatever is mended."""
    if (window.meters != window.meters[0]).any():
        return None
    grid = _mended(window, request.controls.tempo or 0)
    guide = MuseGuide(request, context=1)
    for token in [*encode(grid).tokens.tolist(), v.END]:
        if not guide.allowed()[token]:
            return None
        guide.push(token)
    return grid


def _mended(window: GridScore, tempo: int) -> GridScore:
    """Returns a window in one tempo, in which notes end before their key is struck again and by the last bar line."""
    notes = window.notes[np.lexsort(window.notes[:, [ONSET, PITCH, INSTRUMENT]].T)].copy()
    until = _until_again(notes)
    # A drum has one length: of two strokes that are nearer, the second is left out.
    too_near = np.insert(until[:-1] < DRUM_TICKS, 0, False)[: len(notes)] & (notes[:, INSTRUMENT] == DRUMS)
    notes = notes[~too_near]
    room = np.minimum(_until_again(notes), window.n_ticks - notes[:, ONSET])
    late = notes[:, DURATION] > room
    notes[late, DURATION] = v.longest_duration(room[late])
    return GridScore(window.meters, np.full_like(window.tempos, tempo), notes)


def _until_again(notes: np.ndarray) -> np.ndarray:
    """Returns for notes by instrument, pitch and onset how long it is until the same key is struck again."""
    until = np.full(len(notes), np.iinfo(np.int64).max)
    same = (np.diff(notes[:, [INSTRUMENT, PITCH]], axis=0) == 0).all(1)
    until[:-1][same] = np.diff(notes[:, ONSET])[same]
    return until


def prepare_excerpts(
    corpus: Corpus, muse: Path, out: Path, sampling: Sampling, n_pieces: int, seed: int, n_workers: int | None = None
) -> Shards:
    """Makes excerpts of both kinds and keeps Muse's hidden states at them.

    Args:
        corpus: where the real ones come from, a window a piece.
        muse: the folder of a trained Muse.
        out: the folder. What is already there is not made again.
        sampling: how Muse's tokens are drawn.
        n_pieces: how many pieces of the train split, and four times as many as of the valid split, at most.
        seed: of everything drawn.
        n_workers: processes; None for one a core.
    """
    model, styles = load_muse(muse)
    items = []
    for split, share in _SHARES.items():
        known = np.array([i for i in corpus.select(split) if corpus.labels[i] in styles], dtype=np.int64)
        drawn = np.random.default_rng(seed).permutation(known)[: math.ceil(share * n_pieces)]
        batches = [drawn[start : start + _PIECES_A_BATCH] for start in range(0, len(drawn), _PIECES_A_BATCH)]
        items += [f"{split} {' '.join(map(str, batch.tolist()))}" for batch in batches]
    meta = {
        "vocabulary": v.fingerprint(),
        "muse": fingerprint(model.state_dict()),
        "d_model": model.config.d_model,
        "corpus": corpus.fingerprint,
    }
    work = partial(_excerpts_of, data=str(corpus.folder), muse=str(muse), sampling=sampling, seed=seed)
    return prepare(items, work, out, meta=meta, n_workers=n_workers, chunk=1)


def _excerpts_of(item: Item, data: str, muse: str, sampling: Sampling, seed: int) -> tuple[Record, dict[str, Any]]:
    """Makes the excerpts of a batch of pieces: "train 3 14 15" (see `train.shards.Work`)."""
    torch.set_num_threads(1)  # there is a process for each core
    split, *indices = str(item).split()
    corpus, (model, styles) = Corpus(data), load_muse(Path(muse))
    rng = np.random.default_rng([seed, *map(int, indices)])
    found = []
    for index, window in windows(corpus, [int(i) for i in indices], 1, rng):
        request = request_for(window, styles.index(corpus.labels[index]))
        if (real := as_written(window, request)) is not None:
            found.append((index, request, real))
    written = write(model, [request for _, request, _ in found], sampling, int(rng.integers(1 << 31)))
    record: Record = {"split": split, "piece": [], "is_real": [], "n": []}
    states = [np.zeros(0, dtype=np.float16)]
    for (piece, request, real), other in zip(found, written, strict=True):
        for is_real, grid in ((1, real), (0, other)):
            hidden = hidden_states(model, grid, request.controls)
            states.append(hidden.half().numpy().ravel())
            for key, value in (("piece", piece), ("is_real", is_real), ("n", len(hidden))):
                record[key].append(value)
    return record, {"hidden": np.concatenate(states)}


@cache
def load_muse(folder: Path) -> tuple[Muse, list[str]]:
    """Returns a trained Muse in eval mode, and its styles.

    Raises:
        CheckpointError: there is none with this vocabulary.
    """
    checkpoint = muse_checkpoint(folder)
    model = build_muse(from_table(MuseConfig, checkpoint.config["model"], "model"))
    checkpoint.restore(model)
    return model.eval().requires_grad_(False), list(checkpoint.config["styles"])
