"""What kind an object is, told without importing its library."""

from typing import Any

from musegen.errors import InputError


def kinds(thing: Any) -> list[tuple[str, str]]:
    """Returns the package and the name of an object's class and of all that this is made from."""
    return [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(thing).__mro__]


def check_kind(thing: Any, package: str, *names: str) -> None:
    """Checks that an object is of one of a package's classes.

    Raises:
        InputError: it is not.
    """
    if not any((package, name) in kinds(thing) for name in names):
        allowed = " or ".join(f"{package}.{name}" for name in names)
        raise InputError(f"a {allowed} is wanted, got a {type(thing).__name__}")
