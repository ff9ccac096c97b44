"""The JACK server, watched through a client of its own: whether it runs, and when it goes."""

from collections.abc import Callable
from typing import Any


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

    def close(self) -> None:
        """Lets go of a server that still runs."""
        self._client.deactivate()
        self._client.close()


def _jack() -> Any:
    """Returns the library's module, silenced: what it prints would lie across what a user reads."""
    import jack

    jack.set_error_function(lambda message: None)
    jack.set_info_function(lambda message: None)
    return jack
