"""Training sequences of Muse: windows of pieces with their controls, varied, to continue or to fill in."""

from dataclasses import dataclass, replace

import numpy as np

from musegen.midi.instruments import DRUMS
from musegen.music import vocabulary as v
from musegen.music.corpus import Piece
from musegen.music.features import Place, features
from musegen.music.grid import ONSET, GridScore
from musegen.music.tokenizer import Controls, decode, encode

# Notes a quarter for each instrument that plays: the terciles of windows drawn as in training.
DENSITY_LIMITS = (2.4, 4.7)

_INFILL_SHARE = 0.75  # of the room for the bars: their lines stand twice, in the context and in the filling
_HEADER_ROOM = 24  # tokens; what does not fit after a longer header is cut

# Krumhansl and Kessler's (1982) profiles of how well each step of a scale fits a major and a minor key.
_PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
_KEY_PROFILES = np.stack([np.roll(profile, tonic) for profile in _PROFILES for tonic in range(12)])
_KEY_PROFILES = (_KEY_PROFILES - _KEY_PROFILES.mean(1, keepdims=True)) / _KEY_PROFILES.std(1, keepdims=True)


@dataclass(frozen=True)
class SequenceConfig:
    """How training sequences are made.

    Args:
        infill: share of sequences that ask for bars that are missing.
        drop_control: chance that each control is left out, so that the model also works without it.
        drop_place: chance that position and countdown are unknown.
        transpose: semitones up or down at most.
        louder: velocity levels up or down at most.
        faster: tempo levels up or down at most.
    """

    infill: float = 0.25
    drop_control: float = 0.15
    drop_place: float = 0.15
    transpose: int = 5
    louder: int = 1
    faster: int = 2


@dataclass(frozen=True)
class Sequence:
    """Inputs of Muse: tokens (T,) and side features (T, 5); the header's length is where the body begins."""

    tokens: np.ndarray
    features: np.ndarray
    n_header: int

    @property
    def rows(self) -> np.ndarray:
        """The inputs (T, 6), as a model takes them."""
        return np.concatenate([self.tokens[:, None], self.features], axis=1)


def window(piece: Piece, first_bar: int, last_bar: int) -> np.ndarray:
    """Returns the tokens of the bars first_bar..last_bar - 1; the first of them names its meter and tempo."""
    start, end = piece.bar_starts[first_bar], piece.bar_starts[last_bar]
    head = [v.BAR, v.METER.first + int(piece.meters[first_bar]), v.TEMPO.first + int(piece.tempos[first_bar])]
    tokens = piece.tokens[start:end]
    n_named = 1
    while n_named < min(len(tokens), 3) and (tokens[n_named] in v.METER or tokens[n_named] in v.TEMPO):
        n_named += 1
    return np.concatenate([head, tokens[n_named:]]).astype(np.int64)


def controls_of(tokens: np.ndarray, style: int | None) -> Controls:
    """Returns what a listener would say of a body: its instruments, key, first tempo and meter, density."""
    notes = tokens[_in(tokens, v.NOTE)] - v.NOTE.first
    instruments = np.unique(notes // v.N_PITCHES)
    tempo, meter = tokens[_in(tokens, v.TEMPO)], tokens[_in(tokens, v.METER)]
    n_quarters = n_ticks(tokens) / v.TICKS_PER_QUARTER
    return Controls(
        style=style,
        instruments=tuple(instruments.tolist()),
        key=key_of(notes[notes // v.N_PITCHES != DRUMS] % v.N_PITCHES + v.LOWEST_PITCH),
        tempo=int(tempo[0]) - v.TEMPO.first if len(tempo) else None,
        meter=int(meter[0]) - v.METER.first if len(meter) else None,
        density=density_of(len(notes), n_quarters, len(instruments)),
    )


def n_ticks(tokens: np.ndarray) -> int:
    """Returns how long the bars of a body are, in ticks."""
    is_meter = _in(tokens, v.METER)
    meters = v.METER_TICKS[tokens[is_meter] - v.METER.first]
    bars = np.flatnonzero(tokens == v.BAR)
    # A bar's meter is the last one named up to the token after its bar line.
    named = np.cumsum(is_meter)[np.minimum(bars + 1, len(tokens) - 1)]
    return int(meters[named - 1].sum())


def density_of(n_notes: int, n_quarters: float, n_instruments: int) -> int | None:
    """Returns the index in DENSITIES of so many notes, or None where there are none."""
    if not n_notes or not n_quarters:
        return None
    return int(np.searchsorted(DENSITY_LIMITS, n_notes / n_quarters / n_instruments, side="right"))


def key_of(pitches: np.ndarray) -> int | None:
    """Returns the index in KEYS whose profile fits the pitches best (Krumhansl and Schmuckler), None for few notes."""
    if len(pitches) < 8:
        return None
    counts = np.bincount(pitches % 12, minlength=12)
    return int((_KEY_PROFILES @ counts).argmax()) if counts.std() else None


def vary(tokens: np.ndarray, semitones: int, louder: int, faster: int) -> np.ndarray:
    """Returns a body transposed (not its drums), with velocity and tempo levels raised, held inside their ranges."""
    tokens = tokens.copy()
    notes = _in(tokens, v.NOTE) & ((tokens - v.NOTE.first) // v.N_PITCHES != DRUMS)
    tokens[notes] += semitones
    lengths = _in(tokens, v.LENGTH)
    level = (tokens[lengths] - v.LENGTH.first) % len(v.VELOCITIES)
    tokens[lengths] += np.clip(level + louder, 0, len(v.VELOCITIES) - 1) - level
    tempos = _in(tokens, v.TEMPO)
    tokens[tempos] = np.clip(tokens[tempos] + faster, v.TEMPO.first, v.TEMPO.first + v.TEMPO.size - 1)
    return tokens


def sequence(header: list[int], stretches: list[tuple[np.ndarray, Place]]) -> Sequence:
    """Returns a header and what follows it, each stretch with side features of its own place."""
    parts = [features(np.array(header), stretches[0][1]), *(features(tokens, place) for tokens, place in stretches)]
    tokens = np.concatenate([header, *(tokens for tokens, _ in stretches)]).astype(np.int64)
    return Sequence(tokens, np.concatenate(parts), len(header))


def draw(
    piece: Piece, style: int, limits: tuple[int, int], size: int, config: SequenceConfig, rng: np.random.Generator
) -> Sequence:
    """Returns a training sequence of at most `size` tokens.

    Args:
        piece: where from.
        style: its style slot.
        limits: its lowest and highest pitch without drums; it is not transposed beyond 21..108.
        size: tokens at most.
        config: how.
        rng: what is drawn comes from here.
    """
    infills = rng.random() < config.infill
    room = int((_INFILL_SHARE if infills else 1) * (size - _HEADER_ROOM))
    first = _first_bar(piece, room, rng)
    last = int(np.searchsorted(piece.bar_starts, piece.bar_starts[first] + room, side="right")) - 1
    last = min(max(last, first + 1), piece.n_bars)
    body = window(piece, first, last)
    up = int(rng.integers(-config.transpose, config.transpose + 1))
    up = int(np.clip(up, v.LOWEST_PITCH - limits[0], v.HIGHEST_PITCH - limits[1]))
    louder, faster = (int(rng.integers(-most, most + 1)) for most in (config.louder, config.faster))
    body = vary(body, up, louder, faster)
    known = rng.random() >= config.drop_place
    place = Place(first, piece.n_bars if known else None)
    header = _dropped(controls_of(body, style), config.drop_control, rng).tokens()
    if infills:
        stretches = _infill(body, place, rng)
    else:
        ends = last == piece.n_bars
        stretches = [(np.append(body, v.END) if ends else body, place)]
    made = sequence(header, stretches)
    return Sequence(made.tokens[:size], made.features[:size], made.n_header)


def _first_bar(piece: Piece, room: int, rng: np.random.Generator) -> int:
    """All bars up to the last full window are alike; its and the first are drawn more often: pieces begin and end."""
    last = int(np.searchsorted(piece.bar_starts[:-1], piece.bar_starts[-1] - room))
    last = min(last, piece.n_bars - 1)
    where = rng.random()
    return 0 if where < 0.1 else last if where < 0.2 else int(rng.integers(0, last + 1))


def _dropped(controls: Controls, chance: float, rng: np.random.Generator) -> Controls:
    dropped = {name: None for name in ("style", "key", "tempo", "meter", "density") if rng.random() < chance}
    if rng.random() < chance:
        dropped["instruments"] = ()  # type: ignore[assignment]
    return replace(controls, **dropped)  # type: ignore[arg-type]


def _infill(body: np.ndarray, place: Place, rng: np.random.Generator) -> list[tuple[np.ndarray, Place]]:
    """Returns a body in which all that begins in some bars is missing, and what is missing after `fill`."""
    grid = decode(body)
    length = int(rng.integers(1, max(grid.n_bars // 2, 1) + 1))
    first = int(rng.integers(0, grid.n_bars - length + 1))
    return without(grid, first, first + length, place)


def without(grid: GridScore, first: int, last: int, place: Place) -> list[tuple[np.ndarray, Place]]:
    """Returns a piece in which the notes of some bars are missing, and what is missing.

    Args:
        grid: the piece.
        first: the first bar in which notes are missing: those that begin in it.
        last: the one after the last.
        place: where the piece stands in a longer one.

    Returns:
        The bars with what is left, each bar that misses something marked by `gap` behind its line; and `fill`, the
        bars first..last - 1 with the missing notes, and `end`.
    """
    onset = grid.notes[:, ONSET]
    missing = (onset >= grid.bar_ticks[first]) & (onset < grid.bar_ticks[last])
    rest = encode(replace(grid, notes=grid.notes[~missing]))
    part = replace(grid, notes=grid.notes[missing]).bars(first, last)
    gaps = rest.bar_starts[first:last] + n_line(grid)[first:last]
    context = np.insert(rest.tokens.astype(np.int64), gaps, v.GAP)
    there = replace(place, first_bar=place.first_bar + first)
    return [(context, place), (np.concatenate([[v.FILL], encode(part).tokens, [v.END]]).astype(np.int64), there)]


def n_line(grid: GridScore) -> np.ndarray:
    """Returns how many tokens the line of each bar has (n_bars,): `bar`, and the meter and tempo that change there."""
    new_meter, new_tempo = (np.diff(levels, prepend=-1) != 0 for levels in (grid.meters, grid.tempos))
    return 1 + new_meter.astype(np.int64) + new_tempo


def _in(tokens: np.ndarray, block: v.Block) -> np.ndarray:
    return (tokens >= block.first) & (tokens < block.first + block.size)
