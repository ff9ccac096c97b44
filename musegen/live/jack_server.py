"""The JACK server, by a client of its own: whether it runs, when it goes, and where its transport is."""

import contextlib
import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musegen.errors import PortError
from musegen.live.clock import Clock
from musegen.live.looking import LookedAt
from musegen.live.transport import Line


class JackServer:
    """A connection to the JACK server of this computer, open until `close`.

    Args:
        on_gone: called once, in a thread of JACK's, when the server ends.

    Raises:
        OSError: no server runs, or JACK is not installed.
    """

    def __init__(self, on_gone: Callable[[], None]):
        jack = _jack()
        try:
            self._client: Any = jack.Client("musegen-watch", no_start_server=True)
        except jack.JackError as error:
            raise OSError(str(error)) from None
        self._client.set_shutdown_callback(lambda status, reason: on_gone())
        self._client.activate()

    @staticmethod
    def runs() -> bool:
        """Returns whether a server runs."""
        try:
            JackServer(lambda: None).close()
        except OSError:
            return False
        return True

    def transport(self) -> tuple[bool, float, float | None]:
        """Returns whether the server's transport rolls, its seconds from the start, and its tempo if anyone tells."""
        state, position = self._client.transport_query()
        rolls = state == _jack().ROLLING
        seconds = self._client.transport_frame / self._client.samplerate
        return rolls, seconds, position.get("beats_per_minute")

    def close(self) -> None:
        """Lets go of a server that still runs."""
        self._client.deactivate()
        self._client.close()


class JackTransport(LookedAt):
    """A `Transport` that goes with the transport of the JACK server.

    Args:
        clock: whose seconds.
        bpm: the tempo where nobody leads the server's beats.

    Raises:
        PortError: no server runs.
    """

    def __init__(self, clock: Clock, bpm: float = 120.0):
        super().__init__()
        self._clock, self._bpm = clock, bpm
        self._has_ended = threading.Event()
        try:
            self._server = JackServer(self._has_ended.set)
        except OSError as error:
            raise PortError(f"follow is 'jack', and no JACK server runs: {error}") from None

    def look(self) -> tuple[bool, Line]:
        if self._has_ended.is_set():
            return False, Line(0.0, self._clock.now(), 60.0 / self._bpm)
        rolls, seconds, bpm = self._server.transport()
        bpm = bpm or self._bpm
        return rolls, Line(seconds * bpm / 60.0, self._clock.now(), 60.0 / bpm)

    def close(self) -> None:
        """Lets go of the server."""
        if not self._has_ended.is_set():
            self._server.close()


def silence_jack() -> None:
    """Keeps the JACK libraries of this process from printing: it would lie across what a user reads.

    python-rtmidi brings one of its own and has no function for this, so it is found among what is loaded.
    """
    with contextlib.suppress(OSError):
        loaded = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        for path in {line.split()[-1] for line in loaded if "libjack" in line}:
            library = ctypes.CDLL(path)
            library.jack_set_error_function(_SILENT)
            library.jack_set_info_function(_SILENT)


_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda message: None)


def _jack() -> Any:
    """Returns the library's module."""
    import jack

    silence_jack()
    return jack
