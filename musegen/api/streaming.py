"""Music without end, bar by bar, whose wishes may change while it is written."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from musegen.api.arguments import drawn_seed
from musegen.api.composing import generation_of
from musegen.api.models import DEFAULT_MODEL
from musegen.api.ordering import (
    DEFAULT_GUIDANCE,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_P,
    Order,
    completed_by_style,
    opening_of,
)
from musegen.errors import InputError
from musegen.midi.convert import ScoreLike, as_score
from musegen.music.grid import GridScore
from musegen.music.tokenizer import Bar, GridNote

_SEGMENT_BARS = 32  # a generation is begun anew so often: what it remembers grows with it
_HEARD_BARS = 16  # the newest bars, from which it goes on
_ENTRY_BAR = 1  # of new players who were wished for: soon, but not all in one chord at once
_WISHES = ("composer", "instruments", "key", "tempo", "meter", "density", "temperature", "top_p", "guidance", "seed")


class Piece:
    """A piece that is written while it is read: an iterator of bars.

    Each bar is a `GridScore` of one bar; its notes may ring on beyond it. What is wished for may change at any time and
    from any thread: it holds from the next bar that is not begun.

    Args:
        prompt: what to go on from, as in `continue_score`; None begins with nothing.
        composer, instruments, key, tempo, meter, density, seed, temperature, top_p, guidance, model: as in `compose`.

    Raises:
        InputError: an argument is not usable; UnknownNameError lists the nearest names.
        CheckpointError: the model is damaged.
    """

    def __init__(
        self,
        prompt: ScoreLike | None = None,
        *,
        composer: str | None = None,
        instruments: list[str] | None = None,
        key: str | None = None,
        tempo: float | None = None,
        meter: str | None = None,
        density: str | None = None,
        seed: int | None = None,
        temperature: float = DEFAULT_TEMPERATURE,
        top_p: float = DEFAULT_TOP_P,
        guidance: float = DEFAULT_GUIDANCE,
        model: str = DEFAULT_MODEL,
    ):
        asked = (composer, instruments, 1, key, tempo, meter, density, drawn_seed(seed))
        self._order = Order(*asked, temperature, top_p, guidance, model=model)
        self._completed = completed_by_style(self._order)
        self._lock = threading.Lock()
        self._version = 0
        self._enter = instruments is not None  # who was asked for and has still to enter
        self._newest: GridScore | None = None
        if prompt is not None:
            self._begin_with(prompt)

    def _begin_with(self, prompt: ScoreLike) -> None:
        from musegen.music.continuation import completed, next_bar_line, on_grid

        score = as_score(prompt)
        grid = on_grid(score)
        if not len(grid.notes):
            raise InputError("prompt has no notes; leave it out to start from nothing")
        self._newest = grid.bars(max(grid.n_bars - _HEARD_BARS, 0), grid.n_bars)
        self._completed = completed(self._order.controls, score, grid, next_bar_line(score, grid))

    @property
    def wishes(self) -> dict[str, Any]:
        """What is wished for now."""
        return {name: getattr(self._order, name) for name in _WISHES}

    def change(self, **wishes: Any) -> None:
        """Changes what is wished for: all of it, or nothing if one of the values is not usable.

        Args:
            **wishes: any of composer, instruments, key, tempo, meter, density, temperature, top_p, guidance and seed;
                None leaves the choice to the model.

        Raises:
            InputError: a value is not usable, or there is no such wish.
        """
        for name in wishes:
            if name not in _WISHES:
                raise InputError(f"wish is {name!r}; allowed are {', '.join(_WISHES)}")
        with self._lock:
            order = replace(self._order, **wishes)
            self._completed = self._joined(order, wishes)
            self._order, self._version = order, self._version + 1
            self._enter = self._enter or wishes.get("instruments") is not None

    def _joined(self, order: Order, wishes: dict[str, Any]) -> Any:
        """Returns the header for a new order: what was drawn before stays unless it is wished for anew."""
        asked, before = order.controls, self._completed
        if {"composer", "instruments"} & wishes.keys():
            drawn = completed_by_style(order)
            before = replace(before, instruments=drawn.instruments)
        return replace(
            asked,
            instruments=asked.instruments or before.instruments,
            key=before.key if asked.key is None and "key" not in wishes else asked.key,
            tempo=before.tempo if asked.tempo is None else asked.tempo,
            meter=before.meter if asked.meter is None else asked.meter,
        )

    def __iter__(self) -> Iterator[GridScore]:
        """Yields bars without end."""
        from musegen.music.requests import Request

        segment = 0
        while True:
            with self._lock:
                version, order, controls, enter = self._version, self._order, self._completed, self._enter
                self._enter = False
            # A seed of its own for each stretch, all of them drawn from the one that was given.
            seed = int(np.random.SeedSequence((order.drawn_seed, segment)).generate_state(1)[0])
            by = None if self._newest is None else _ENTRY_BAR
            who = {"all_play": enter, "enter_by": by}
            request = Request(controls, None, True, True, self._newest, **who, opening=opening_of(order))
            segment += 1
            for nth, bar in enumerate(_bars(generation_of(order, request, seed), self._newest)):
                self._newest = _joined_bars(self._newest, bar)
                yield bar
                if self._version != version or nth + 1 == _SEGMENT_BARS:
                    break


def _bars(generation: Any, prompt: GridScore | None) -> Iterator[GridScore]:
    """Yields each new bar of a generation as soon as the next one begins."""
    line: Bar | None = None
    notes: list[GridNote] = []
    for _, event in generation:
        if isinstance(event, GridNote):
            notes.append(event)
            continue
        if line is not None:
            yield _one_bar(line, notes)
        line, notes = event, []


def _one_bar(line: Bar, notes: list[GridNote]) -> GridScore:
    rows = [(note.onset - line.tick, note.instrument, note.pitch, note.duration, note.velocity) for note in notes]
    return GridScore(np.array([line.meter]), np.array([line.tempo]), np.array(rows).reshape(-1, 5))


def _joined_bars(before: GridScore | None, bar: GridScore) -> GridScore:
    """Returns the newest bars with one more behind them."""
    if before is None:
        return bar
    before = before.bars(max(before.n_bars + 1 - _HEARD_BARS, 0), before.n_bars)
    notes = bar.notes + np.array([before.n_ticks, 0, 0, 0, 0])
    return GridScore(
        np.concatenate([before.meters, bar.meters]),
        np.concatenate([before.tempos, bar.tempos]),
        np.concatenate([before.notes, notes]),
    )
