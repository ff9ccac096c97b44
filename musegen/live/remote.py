"""Remote control: what can be asked of a player from outside, as one table that OSC and HTTP both read."""

import math
import reprlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from musegen.errors import InputError, UnknownNameError

MAX_TEXT = 100
"""How many characters a text may have: no name is longer."""

_MAX_NAMES = 128
_WHOLE_BITS = 63

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class Player(Protocol):
    """What is controlled. Its methods may be called from any thread."""

    def start(self) -> None:
        """Plays, or goes on.

        Raises:
            InputError: it cannot now.
        """
        ...

    def stop(self) -> None:
        """Is silent until `start`.

        Raises:
            InputError: it cannot now.
        """
        ...

    def change(self, **wishes: object) -> None:
        """Changes what is wished for: all of it, or nothing if one of the values is not usable.

        Args:
            **wishes: any of `WISHES`, with values of the types that their readers return.

        Raises:
            InputError: a value is not usable.
        """
        ...

    def status(self) -> dict[str, object]:
        """Returns what plays and what is wished for: texts, numbers, None, and lists and dicts of these."""
        ...


Reader = Callable[[str, object], object]
"""Takes the name of a wish and what came, and returns the value, or raises InputError."""


def _text(name: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
        return value
    raise InputError(f"{name} is {_short.repr(value)}; allowed is a text of 1 to {MAX_TEXT} characters")


def _names(name: str, value: object) -> list[str]:
    """Reads ["piano", "violin"] and "piano, violin"."""
    names = [part.strip() for part in value.split(",", _MAX_NAMES)] if isinstance(value, str) else value
    if isinstance(names, list) and 0 < len(names) <= _MAX_NAMES:
        return [_text(name, part) for part in names]
    raise InputError(f"{name} is {_short.repr(value)}; allowed are up to {_MAX_NAMES} names")


def _number(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30:  # no NaN gets by
        return float(value)
    raise InputError(f"{name} is {_short.repr(value)}; allowed is a number")


def _whole(name: str, value: object) -> int:
    """Reads 3 and 3.0: a fader sends nothing but fractions."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, int) and not isinstance(number, bool) and number.bit_length() <= _WHOLE_BITS:
        return number
    raise InputError(f"{name} is {_short.repr(value)}; allowed is a whole number")


def _or_none(read: Reader) -> Reader:
    """Returns a reader that takes None as well: the choice is left to the model."""
    return lambda name, value: None if value is None else read(name, value)


VERBS: Mapping[str, Reader | None] = MappingProxyType(
    {
        "start": None,
        "stop": None,
        "status": None,
        "composer": _or_none(_text),
        "instruments": _or_none(_names),
        "key": _or_none(_text),
        "tempo": _or_none(_number),
        "meter": _or_none(_text),
        "density": _or_none(_text),
        "temperature": _number,
        "top_p": _number,
        "guidance": _number,
        "seed": _or_none(_whole),
        "bars": _or_none(_whole),
    }
)
"""What can be asked, and what reads its value: those with a reader are wishes, the others take no value."""

WISHES = tuple(verb for verb, read in VERBS.items() if read)


def read_wishes(wishes: Mapping[str, object]) -> dict[str, object]:
    """Returns wishes from outside with values of the right types; their ranges are the player's to know.

    Raises:
        InputError: there is no such wish, or a value is of the wrong type.
    """
    values = {}
    for name, value in wishes.items():
        read = VERBS.get(name)
        if read is None:
            raise UnknownNameError("wish", name[:MAX_TEXT], WISHES)
        values[name] = read(name, value)
    return values


def change(player: Player, wishes: Mapping[str, object]) -> dict[str, object]:
    """Changes what is wished for, all of it or nothing.

    Args:
        wishes: values by name, as they came from outside.

    Returns:
        The status afterwards.

    Raises:
        InputError: one of them is not usable; nothing has changed.
    """
    player.change(**read_wishes(wishes))
    return player.status()


def apply(player: Player, verb: str, value: object = None) -> dict[str, object]:
    """Does one thing that was asked for from outside.

    Args:
        verb: one of `VERBS`.
        value: of a wish. The other verbs need none; they take that of a button, and do nothing when it is 0, which is
            what buttons send when they are let go.

    Returns:
        The status afterwards.

    Raises:
        InputError: there is no such verb, or the value is not usable; nothing has changed.
    """
    if verb not in VERBS:
        raise UnknownNameError("verb", verb[:MAX_TEXT], VERBS)
    if VERBS[verb]:
        return change(player, {verb: value})
    if _is_pressed(verb, value):
        if verb == "start":
            player.start()
        elif verb == "stop":
            player.stop()
    return player.status()


def _is_pressed(verb: str, value: object) -> bool:
    if value is None or isinstance(value, bool):
        return value is not False
    if isinstance(value, int | float) and not math.isnan(value):
        return value != 0
    raise InputError(f"{verb} takes no value, got {_short.repr(value)}")


def checked_port(port: int) -> int:
    """Returns the number of a network port as it is.

    Raises:
        InputError: there is no such port.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"port is {port}; allowed are 0 to 65535, 0 for any that is free")
    return port


def cannot_listen(host: str, port: int, error: OSError) -> InputError:
    """Returns the error that says why nothing can be heard at an address."""
    return InputError(f"cannot listen at host {host!r}, port {port}: {error.strerror or error}")
