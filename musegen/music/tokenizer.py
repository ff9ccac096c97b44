"""GridScore to tokens and back: encoding is one pass of NumPy over a piece, decoding is incremental."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from musegen.errors import InputError
from musegen.music import vocabulary as v
from musegen.music.grid import DURATION, INSTRUMENT, ONSET, PITCH, VELOCITY, GridScore


@dataclass(frozen=True)
class Controls:
    """The header of a sequence: what is asked for in front of it. None (or no instruments) is unknown.

    Args:
        style: style slot, 0..N_STYLES - 1.
        instruments: instrument classes that play.
        key: index in KEYS.
        tempo: index in TEMPOS_BPM.
        meter: index in METERS.
        density: index in DENSITIES.
    """

    style: int | None = None
    instruments: tuple[int, ...] = ()
    key: int | None = None
    tempo: int | None = None
    meter: int | None = None
    density: int | None = None

    def tokens(self) -> list[int]:
        """Returns the header, from `start` to the last control."""
        single = ((v.KEY, self.key), (v.TEMPO, self.tempo), (v.METER, self.meter), (v.DENSITY, self.density))
        return [
            v.START,
            *([] if self.style is None else [v.STYLE.first + self.style]),
            *(v.INSTRUMENT.first + index for index in sorted(self.instruments)),
            *(block.first + index for block, index in single if index is not None),
        ]


@dataclass(frozen=True)
class Bar:
    """A bar line: where the bar starts in ticks, its meter and its tempo (indices in METERS and TEMPOS_BPM)."""

    tick: int
    meter: int
    tempo: int


@dataclass(frozen=True)
class GridNote:
    """A note as a row of GridScore.notes."""

    onset: int
    instrument: int
    pitch: int
    duration: int
    velocity: int


@dataclass(frozen=True)
class Body:
    """A piece as tokens.

    Args:
        tokens: (n_tokens,) the bars without header and `end`.
        bar_starts: (n_bars + 1,) where each bar's tokens start, and where the last one's end.
    """

    tokens: np.ndarray
    bar_starts: np.ndarray


def encode(grid: GridScore) -> Body:
    """Returns the body of a grid score. The first bar names its meter and tempo; later ones name what changes."""
    notes = grid.notes
    bar_of = np.searchsorted(grid.bar_ticks, notes[:, ONSET], side="right") - 1
    in_bar = notes[:, ONSET] - grid.bar_ticks[bar_of]
    same_bar = np.zeros(len(notes), dtype=bool)
    same_bar[1:] = bar_of[1:] == bar_of[:-1]
    gap = in_bar - np.where(same_bar, np.roll(in_bar, 1), 0)
    n_waits = -(-gap // v.TICKS_PER_WHOLE)
    n_ties = v.n_ties(notes[:, DURATION])
    n_note_tokens = n_waits + n_ties + 2
    new_meter = np.diff(grid.meters, prepend=-1) != 0
    new_tempo = np.diff(grid.tempos, prepend=-1) != 0
    n_bar_tokens = 1 + new_meter + new_tempo

    # Every token's place: bars and notes each push on what comes after them.
    notes_before = np.concatenate([[0], np.cumsum(n_note_tokens)])
    bars_before = np.concatenate([[0], np.cumsum(n_bar_tokens)])
    first_note = np.searchsorted(bar_of, np.arange(grid.n_bars + 1))
    bar_starts = bars_before + notes_before[first_note]
    note_starts = notes_before[:-1] + bars_before[bar_of + 1]

    tokens = np.full(bars_before[-1] + notes_before[-1], v.TIE, dtype=np.uint16)  # ties are what nothing below fills
    starts = bar_starts[:-1]
    tokens[starts] = v.BAR
    tokens[starts[new_meter] + 1] = v.METER.first + grid.meters[new_meter]
    tokens[(starts + 1 + new_meter)[new_tempo]] = v.TEMPO.first + grid.tempos[new_tempo]
    for k in range(int(n_waits.max(initial=0))):
        waits = n_waits > k
        tokens[note_starts[waits] + k] = v.wait_token(np.minimum(gap - k * v.TICKS_PER_WHOLE, v.TICKS_PER_WHOLE)[waits])
    tokens[note_starts + n_waits] = v.note_token(notes[:, INSTRUMENT], notes[:, PITCH])
    within = notes[:, DURATION] - v.TICKS_PER_WHOLE * n_ties
    tokens[note_starts + n_note_tokens - 1] = v.length_token(within, notes[:, VELOCITY])
    return Body(tokens, bar_starts)


class Decoder:
    """Turns tokens into bars and notes, each as soon as it is certain.

    Args:
        meter: the meter of the bars before any token names one (4/4).
        tempo: their tempo (120).
    """

    def __init__(self, meter: int = v.METER_INDEX[4, 4], tempo: int = v.TEMPOS_BPM.index(120)):
        self.meter, self.tempo = meter, tempo
        self.bar_tick = 0  # where the bar starts
        self.tick = 0  # where we are, inside the bar
        self.in_body = False
        self.ended = False
        self._bar_is_open = False  # a bar token came, and its meter or tempo may follow
        self._note: tuple[int, int] | None = None
        self._ties = 0

    @property
    def bar_end(self) -> int:
        """Where the bar ends."""
        return self.bar_tick + int(v.METER_TICKS[self.meter])

    def push(self, token: int) -> list[Bar | GridNote]:
        """Takes one token and returns what became certain with it, a bar or a note or nothing.

        Raises:
            InputError: the token cannot stand here.
        """
        if self.ended:
            raise InputError(f"token {v.describe(token)} comes after the end")
        if self._note is not None:
            return self._length(token)
        if token == v.BAR:
            line = self.close_bar_line()
            if self.in_body:
                self.bar_tick = self.bar_end
            self.in_body, self._bar_is_open, self.tick = True, True, 0
            return line
        if not self.in_body:
            self._header(token)
        elif self._bar_is_open and token in v.METER:
            self.meter = token - v.METER.first
        elif self._bar_is_open and token in v.TEMPO:
            self.tempo = token - v.TEMPO.first
        else:
            line = self.close_bar_line()
            self._event(token)
            return line
        return []

    def close_bar_line(self) -> list[Bar | GridNote]:
        """Returns the bar whose meter or tempo could still have followed: after the last token, nothing follows."""
        if not self._bar_is_open:
            return []
        self._bar_is_open = False
        return [Bar(self.bar_tick, self.meter, self.tempo)]

    def _header(self, token: int):
        # The header says what was asked for, not what is: it is read over.
        if not v.PAD <= token < v.BAR or token == v.GAP:
            raise InputError(f"token {v.describe(token)} stands before the first bar")
        if token == v.END:
            self.ended = True

    def _event(self, token: int):
        if token in v.NOTE:
            if self.bar_tick + self.tick >= self.bar_end:
                raise InputError(f"{v.describe(token)} stands on or after the bar line")
            instrument, pitch = divmod(token - v.NOTE.first, v.N_PITCHES)
            self._note, self._ties = (instrument, v.LOWEST_PITCH + pitch), 0
        elif token in v.WAIT:
            self.tick += token - v.WAIT.first + 1
            if self.bar_tick + self.tick >= self.bar_end:
                raise InputError(f"{v.describe(token)} crosses the bar line")
        elif token == v.END:
            self.ended = True
        elif token != v.GAP:
            raise InputError(f"token {v.describe(token)} cannot stand inside a bar")

    def _length(self, token: int) -> list[Bar | GridNote]:
        if token == v.TIE:
            self._ties += 1
            return []
        if token not in v.LENGTH:
            raise InputError(f"token {v.describe(token)} follows a note; allowed are tie and length")
        duration, velocity = divmod(token - v.LENGTH.first, len(v.VELOCITIES))
        assert self._note is not None
        (instrument, pitch), self._note = self._note, None
        ticks = v.DURATIONS[duration] + self._ties * v.TICKS_PER_WHOLE
        return [GridNote(self.bar_tick + self.tick, instrument, pitch, ticks, velocity)]


def decode_events(tokens: Iterable[int], decoder: Decoder | None = None) -> Iterator[Bar | GridNote]:
    """Yields the bars and notes of a sequence, header and `end` or not, as they become certain.

    A sequence may stop anywhere; a note whose length has not come is left out.

    Raises:
        InputError: a token cannot stand where it stands.
    """
    decoder = decoder or Decoder()
    for token in tokens:
        yield from decoder.push(int(token))
    yield from decoder.close_bar_line()


def decode(tokens: Iterable[int]) -> GridScore:
    """Returns the grid score of a sequence: `decode_events` run to its end.

    Raises:
        InputError: a token cannot stand where it stands.
    """
    return collect(decode_events(tokens))


def collect(events: Iterable[Bar | GridNote]) -> GridScore:
    """Returns the grid score that bars and notes make."""
    bars: list[Bar] = []
    notes: list[tuple[int, ...]] = []
    for event in events:
        if isinstance(event, Bar):
            bars.append(event)
        else:
            notes.append((event.onset, event.instrument, event.pitch, event.duration, event.velocity))
    return GridScore(
        np.array([bar.meter for bar in bars], dtype=np.int64),
        np.array([bar.tempo for bar in bars], dtype=np.int64),
        np.array(notes, dtype=np.int64).reshape(-1, 5),
    )
