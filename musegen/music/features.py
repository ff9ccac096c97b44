"""MuseNet's side features: what a model is told beside each token (Payne 2019, "Embeddings").

Row t describes the state after token t, so that whatever is predicted next is predicted from where it will stand:

    tick        elapsed time inside the bar, shared by simultaneous notes
    bar         elapsed bars of the piece, modulo 16: the place in phrases of 2, 4, 8 and 16 bars
    chord       index of the note in its chord, 0 for none yet, 15 for more
    part        which 1/128 of the piece the bar stands in; 128 for unknown
    countdown   how many bars follow, 127 for more; 128 for unknown (endless playing)
"""

from dataclasses import dataclass

import numpy as np

from musegen.music import vocabulary as v

FEATURES: dict[str, int] = {"tick": v.MAX_BAR_TICKS, "bar": 16, "chord": 16, "part": 129, "countdown": 129}
"""Each feature's name and how many values it has."""

UNKNOWN = 128
_TICKS_OF_TOKEN = np.zeros(v.N_TOKENS, dtype=np.int64)
_TICKS_OF_TOKEN[v.WAIT.slice] = np.arange(1, v.WAIT.size + 1)


@dataclass(frozen=True)
class Place:
    """Where a stretch of bars stands in its piece.

    Args:
        first_bar: index of the bar that the first bar token opens.
        n_bars: how many bars the piece has; None for unknown.
    """

    first_bar: int = 0
    n_bars: int | None = None


def features(tokens: np.ndarray, place: Place) -> np.ndarray:
    """Returns the side features (n_tokens, 5) of a header, a body or both."""
    is_bar = tokens == v.BAR
    bar = np.cumsum(is_bar) - 1 + place.first_bar
    elapsed = np.cumsum(_TICKS_OF_TOKEN[tokens])
    tick = elapsed - np.maximum.accumulate(np.where(is_bar, elapsed, 0))
    is_note = (tokens >= v.NOTE.first) & (tokens < v.NOTE.first + v.NOTE.size)
    moves = is_bar | (_TICKS_OF_TOKEN[tokens] > 0)
    notes = np.cumsum(is_note)
    chord = notes - np.maximum.accumulate(np.where(moves, notes, 0))
    bar = np.maximum(bar, place.first_bar)  # the header stands in the first bar
    return np.stack([tick, bar % 16, np.minimum(chord, 15), *_parts(bar, place.n_bars)], axis=1)


def _parts(bar: np.ndarray, n_bars: int | None) -> tuple[np.ndarray, np.ndarray]:
    if n_bars is None:
        return np.full_like(bar, UNKNOWN), np.full_like(bar, UNKNOWN)
    bar = np.minimum(bar, max(n_bars - 1, 0))
    return 128 * bar // max(n_bars, 1), np.minimum(n_bars - 1 - bar, 127).clip(0)


class Tracker:
    """The same features a token at a time."""

    def __init__(self, place: Place):
        self.place = place
        self.bar = place.first_bar - 1
        self.tick = 0
        self.chord = 0

    def push(self, token: int) -> np.ndarray:
        """Takes one token and returns its side features (5,)."""
        if token == v.BAR:
            self.bar, self.tick, self.chord = self.bar + 1, 0, 0
        elif token in v.WAIT:
            self.tick, self.chord = self.tick + token - v.WAIT.first + 1, 0
        elif token in v.NOTE:
            self.chord += 1
        bar, n_bars = max(self.bar, self.place.first_bar), self.place.n_bars
        part = countdown = UNKNOWN
        if n_bars is not None:  # as `_parts` has it, without an array for each number
            last = max(n_bars - 1, 0)
            part = 128 * min(bar, last) // max(n_bars, 1)
            countdown = max(min(n_bars - 1 - min(bar, last), 127), 0)
        return np.array([self.tick, bar % 16, min(self.chord, 15), part, countdown])
