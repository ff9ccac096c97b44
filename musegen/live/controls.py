"""Wishes changed by the knobs of a MIDI keyboard: the general purpose controllers 16, 17 and 18."""

from collections.abc import Sequence
from contextlib import suppress

from musegen.errors import InputError
from musegen.live.ports import Message
from musegen.live.stream import Stream
from musegen.music.vocabulary import DENSITIES

TEMPERATURE, DENSITY, COMPOSER = 16, 17, 18
"""The controllers' numbers."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.5, 1.5


class Knobs:
    """Turns controllers into wishes: 16 is the temperature from 0.5 to 1.5, 17 the density, 18 the composer.

    Args:
        stream: whose wishes.
        composers: the names over which controller 18 goes, from 0 to 127.
    """

    def __init__(self, stream: Stream, composers: Sequence[str]):
        self._stream, self._composers = stream, composers

    def receive(self, message: Message, seconds: float) -> None:
        """Takes what comes in; all but the three controllers is left alone."""
        if message.type != "control_change":
            return
        share = message.value / 127
        wishes: dict[int, tuple[str, object]] = {
            TEMPERATURE: ("temperature", round(MIN_TEMPERATURE + share * (MAX_TEMPERATURE - MIN_TEMPERATURE), 2)),
            DENSITY: ("density", _at(share, DENSITIES)),
            COMPOSER: ("composer", _at(share, self._composers)),
        }
        if message.control in wishes:
            name, value = wishes[message.control]
            with suppress(InputError):  # a writer that has no such wish
                self._stream.change(**{name: value})


def _at(share: float, names: Sequence[str]) -> str:
    return names[min(int(share * len(names)), len(names) - 1)]
