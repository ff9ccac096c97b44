"""The events of a score as read-only NumPy columns: notes, controls, tempos, meters, keys and more.

Each kind of event is a table: one column an attribute, one row an event. A kind lists its columns once, with their
types and ranges, and construction checks them. Rows are always in one canonical order, so equal music has equal
columns. A row (`Note`, `Tempo`, ...) is made when it is asked for.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, Self, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musegen.errors import InputError
from musegen.midi.units import MAX_US_PER_QUARTER, us_per_quarter_to_bpm

MAX_TICKS = (1 << 28) - 1
"""The last tick of a score: the longest delta time that a MIDI file can hold."""


DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)
"""The note values that a meter may count."""


class Note(NamedTuple):
    """One note of `Notes`."""

    start_ticks: int
    duration_ticks: int
    pitch: int
    velocity: int

    @property
    def end_ticks(self) -> int:
        """The tick at which it ends."""
        return self.start_ticks + self.duration_ticks


class Control(NamedTuple):
    """One event of `Controls`."""

    start_ticks: int
    number: int
    value: int


class PitchBend(NamedTuple):
    """One event of `PitchBends`."""

    start_ticks: int
    value: int


class Program(NamedTuple):
    """One event of `Programs`."""

    start_ticks: int
    program: int


class Pressure(NamedTuple):
    """One event of `Pressures`."""

    start_ticks: int
    value: int


class KeyPressure(NamedTuple):
    """One event of `KeyPressures`."""

    start_ticks: int
    pitch: int
    value: int


class Tempo(NamedTuple):
    """One event of `Tempos`."""

    start_ticks: int
    us_per_quarter: int


class Meter(NamedTuple):
    """One event of `Meters`."""

    start_ticks: int
    numerator: int
    denominator: int


class Key(NamedTuple):
    """One event of `Keys`."""

    start_ticks: int
    sharps: int
    is_minor: bool


RowT = TypeVar("RowT", bound=tuple)


class Column(NamedTuple):
    """How a column is stored and the values it may take."""

    name: str
    dtype: type[np.generic]
    low: int
    high: int

    def checked(self, owner: str, values: ArrayLike) -> NDArray[Any]:
        """Returns a copy of `values` in the column's type.

        Raises:
            InputError: they are not whole numbers in one dimension, or one is out of range.
        """
        array = np.asarray(values)
        if array.ndim != 1:
            raise InputError(f"{owner}.{self.name} must be one-dimensional, got shape {array.shape}")
        if not array.size:
            return np.empty(0, self.dtype)
        if array.dtype.kind not in "iub":
            raise InputError(f"{owner}.{self.name} must be whole numbers, got {array.dtype}")
        for value in (int(array.min()), int(array.max())):
            if not self.low <= value <= self.high:
                raise InputError(f"{owner}.{self.name} must be {self.low}..{self.high}, got {value}")
        return array.astype(self.dtype)


_START_TICKS = Column("start_ticks", np.int64, 0, MAX_TICKS)


class Columns(Generic[RowT]):
    """Events in equally long read-only columns, sorted by `start_ticks`; events of one tick keep their order.

    Indexing with a number gives one row; with a slice, a mask or an array of places, the same kind of columns.

    Raises:
        InputError: a column is not whole numbers, has a value out of its range, or differs in length from the others.
    """

    __slots__ = ("start_ticks",)
    row: ClassVar[Any]
    table: ClassVar[tuple[Column, ...]]
    _names: ClassVar[tuple[str, ...]]
    start_ticks: NDArray[np.int64]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._names = tuple(column.name for column in getattr(cls, "table", ()))

    def __init__(self, *columns: ArrayLike) -> None:
        owner = type(self).__name__
        arrays = [column.checked(owner, values) for column, values in zip(self.table, columns, strict=True)]
        if len({len(array) for array in arrays}) > 1:
            lengths = ", ".join(f"{column.name} {len(array)}" for column, array in zip(self.table, arrays, strict=True))
            raise InputError(f"the columns of {owner} must be equally long, got {lengths}")
        self._keep(arrays)

    @classmethod
    def from_checked(cls, *columns: NDArray[Any]) -> Self:
        """Makes columns of read-only arrays of the right types, ranges and order, without looking and without a copy.

        A reader that has checked a whole file at once takes this: it is a tenth of the constructor's time, which counts
        in a corpus of a hundred thousand tracks.
        """
        self, keep = cls.__new__(cls), object.__setattr__
        for name, values in zip(cls._names, columns, strict=True):
            keep(self, name, values)
        return self

    def _keep(self, arrays: list[NDArray[Any]]) -> None:
        order = self._order(arrays)
        for column, array in zip(self.table, arrays, strict=True):
            ordered = array if order is None else array[order]
            ordered.setflags(write=False)
            object.__setattr__(self, column.name, ordered)

    def _order(self, arrays: list[NDArray[Any]]) -> NDArray[np.intp] | None:
        """Returns the places of the rows in canonical order, or None where they are in it."""
        start_ticks = arrays[0]
        if (start_ticks[1:] >= start_ticks[:-1]).all():
            return None
        return np.argsort(start_ticks, kind="stable")

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Returns the columns in the order of the table."""
        return tuple(getattr(self, column.name) for column in self.table)

    def joined(self, *others: Self) -> Self:
        """Returns these events and those of `others` together."""
        tables = zip(*(events.columns() for events in (self, *others)), strict=True)
        return type(self)(*(np.concatenate(parts) for parts in tables))

    def __len__(self) -> int:
        return len(self.start_ticks)

    def __iter__(self) -> Iterator[RowT]:
        return map(self.row._make, zip(*(column.tolist() for column in self.columns()), strict=True))

    @overload
    def __getitem__(self, index: int) -> RowT: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any]) -> Self: ...
    def __getitem__(self, index: int | slice | NDArray[Any]) -> RowT | Self:
        chosen = [column[index] for column in self.columns()]
        return type(self)(*chosen) if chosen[0].ndim else self.row._make(value.item() for value in chosen)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return all(np.array_equal(a, b) for a, b in zip(self.columns(), other.columns(), strict=True))

    def __hash__(self) -> int:
        return hash(tuple(column.tobytes() for column in self.columns()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{c.name}={getattr(self, c.name)}' for c in self.table)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make a new one")

    def __reduce__(self) -> tuple[type, tuple[NDArray[Any], ...]]:
        # An unpickled array can be written to: going through the constructor makes it read-only again.
        return type(self), self.columns()


class _Changes(Columns[RowT]):
    """Events of which one holds until the next: of several at one tick only the last counts."""

    __slots__ = ()

    def _order(self, arrays: list[NDArray[Any]]) -> NDArray[np.intp] | None:
        start_ticks = arrays[0]
        if (start_ticks[1:] > start_ticks[:-1]).all():
            return None
        order = np.argsort(start_ticks, kind="stable")
        is_last = np.append(np.diff(start_ticks[order]) > 0, True)
        return order[is_last]


class Notes(Columns[Note]):
    """Notes, sorted by start, pitch, duration and velocity.

    Args:
        start_ticks: 0..MAX_TICKS.
        duration_ticks: 0..MAX_TICKS.
        pitch: 0..127, 60 is middle C; on drums it names the drum.
        velocity: 1..127.
    """

    __slots__ = ("duration_ticks", "pitch", "velocity")
    row = Note
    table = (
        _START_TICKS,
        Column("duration_ticks", np.int64, 0, MAX_TICKS),
        Column("pitch", np.uint8, 0, 127),
        Column("velocity", np.uint8, 1, 127),
    )
    duration_ticks: NDArray[np.int64]
    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]

    def __init__(
        self,
        start_ticks: ArrayLike = (),
        duration_ticks: ArrayLike = (),
        pitch: ArrayLike = (),
        velocity: ArrayLike = (),
    ) -> None:
        super().__init__(start_ticks, duration_ticks, pitch, velocity)

    def _order(self, arrays: list[NDArray[Any]]) -> NDArray[np.intp] | None:
        start_ticks, duration_ticks, pitch, velocity = arrays
        start_and_pitch = start_ticks * 128 + pitch
        if (start_and_pitch[1:] > start_and_pitch[:-1]).all():
            return None
        return np.lexsort((velocity, duration_ticks, start_and_pitch))

    @property
    def end_ticks(self) -> NDArray[np.int64]:
        """The tick at which each note ends."""
        return self.start_ticks + self.duration_ticks


class Controls(Columns[Control]):
    """Controller changes.

    Args:
        start_ticks: 0..MAX_TICKS.
        number: the controller, 0..127; 64 is the sustain pedal.
        value: 0..127.
    """

    __slots__ = ("number", "value")
    row = Control
    table = (
        _START_TICKS,
        Column("number", np.uint8, 0, 127),
        Column("value", np.uint8, 0, 127),
    )
    number: NDArray[np.uint8]
    value: NDArray[np.uint8]

    def __init__(self, start_ticks: ArrayLike = (), number: ArrayLike = (), value: ArrayLike = ()) -> None:
        super().__init__(start_ticks, number, value)


class PitchBends(Columns[PitchBend]):
    """Positions of the pitch wheel.

    Args:
        start_ticks: 0..MAX_TICKS.
        value: -8192..8191, 0 is the middle.
    """

    __slots__ = ("value",)
    row = PitchBend
    table = (
        _START_TICKS,
        Column("value", np.int16, -8192, 8191),
    )
    value: NDArray[np.int16]

    def __init__(self, start_ticks: ArrayLike = (), value: ArrayLike = ()) -> None:
        super().__init__(start_ticks, value)


class Programs(Columns[Program]):
    """Program changes. The bank is in the controls 0 and 32 before them.

    Args:
        start_ticks: 0..MAX_TICKS.
        program: General MIDI program, 0..127.
    """

    __slots__ = ("program",)
    row = Program
    table = (
        _START_TICKS,
        Column("program", np.uint8, 0, 127),
    )
    program: NDArray[np.uint8]

    def __init__(self, start_ticks: ArrayLike = (), program: ArrayLike = ()) -> None:
        super().__init__(start_ticks, program)


class Pressures(Columns[Pressure]):
    """Aftertouch of a whole channel.

    Args:
        start_ticks: 0..MAX_TICKS.
        value: 0..127.
    """

    __slots__ = ("value",)
    row = Pressure
    table = (
        _START_TICKS,
        Column("value", np.uint8, 0, 127),
    )
    value: NDArray[np.uint8]

    def __init__(self, start_ticks: ArrayLike = (), value: ArrayLike = ()) -> None:
        super().__init__(start_ticks, value)


class KeyPressures(Columns[KeyPressure]):
    """Aftertouch of single keys (polyphonic).

    Args:
        start_ticks: 0..MAX_TICKS.
        pitch: 0..127.
        value: 0..127.
    """

    __slots__ = ("pitch", "value")
    row = KeyPressure
    table = (
        _START_TICKS,
        Column("pitch", np.uint8, 0, 127),
        Column("value", np.uint8, 0, 127),
    )
    pitch: NDArray[np.uint8]
    value: NDArray[np.uint8]

    def __init__(self, start_ticks: ArrayLike = (), pitch: ArrayLike = (), value: ArrayLike = ()) -> None:
        super().__init__(start_ticks, pitch, value)


class Tempos(_Changes[Tempo]):
    """Tempo changes.

    Args:
        start_ticks: 0..MAX_TICKS.
        us_per_quarter: microseconds a quarter note, 1..MAX_US_PER_QUARTER.
    """

    __slots__ = ("us_per_quarter",)
    row = Tempo
    table = (
        _START_TICKS,
        Column("us_per_quarter", np.int64, 1, MAX_US_PER_QUARTER),
    )
    us_per_quarter: NDArray[np.int64]

    def __init__(self, start_ticks: ArrayLike = (), us_per_quarter: ArrayLike = ()) -> None:
        super().__init__(start_ticks, us_per_quarter)

    @property
    def bpm(self) -> NDArray[np.float64]:
        """Quarter notes a minute."""
        return us_per_quarter_to_bpm(self.us_per_quarter)


class Meters(_Changes[Meter]):
    """Time signatures; a bar begins where one starts.

    Args:
        start_ticks: 0..MAX_TICKS.
        numerator: 1..255.
        denominator: 1, 2, 4, 8, 16, 32 or 64.
    """

    __slots__ = ("denominator", "numerator")
    row = Meter
    table = (
        _START_TICKS,
        Column("numerator", np.uint8, 1, 255),
        Column("denominator", np.uint8, 1, 64),
    )
    numerator: NDArray[np.uint8]
    denominator: NDArray[np.uint8]

    def __init__(self, start_ticks: ArrayLike = (), numerator: ArrayLike = (), denominator: ArrayLike = ()) -> None:
        super().__init__(start_ticks, numerator, denominator)
        wrong = self.denominator[self.denominator & (self.denominator - 1) > 0]
        if wrong.size:
            raise InputError(f"Meters.denominator must be a power of two from 1 to 64, got {wrong[0]}")


class Keys(_Changes[Key]):
    """Key signatures.

    Args:
        start_ticks: 0..MAX_TICKS.
        sharps: -7 (seven flats) to 7.
        is_minor: 0 or 1.
    """

    __slots__ = ("is_minor", "sharps")
    row = Key
    table = (
        _START_TICKS,
        Column("sharps", np.int8, -7, 7),
        Column("is_minor", np.bool_, 0, 1),
    )
    sharps: NDArray[np.int8]
    is_minor: NDArray[np.bool_]

    def __init__(self, start_ticks: ArrayLike = (), sharps: ArrayLike = (), is_minor: ArrayLike = ()) -> None:
        super().__init__(start_ticks, sharps, is_minor)
