"""Remote control by Open Sound Control over UDP, by python-osc (`pip install 'musegen[live]'`).

`/musegen/VERB value` does what `remote.VERBS` says, from `/musegen/start` to `/musegen/composer "bach"`; instruments
are one text with commas or one text each, and Nil leaves a choice to the model. The sender is answered with
`/musegen/status` and names and values in turn, or with `/musegen/error` and why nothing has changed. Time tags are
ignored: what comes is done at once.
"""

import json
import logging
import math
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from musegen.errors import InputError, MusegenError
from musegen.live.remote import MAX_TEXT, VERBS, Player, apply, cannot_listen, checked_port

try:
    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_message import OscMessage, ParseError
    from pythonosc.osc_message_builder import OscMessageBuilder
    from pythonosc.osc_server import BlockingOSCUDPServer
    from pythonosc.parsing import osc_types
except ImportError:
    raise InputError("OSC needs python-osc: pip install 'musegen[live]'") from None

DEFAULT_PORT = 8766
_PREFIX = "/musegen/"
_ERROR = "/musegen/error"
_BUNDLE = b"#bundle\0"
_BUNDLE_HEADER = 16  # the word and a time tag
_MAX_DEPTH = 8  # of bundles in bundles
_TAGS = frozenset("ihfdsTFN")
_MAX_FLOAT = 3e38
_POLL_SECONDS = 0.05
_BUFFER_BYTES = 1 << 20  # what comes at a stretch waits here, as far as the system allows

_log = logging.getLogger(__name__)


class OscServer:
    """Hears OSC in a thread of its own until `close`.

    Args:
        player: what is controlled.
        host: address to listen at; those of other computers hear nothing at "127.0.0.1".
        port: UDP port; 0 takes any that is free.

    Raises:
        InputError: the address cannot be listened at.
    """

    def __init__(self, player: Player, host: str = "127.0.0.1", port: int = DEFAULT_PORT):
        self._player = _Controlled(player)
        try:
            self._server = _Server((host, checked_port(port)), self._player)
        except OSError as error:
            raise cannot_listen(host, port, error) from None
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="musegen osc", daemon=True
        )
        self._thread.start()

    @property
    def n_done(self) -> int:
        """How many messages were done."""
        return self._player.n_done

    @property
    def n_refused(self) -> int:
        """How many messages and packets were refused."""
        return self._player.n_refused

    def close(self) -> None:
        """Ends the thread and lets go of the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(BlockingOSCUDPServer):
    """Gives every packet to the dispatcher, malformed ones too, and outlives whatever goes wrong with one."""

    max_packet_size = 65535  # a longer packet than this would come cut off

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.exception("an OSC packet could not be answered")


class _Controlled(Dispatcher):
    """Answers packets by what a player says."""

    def __init__(self, player: Player):
        super().__init__()
        self._player = player
        self.n_done = self.n_refused = 0

    def call_handlers_for_packet(self, data: bytes, client_address: Any) -> list[tuple[Any, ...]]:
        """Returns the answers to a packet: it is read to its end before the first of its messages is done."""
        try:
            messages = [_read(element) for element in _elements(data)]
        except InputError as error:
            self.n_refused += 1
            return [(_ERROR, str(error))]
        return [answer for address, values in messages if (answer := self._answer(address, values))]

    def _answer(self, address: str, values: list[object]) -> tuple[Any, ...] | None:
        if address == _ERROR:  # two that answer each other's errors would go on for ever
            self.n_refused += 1
            return None
        try:
            status = apply(self._player, *_asked(address, values))
        except MusegenError as error:
            self.n_refused += 1
            return (_ERROR, str(error))
        except Exception as error:
            self.n_refused += 1
            _log.exception("%s failed", address)
            return (_ERROR, f"internal error ({type(error).__name__})")
        self.n_done += 1
        return (f"{_PREFIX}status", *_flat(status))


def _elements(packet: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yields the messages of a packet. python-osc's own reader never ends where a size is negative."""
    if not packet.startswith(_BUNDLE):
        yield packet
        return
    if depth == _MAX_DEPTH or len(packet) < _BUNDLE_HEADER:
        raise InputError("the OSC packet is malformed: no whole bundle, or too many in each other")
    at = _BUNDLE_HEADER
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4], "big")
        at += 4
        if at + size > len(packet):
            raise InputError("the OSC packet is malformed: a bundle's element does not end in it")
        yield from _elements(packet[at : at + size], depth + 1)
        at += size


def _read(message: bytes) -> tuple[str, list[object]]:
    """Returns the address and the values of a message that is exactly as the format says."""
    try:
        address, at = osc_types.get_string(message, 0)
        tags = osc_types.get_string(message, at)[0] if at < len(message) else ","
        if address.startswith("/") and tags.startswith(",") and set(tags[1:]) <= _TAGS:
            values = OscMessage(message).params
            # python-osc fills up what is cut off: written again, a whole message is the same.
            if message in (_written(address, tags[1:], values), osc_types.write_string(address)):
                return address, values
    except (ParseError, osc_types.ParseError, osc_types.BuildError, UnicodeError, ValueError, struct.error):
        pass
    raise InputError("the OSC packet is malformed: a message has an address, its types and a value of each type")


def _written(address: str, tags: str, values: list[Any]) -> bytes:
    builder = OscMessageBuilder(address)
    for tag, value in zip(tags, values, strict=True):
        builder.add_arg(value, tag)
    return builder.build().dgram


def _asked(address: str, values: list[object]) -> tuple[str, object]:
    """Returns the verb and the value of a message."""
    verb = address.removeprefix(_PREFIX)
    if verb == address or verb not in VERBS:
        raise InputError(f"address is {address[:MAX_TEXT]!r}; allowed are {_PREFIX} and {', '.join(VERBS)}")
    if VERBS[verb] is None and not values:
        return verb, None
    if verb == "instruments" and len(values) > 1:
        return verb, values
    if len(values) != 1:
        raise InputError(f"{verb} came with {len(values)} values; allowed is one")
    return verb, values[0]


def _flat(status: Mapping[str, object], before: str = "") -> Iterator[str | int | float | None]:
    """Yields names and values in turn, of what a part holds as "part/name"."""
    for name, value in status.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}/")
            continue
        yield before + name
        match value:
            case None | bool() | str():
                yield value
            case int() if value.bit_length() <= 63:
                yield value
            case float():
                yield value if math.isfinite(value) and abs(value) < _MAX_FLOAT else None
            case list() | tuple() if all(isinstance(item, str) for item in value):
                yield ", ".join(value)
            case _:
                yield json.dumps(value, default=str)
