"""Four-part writing: a melody harmonised, a score restored, a new chorale."""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from musegen.api.arguments import MAX_BARS, MAX_CANDIDATES, MAX_PASSES, bar_span, drawn_seed, signed, whole
from musegen.api.models import DEFAULT_COCONET, DEFAULT_ONSETS, coconet, onsets
from musegen.errors import InputError, UnknownNameError
from musegen.midi.convert import ScoreLike, as_score
from musegen.midi.score import Score
from musegen.music import vocabulary as v
from musegen.music.chorales import VOICES
from musegen.music.ensembles import programs_of

if TYPE_CHECKING:
    from musegen.music.accompanying import Accompanist
    from musegen.music.filling import Filling

OnPass = Callable[[int, int], None]
"""Called with how many passes over the music are done, and how many there are."""

_ACCOMPANIST_TEMPERATURE = 0.8
_CHORALE_CANDIDATES = 4  # of which one is likely to be in the key


def harmonize(
    melody: ScoreLike,
    *,
    voice: str = "soprano",
    track: int | None = None,
    instruments: str | Sequence[str] | None = None,
    candidates: int | None = None,
    passes: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    model: str = DEFAULT_COCONET,
    on_pass: OnPass | None = None,
) -> Score:
    """Sets three voices to a melody, as in a chorale of Bach.

    The melody comes back exactly as it was given. If it lies outside its voice's range, it is moved for the model, and
    the other voices back with it: their ranges, else those of Bach's chorales, move likewise. Where it rests for a beat
    or longer everybody does.

    Args:
        melody: one note at a time: a score, the path of a score file, an object of another library, or a list of
            (pitch, beats), with None for a rest; see `midi.convert.as_score`.
        voice: which voice it is: "soprano", "alto", "tenor" or "bass".
        track: which track it is, counted from 1; None for the only one with notes.
        instruments: an ensemble ("choir", "strings", "woodwinds", "brass", "saxophones", "organ"), an instrument for
            all voices, or four of them; None for the melody's own.
        candidates: how many are written, 1 to 64, of which the model's favourite is returned.
        passes: how often the other voices are rewritten, 1 to 10,000.
        temperature: above 1 is bolder, below 1 safer; above 0 to 5.
        seed: the same seed and arguments give the same music, 0 or more; None draws one.
        model: a trained Coconet of `models()`.
        on_pass: called after every pass.

    Returns:
        A score with four tracks named soprano, alto, tenor and bass, and a text with the command that makes it again.

    Raises:
        InputError: the melody has no notes or several at a time, or another argument is not usable.
        ScoreFileError: the file cannot be read.
        CheckpointError: the model is damaged.
    """
    if voice not in VOICES:
        raise UnknownNameError("voice", str(voice), VOICES)
    programs = None if instruments is None else programs_of(instruments)
    how, options = _filling(candidates, passes, temperature, seed)
    score = as_score(melody)
    from musegen.music.harmonizing import find_melody, harmonized

    line = find_melody(score, None if track is None else whole("track", track, 1, max(len(score.tracks), 1)))
    found = harmonized(coconet(model), onsets(DEFAULT_ONSETS), score, line, voice, programs, how, on_pass)
    names = instruments if instruments is None or isinstance(instruments, str) else ",".join(instruments)
    options = {"--voice": voice, "--track": track, "--instruments": names, **options, "--model": model}
    return signed(found, ["harmonize", _name(melody)], options)


def restore(
    score: ScoreLike,
    *,
    bars: tuple[int, int] | None = None,
    voices: Sequence[str] | None = None,
    candidates: int | None = None,
    passes: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    model: str = DEFAULT_COCONET,
    on_pass: OnPass | None = None,
) -> Score:
    """Restores a score in four voices: `infill` with a Coconet, whose arguments are explained there too.

    Args:
        score: a score, the path of a score file, or an object of another library, with a track for each voice: named
            soprano, alto, tenor and bass, or four in all.
        bars: the first and the last bar, counted from 1, such as (3, 4), in which the notes that begin there are
            written anew; a pick-up counts as a bar. They may begin right behind the last bar, and lengthen the score
            by up to 200 bars. None for the silences of the voices while others sing.
        voices: which of them are written, and may be missing in the score; None for all.
        candidates, passes, temperature, seed, model, on_pass: as in `harmonize`.

    Returns:
        The score, with a text with the command that makes it again.

    Raises:
        InputError: the score has no four voices, or an argument is not usable.
        ScoreFileError: the file cannot be read.
        CheckpointError: the model is damaged.
    """
    names = _voices(voices)
    span = None if bars is None else bar_span(bars)
    how, options = _filling(candidates, passes, temperature, seed)
    music = as_score(score)
    from musegen.music.restoring import Erasure, restored

    found = restored(coconet(model), onsets(DEFAULT_ONSETS), music, Erasure(span, names), how, on_pass)
    asked = {
        "--model": model,
        "--bars": None if span is None else f"{span[0]}-{span[1]}",
        "--voices": None if voices is None else ",".join(names),
    }
    return signed(found, ["infill", _name(score)], asked | options)


def chorale(
    *,
    bars: int = 8,
    key: str | None = None,
    instruments: str | Sequence[str] = "choir",
    candidates: int | None = None,
    passes: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    model: str = DEFAULT_COCONET,
    on_pass: OnPass | None = None,
) -> Score:
    """Writes a new chorale in four voices and 4/4.

    Args:
        bars: how many, 1 to 1,000.
        key: in which it ends, such as "G", "a minor" or "F#m"; None draws one.
        instruments, candidates, passes, temperature, seed, model, on_pass: as in `harmonize`.

    Returns:
        A score with four tracks, and a text with the command that makes it again.

    Raises:
        InputError: an argument is not usable.
        CheckpointError: the model is damaged.
    """
    n_bars = whole("bars", bars, 1, MAX_BARS)
    programs = programs_of(instruments)
    how, options = _filling(_CHORALE_CANDIDATES if candidates is None else candidates, passes, temperature, seed)
    if key is not None and not isinstance(key, str):
        raise InputError(f"key is {key!r}; allowed are names such as G, a minor, F#m, or None")
    index = random.Random(how.seed).randrange(24) if key is None else v.key_index(key)
    from musegen.music.new_chorale import new_chorale

    tonic, mode = index % 12, "minor" if index >= 12 else "major"
    found = new_chorale(coconet(model), onsets(DEFAULT_ONSETS), n_bars, tonic, mode, programs, how, on_pass)
    names = instruments if isinstance(instruments, str) else ",".join(instruments)
    asked = {"--bars": n_bars, "--key": key, "--instruments": names, **options, "--model": model}
    return signed(found, ["chorale"], asked)


def accompanist(
    *, temperature: float = _ACCOMPANIST_TEMPERATURE, seed: int | None = None, model: str = DEFAULT_COCONET
) -> "Accompanist":
    """Returns who adds voices to chords while they are played.

    Args:
        temperature: above 1 is bolder, below 1 safer; above 0 to 5.
        seed: the same seed and the same chords give the same voices, 0 or more; None draws one.
        model: a trained model of the family coconet.

    Raises:
        InputError: an argument is not usable.
        CheckpointError: the model is damaged.
    """
    from musegen.music.accompanying import Accompanist

    found = Accompanist(coconet(model), temperature, seed=drawn_seed(seed))
    found.add([60])  # the first pass of a program takes far longer than those that follow
    found.forget()
    return found


def _filling(
    candidates: int | None, passes: int | None, temperature: float | None, seed: int | None
) -> tuple["Filling", dict[str, object]]:
    """Returns how cells are drawn, and the options that say so again."""
    n = whole("candidates", 1 if candidates is None else candidates, 1, MAX_CANDIDATES)
    if temperature is not None and not (isinstance(temperature, int | float) and 0 < temperature <= 5):
        raise InputError(f"temperature is {temperature!r}; allowed are numbers above 0 up to 5")
    n_passes = None if passes is None else whole("passes", passes, 1, MAX_PASSES)
    asked = {"temperature": temperature, "n_passes": n_passes}
    drawn = drawn_seed(seed)
    from musegen.music.filling import Filling
    from musegen.music.gibbs import GibbsConfig

    config = GibbsConfig(**{name: value for name, value in asked.items() if value is not None})
    options = {"--candidates": n, "--passes": config.n_passes, "--temperature": config.temperature}
    return Filling(config, n, drawn), {**options, "--seed": drawn}


def _voices(voices: Sequence[str] | None) -> tuple[str, ...]:
    if voices is None:
        return VOICES
    if isinstance(voices, str) or not isinstance(voices, Sequence) or not voices:
        raise InputError(f"voices is {voices!r}; allowed are lists of names such as ['alto', 'tenor'], or None")
    for voice in voices:
        if voice not in VOICES:
            raise UnknownNameError("voice", str(voice), VOICES)
    return tuple(voice for voice in VOICES if voice in voices)


def _name(music: ScoreLike) -> str:
    return Path(music).name if isinstance(music, str | os.PathLike) else "score.mid"
