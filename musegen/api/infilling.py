"""One verb that writes anew what is missing in a score: bars and tracks of any music, voices of a chorale."""

import contextlib
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musegen import registry
from musegen.api.arguments import MAX_CANDIDATES, bar_span, signed, whole
from musegen.api.harmonizing import restore
from musegen.api.models import DEFAULT_COCONET, DEFAULT_MODEL, muse
from musegen.api.ordering import DEFAULT_GUIDANCE, DEFAULT_TEMPERATURE, DEFAULT_TOP_P, Order, sampling_of_wishes
from musegen.errors import InputError, UnknownNameError
from musegen.midi.convert import ScoreLike, as_score
from musegen.midi.instruments import INSTRUMENTS, class_of, instrument_index
from musegen.midi.score import Score
from musegen.music.voices import voice_tracks

if TYPE_CHECKING:
    from musegen.music.grid import GridScore
    from musegen.music.requests import Request

OnProgress = Callable[[int, int], None]
"""Called with how many bars or passes are done, and how many there are."""

_AUTO, _MUSE = "auto", "muse"
_OF_MUSE = ("tracks", "add", "composer", "density", "top_p", "guidance")
_OF_COCONET = ("voices", "passes")


def infill(
    score: ScoreLike,
    *,
    bars: tuple[int, int] | None = None,
    tracks: Sequence[str | int] | None = None,
    add: Sequence[str] | None = None,
    voices: Sequence[str] | None = None,
    composer: str | None = None,
    density: str | None = None,
    candidates: int | None = None,
    passes: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    guidance: float | None = None,
    seed: int | None = None,
    model: str = _AUTO,
    on_progress: OnProgress | None = None,
) -> Score:
    """Writes bars, tracks or voices of a score anew, or adds a track. Everything else stays as it is.

    A Muse fills bars of any music; a Coconet restores chorales in four voices.

    Args:
        score: a score, the path of a score file, or an object of another library.
        bars: the first and the last bar, counted from 1, such as (5, 8), in which the notes that begin there are
            written anew; a pick-up counts as a bar, as does one in a meter that no model knows, such as 17/4. None for
            all of them (Muse), or for the silences of voices while others sing (Coconet).
        tracks: which of them a Muse writes: numbers from 1, names, instruments, or a word of one, such as "bass"; None
            for all, or if tracks are added, for none.
        add: instruments that a Muse adds, each as a new track.
        voices: which of soprano, alto, tenor and bass a Coconet writes, and may be missing; None for all.
        composer: in whose style a Muse writes.
        density: "low", "medium" or "high", how many notes a Muse writes; None for those of the score, and of each
            instrument no more in a bar than any has there in the fullest one, or 16.
        candidates: how many are written, 1 to 64, of which the model's favourite is returned.
        passes: how often a Coconet rewrites the voices, 1 to 10,000.
        temperature: above 1 is bolder, below 1 safer; above 0 to 5.
        top_p: a Muse draws from the likeliest notes that have this probability, above 0 to 1.
        guidance: how much composer and density count for a Muse, as in `compose`.
        seed: the same seed and arguments give the same music, 0 or more; None draws one.
        model: a trained Muse or Coconet of `models()`, or "muse" for the usual Muse. "auto" is a Coconet for a score of
            soprano, alto, tenor and bass or if voices or passes are given, and else a Muse.
        on_progress: called after every bar or pass.

    Returns:
        The score, with a text with the command that makes it again.

    Raises:
        InputError: an argument is not usable, or is one of the other family of models.
        ScoreFileError: the file cannot be read.
        CheckpointError: the model is damaged.
    """
    of_muse: dict[str, Any] = {"tracks": tracks, "add": add, "composer": composer, "density": density}
    of_muse |= {"top_p": top_p, "guidance": guidance}
    of_coconet = {"voices": voices, "passes": passes}
    music = as_score(score)
    name = _chosen(model, music, of_muse, of_coconet)
    family = registry.checkpoint_config(name)["family"]
    words = ["infill", Path(score).name if isinstance(score, str | Path) else "score.mid"]
    if family == "coconet":
        _check_absent(name, of_muse)
        return restore(
            score, bars=bars, voices=voices, candidates=candidates, passes=passes, temperature=temperature, seed=seed,
            model=name, on_pass=on_progress,
        )  # fmt: skip
    _check_absent(name, of_coconet)
    n = 1 if candidates is None else whole("candidates", candidates, 1, MAX_CANDIDATES)
    order = Order(
        composer,
        density=density,
        seed=seed,
        temperature=DEFAULT_TEMPERATURE if temperature is None else temperature,
        top_p=DEFAULT_TOP_P if top_p is None else top_p,
        guidance=DEFAULT_GUIDANCE if guidance is None else guidance,
        n=n,
        model=name,
    )
    found = _inpainted(music, bars, tracks, add, order, on_progress)
    asked = {
        "--bars": None if bars is None else f"{bars[0]}-{bars[1]}",
        "--tracks": None if tracks is None else _written(music, tracks),
        "--add": None if add is None else ",".join(add),
        "--composer": composer,
        "--density": density,
        "--candidates": n,
        "--temperature": order.temperature,
        "--top-p": order.top_p,
        "--guidance": order.guidance,
        "--seed": order.drawn_seed,
        "--model": name,
    }
    return signed(found, words, asked)


def _inpainted(
    music: Score,
    bars: tuple[int, int] | None,
    tracks: Sequence[str | int] | None,
    add: Sequence[str] | None,
    order: Order,
    on_progress: OnProgress | None,
) -> Score:
    """Returns the likeliest of `order.n` scores in which a Muse wrote what was missing."""
    from musegen.music.generate import Generation
    from musegen.music.inpainting import Missing, inpainted, prepared

    if bars is None and tracks is None and add is None:
        raise InputError("bars is missing; name bars, tracks or an instrument to add")
    missing = Missing(None if bars is None else bar_span(bars), _tracks(music, tracks), _added(add))
    what, model = prepared(music, missing), muse(order.model)
    nats = [0.0] * order.n
    done = 0

    def write(requests: "Sequence[Request]") -> "list[GridScore]":
        nonlocal done
        # Each stretch draws from a seed of its own.
        generation = Generation(model, requests, sampling_of_wishes(order), order.drawn_seed + done)
        for row, _ in generation:
            if on_progress and row == 0:
                on_progress(done + min(guide.bars_written for guide in generation.guides) - 1, what.last - what.first)
        grids = generation.grids()
        done += grids[0].n_bars
        for row, spent in enumerate(generation.nats):
            nats[row] += spent
        return grids

    controls = order.controls
    found = inpainted(what, write, order.n, model.config.context, controls.style, controls.density)
    if on_progress:
        on_progress(done, what.last - what.first)
    n_new = [max(score.n_notes - what.left.n_notes, 1) for score in found]
    return found[min(range(order.n), key=lambda row: nats[row] / n_new[row])]


def _chosen(model: str, music: Score, of_muse: dict[str, Any], of_coconet: dict[str, Any]) -> str:
    """Returns the name of the model that fills in."""
    if model == _MUSE and _MUSE not in registry.checkpoint_folders():
        return DEFAULT_MODEL
    if model != _AUTO:
        return model
    if any(value is not None for value in of_coconet.values()):
        return DEFAULT_COCONET
    if any(value is not None for value in of_muse.values()) or not _is_chorale(music):
        return DEFAULT_MODEL
    return DEFAULT_COCONET


def _is_chorale(music: Score) -> bool:
    names = {track.name.strip().lower() for track in music.tracks}
    if not {"soprano", "alto", "tenor", "bass"} <= names:
        return False
    try:
        voice_tracks(music)
    except InputError:
        return False
    return True


def _check_absent(model: str, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            known = ", ".join(_OF_COCONET if name in _OF_MUSE else _OF_MUSE)
            raise InputError(f"{name} is {value!r}, which {model} does not take; it takes {known}")


def _tracks(music: Score, wanted: Sequence[str | int] | None) -> tuple[int, ...] | None:
    """Returns the places of tracks that are named, by number from 1, name or instrument; None for None."""
    if wanted is None:
        return None
    if isinstance(wanted, str) or not isinstance(wanted, Sequence) or not wanted:
        raise InputError(f"tracks is {wanted!r}; allowed are lists such as ['bass', 2], or None")
    places: set[int] = set()
    for each in wanted:
        found = _places(music, each)
        if not found:
            known = (f"{number} ({track.name or 'unnamed'})" for number, track in enumerate(music.tracks, 1))
            raise UnknownNameError("track", str(each), list(known))
        places.update(found)
    return tuple(sorted(places))


def _places(music: Score, wanted: str | int) -> list[int]:
    """Returns the places of the tracks of that number, or else name, or else instrument, or else word in either."""
    text = str(wanted).strip()
    if text.isdecimal():
        return [int(text) - 1] if 1 <= int(text) <= len(music.tracks) else []
    named = [place for place, track in enumerate(music.tracks) if track.name.strip().lower() == text.lower()]
    if named:
        return named
    classes = [class_of(track.program, track.is_drum) for track in music.tracks]
    with contextlib.suppress(InputError):
        index = instrument_index(text)
        of_class = [place for place, own in enumerate(classes) if own == index]
        # A track of texts says nothing of an instrument, and passes for a piano.
        if of_class:
            return [place for place in of_class if len(music.tracks[place].notes)] or of_class
    told = (f"{track.name} {INSTRUMENTS[own].name}" for track, own in zip(music.tracks, classes, strict=True))
    words = [re.findall(r"\w+", each.lower()) for each in told]
    return [place for place, own in enumerate(words) if text.lower() in own and len(music.tracks[place].notes)]


def _written(music: Score, tracks: Sequence[str | int]) -> str:
    """Returns tracks as the command takes them: by number where a comma in a name would part it."""
    words = [str(track) for track in tracks]
    if any("," in word for word in words):
        words = [str(place + 1) for place in _tracks(music, tracks) or ()]
    return ",".join(words)


def _added(names: Sequence[str] | None) -> tuple[int, ...]:
    if names is None:
        return ()
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        known = ", ".join(instrument.name for instrument in INSTRUMENTS[:3])
        raise InputError(f"add is {names!r}; allowed are lists of instruments such as {known}, or None")
    indices = sorted(instrument_index(name) for name in names)
    for index, following in itertools.pairwise(indices):
        if index == following:
            raise InputError(f"add names {INSTRUMENTS[index].name} twice; allowed is once each")
    return tuple(indices)
