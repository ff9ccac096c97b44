"""What is asked of a Muse: an order, checked, and completed by a piece of its style."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from musegen import registry
from musegen.api.arguments import drawn_seed, signed, whole
from musegen.api.choosing import RANKINGS
from musegen.api.models import DEFAULT_MODEL, plain, styles_of
from musegen.errors import InputError, UnknownNameError
from musegen.midi.instruments import DRUMS, INSTRUMENTS, MAX_PITCHED, instrument_index
from musegen.midi.score import Score
from musegen.music import vocabulary as v
from musegen.music.tokenizer import Controls

if TYPE_CHECKING:
    from musegen.core.sampling import Sampling
    from musegen.music.requests import Request

DEFAULT_TEMPERATURE = 1.0
DEFAULT_TOP_P = 0.98
DEFAULT_GUIDANCE = 2.0
MAX_PIECES = 64
_MAX_BARS = 100_000


@dataclass(frozen=True)
class Order:
    """The arguments that `compose` and `continue_score` share, checked before anything heavy is loaded."""

    composer: str | None = None
    instruments: Sequence[str] | None = None
    bars: int = 16
    key: str | None = None
    tempo: float | None = None
    meter: str | None = None
    density: str | None = None
    seed: int | None = None
    temperature: float = DEFAULT_TEMPERATURE
    top_p: float = DEFAULT_TOP_P
    guidance: float = DEFAULT_GUIDANCE
    n: int = 1
    model: str = DEFAULT_MODEL
    candidates: int | None = None
    rank: str | None = None

    def __post_init__(self):
        if self.density is not None and self.density not in v.DENSITIES:
            raise InputError(f"density is {self.density!r}; allowed are {', '.join(v.DENSITIES)}")
        if not 0 <= self.temperature <= 5:
            raise InputError(f"temperature is {self.temperature}; allowed are 0 to 5")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; allowed are numbers above 0 up to 1")
        if not 0 <= self.guidance <= 10:
            raise InputError(f"guidance is {self.guidance}; allowed are 0 to 10")
        object.__setattr__(self, "bars", whole("bars", self.bars, 1, _MAX_BARS))
        object.__setattr__(self, "n", whole("n", self.n, 1, MAX_PIECES))
        if self.candidates is not None:
            object.__setattr__(self, "candidates", whole("candidates", self.candidates, self.n, MAX_PIECES))
        if self.rank is not None and self.rank not in RANKINGS:
            raise UnknownNameError("rank", self.rank, RANKINGS)
        _ = self.controls, self.drawn_seed

    @property
    def n_written(self) -> int:
        """How many pieces are written."""
        return self.candidates or self.n

    @cached_property
    def drawn_seed(self) -> int:
        """The seed, drawn if none was given."""
        return drawn_seed(self.seed)

    @cached_property
    def controls(self) -> Controls:
        """The header that is asked for."""
        styles = styles_of(self.model)
        return Controls(
            style=None if self.composer is None else _style(self.composer, styles),
            instruments=_playing(self.instruments),
            key=None if self.key is None else v.key_index(self.key),
            tempo=None if self.tempo is None else v.tempo_level(self.tempo),
            meter=None if self.meter is None else v.meter_index(self.meter),
            density=None if self.density is None else v.DENSITIES.index(self.density),
        )

    def signed(self, score: Score, row: int, *words: str) -> Score:
        """Returns the score with the command that makes it again as a text at tick 0."""
        controls = self.controls
        given = {
            "--composer": None if controls.style is None else styles_of(self.model)[controls.style],
            "--instruments": ",".join(INSTRUMENTS[index].name for index in controls.instruments) or None,
            **{f"--{name}": getattr(self, name) for name in ("bars", "key", "tempo", "meter", "density")},
            "--seed": self.drawn_seed,
            "--temperature": self.temperature,
            "--top-p": self.top_p,
            "--guidance": self.guidance,
            "-n": self.n if self.n > 1 else None,
            "--candidates": self.candidates,
            "--rank": self.rank,
            "--model": self.model,
        }
        return signed(score, words, given, f" # piece {row + 1} of {self.n}" if self.n > 1 else "")


def _playing(names: Sequence[str] | None) -> tuple[int, ...]:
    """Returns the instrument classes of names, ascending; none for None."""
    if names is None:
        return ()
    if isinstance(names, str) or not names:
        raise InputError(f"instruments is {names!r}; allowed are lists of names such as ['piano'], or None")
    playing = tuple(sorted({instrument_index(name) for name in names}))
    n_pitched = len(set(playing) - {DRUMS})
    if n_pitched > MAX_PITCHED:
        most = f"MIDI has channels for {MAX_PITCHED}: name fewer"
        raise InputError(f"instruments has {n_pitched} beside the drums; {most}")
    return playing


def _style(composer: str, styles: list[str]) -> int:
    """Returns the style slot of a composer, whatever the case and the spaces of the name."""
    slots = {plain(style): slot for slot, style in enumerate(styles)}
    if plain(composer) not in slots:
        raise UnknownNameError("composer", composer, styles)
    return slots[plain(composer)]


def completed_by_style(order: Order) -> Controls:
    """Returns the controls, with those of a piece of the style where instruments, meter or tempo are not asked for."""
    controls, setting = order.controls, _setting(order)
    return replace(
        controls,
        instruments=controls.instruments or _playing(_fitting(setting["instruments"])),
        meter=v.meter_index(setting["meter"]) if controls.meter is None else controls.meter,
        tempo=v.tempo_level(setting["tempo"]) if controls.tempo is None else controls.tempo,
    )


def opening_of(order: Order) -> int | None:
    """Returns the velocity level at which a piece begins: the middle one of the same piece of the style.

    None where the model, trained before this was kept, knows none.
    """
    velocity = _setting(order).get("velocity")
    return None if velocity is None else v.VELOCITIES.index(velocity)


def _setting(order: Order) -> dict[str, Any]:
    """Returns what is known of a piece of the style, drawn by the seed."""
    styles, known = styles_of(order.model), registry.checkpoint_config(order.model)["settings"]
    of_style = styles if order.controls.style is None else [styles[order.controls.style]]
    return random.Random(order.drawn_seed).choice([setting for style in of_style for setting in known[style]])


def new_piece(order: Order, all_play: bool) -> "Request":
    """Returns the request for a piece from nothing; `all_play` as in `Request`."""
    from musegen.music.requests import Request

    kept = {"keep_meter": True, "keep_tempo": True, "opening": opening_of(order)}
    return Request(completed_by_style(order), order.bars, all_play=all_play, **kept)


def _fitting(names: list[str]) -> list[str]:
    """Returns those of an ensemble's instruments for which a MIDI file has channels."""
    pitched = [name for name in names if name != INSTRUMENTS[DRUMS].name]
    return [name for name in names if name not in pitched[MAX_PITCHED:]]


def sampling_of(order: Order) -> "Sampling":
    """Returns how tokens are drawn."""
    from musegen.core.sampling import Sampling

    return Sampling(order.temperature, None, order.top_p, order.guidance)


def sampling_of_wishes(order: Order) -> "Sampling":
    """Returns how tokens are drawn: guided only if the order itself wishes for what only the model can give."""
    is_wish = (order.composer, order.key, order.density) != (None, None, None)
    return sampling_of(order if is_wish else replace(order, guidance=1.0))
