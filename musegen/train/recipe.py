"""Training recipes: TOML tables turned into checked dataclasses before any work starts.

A recipe says `name = "muse"` (which task of the registry) and has three tables: `[model]` and `[task]` (data, batch
sizes, optimizers) go into the configs of that model and task, `[train]` into `TrainConfig`.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from musegen.errors import InputError, RecipeError

Table = dict[str, Any]
T = TypeVar("T")
TABLES = ("model", "task", "train")


@dataclass(frozen=True)
class Range:
    """The numbers a setting may take, ends included unless `open_high`: `Annotated[int, Range(1)]`."""

    low: float | None = None
    high: float | None = None
    open_high: bool = False

    def allows(self, value: float) -> bool:
        if self.low is not None and not value >= self.low:
            return False
        return self.high is None or value < self.high or (value == self.high and not self.open_high)

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low}"
        return f"{'up to' if self.low is None else f'{self.low} to'} {'below ' if self.open_high else ''}{self.high}"


Count = Annotated[int, Range(0)]
Positive = Annotated[int, Range(1)]


@dataclass(frozen=True)
class TrainConfig:
    """How the loop runs, whatever it trains.

    Attributes:
        steps: optimizer steps in all.
        accumulate: batches whose gradients are averaged into one step.
        warmup_steps: the learning rate grows linearly over the first ones,
        decay_steps: and falls linearly to 0 over the last ones; in between it is constant.
        seed: of weights, batches and everything else drawn.
        precision: "auto" is bf16-mixed where the device is fast in it, else 32-true.
        accelerator, devices, strategy: as Lightning Fabric names them; "ddp" averages gradients over the devices.
        validate_every: steps; 0 only at the end.
        save_every, save_every_seconds: when the training state is written; 0 for not by this clock. Always at the end.
        ema: decay of the moving average of the weights that is validated and kept; 0 for none.
        log_every: steps a line of the log.
        max_hours: stop cleanly after so many hours of training, resumed ones included; 0 for no limit.
    """

    steps: Positive = 1000
    accumulate: Positive = 1
    warmup_steps: Count = 0
    decay_steps: Count = 0
    seed: Count = 0
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Positive = 1
    n_nodes: Positive = 1
    strategy: Literal["auto", "ddp"] = "auto"
    validate_every: Count = 0
    save_every: Count = 0
    save_every_seconds: Annotated[float, Range(0.0)] = 600.0
    ema: Annotated[float, Range(0.0, 1.0, open_high=True)] = 0.0
    log_every: Positive = 10
    max_hours: Annotated[float, Range(0.0)] = 0.0

    def __post_init__(self):
        if self.warmup_steps + self.decay_steps > self.steps:
            given = f"train.warmup_steps {self.warmup_steps} + train.decay_steps {self.decay_steps}"
            raise RecipeError(f"{given} is more than train.steps {self.steps}; allowed: at most as many together")


@dataclass(frozen=True)
class Recipe:
    """A recipe as read: the registry's name of its task, and its tables with overrides applied."""

    name: str
    train: TrainConfig
    model_table: Table = field(default_factory=dict)
    task_table: Table = field(default_factory=dict)


def load(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply overrides such as "train.steps=100" or "model.pattern=dense".

    Args:
        path: a TOML file.
        overrides: `table.key=value`; the value is a TOML literal, or a bare word for a string.

    Raises:
        RecipeError: the file cannot be read, a key is not known, or a value is of the wrong type or out of range.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"recipe {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"recipe {path} cannot be read: {error}") from None
    for override in overrides:
        _override(tables, override)
    for key, value in tables.items():
        if key not in TABLES and key != "name":
            raise RecipeError(_unknown(key, ("name", *TABLES), "the recipe"))
        if key in TABLES and not isinstance(value, dict):
            raise RecipeError(f"{key} of the recipe must be a table [{key}], got {value!r}")
    name = tables.get("name")
    if not isinstance(name, str):
        raise RecipeError(f'recipe {path} must say which task it trains (name = "..."), got {name!r}')
    train = from_table(TrainConfig, tables.get("train", {}), "train")
    return Recipe(name, train, tables.get("model", {}), tables.get("task", {}))


def from_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build dataclass `cls` from a table, checking keys, types and ranges; inner tables build the dataclasses it holds.

    Args:
        cls: a dataclass. A field's type may be a plain type, a Literal, a tuple, a union, a dataclass, or one of these
            Annotated with a `Range`.
        table: keys and values as TOML gives them.
        where: the table's name, for messages ("train").

    Raises:
        RecipeError: names the key, what came and what is allowed.
    """
    assert dataclasses.is_dataclass(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise RecipeError(_unknown(key, fields, f"[{where}]"))
        values[key] = _convert(hints[key], value, f"{where}.{key}")
    for key, f in fields.items():
        if key not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{where}.{key} is missing; it must be {_name(hints[key])}")
    try:
        return cls(**values)
    except RecipeError:
        raise
    except (InputError, ValueError) as error:
        raise RecipeError(f"[{where}]: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _in_range(_convert(arguments[0], value, where), arguments[1:], where)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, arguments, value, where)
    if origin is Literal:
        if any(value == allowed and type(value) is type(allowed) for allowed in arguments):
            return value
    elif origin is tuple and isinstance(value, list | tuple):
        inner = [arguments[0]] * len(value) if arguments[1:] == (...,) else list(arguments)
        if len(inner) == len(value):
            return tuple(_convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(inner, value, strict=True)))
    elif origin is dict and isinstance(value, dict):
        return {k: _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, dict):
            return from_table(hint, value, where)
        if isinstance(value, hint):
            return value
    elif hint is Any:
        return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise RecipeError(f"{where} must be {_name(hint)}, got {value!r}")


def _convert_union(hint: Any, options: tuple[Any, ...], value: Any, where: str) -> Any:
    for option in options:
        try:
            return _convert(option, value, where)
        except RecipeError:
            continue
    raise RecipeError(f"{where} must be {_name(hint)}, got {value!r}")


def _in_range(value: Any, notes: tuple[Any, ...], where: str) -> Any:
    for note in notes:
        if isinstance(note, Range) and not note.allows(value):
            raise RecipeError(f"{where} must be {note}, got {value!r}")
    return value


def _override(tables: Table, override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"override {override!r} must look like train.steps=100")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = tables
    for depth, part in enumerate(parts[:-1]):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"override {override!r}: {'.'.join(parts[: depth + 1])} is a value, not a table")
    table[parts[-1]] = value


def _unknown(key: str, known: Iterable[str], where: str) -> str:
    names = sorted(known)
    nearest = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(names)}"
    return f"unknown key {key!r} in {where}; {hint}"


def _name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        ranges = [str(note) for note in arguments[1:] if isinstance(note, Range)]
        return " ".join([_name(arguments[0]), *ranges])
    if origin is Literal:
        return "one of " + ", ".join(repr(a) for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_name(a) for a in arguments)
    if origin is tuple:
        inner = _name(arguments[0]) if arguments[1:] == (...,) else ", ".join(_name(a) for a in arguments)
        return f"a list of {inner}"
    if hint is type(None):
        return "nothing"
    if dataclasses.is_dataclass(hint):
        return "a table"
    words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", Path: "a path"}
    return words.get(hint, str(hint))
