"""Transports that are looked at whenever something is due: they tell where they are, and send no messages."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from musegen.live.transport import Line

_LONGEST_UNSEEN_SECONDS = 0.2  # it may have begun anywhere between two looks: what began since then is played, late
_JUMP_BEATS = 0.25  # a place that moves so far from what was expected has jumped


class LookedAt(ABC):
    """A `Transport` that asks somebody else where they are."""

    leads = False

    def __init__(self):
        self._expected: Line | None = None  # while it rolls
        self._looked = 0.0
        self._epoch, self._start_beat = 0, 0.0

    @abstractmethod
    def look(self) -> tuple[bool, Line]:
        """Returns whether they roll, and beats against seconds as they are now."""

    @property
    def line(self) -> Line:
        return self.look()[1]

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def start_beat(self) -> float:
        return self._start_beat

    def is_rolling(self, now: float) -> bool:
        rolls, line = self.look()
        unseen_seconds = min(line.seconds - self._looked, _LONGEST_UNSEEN_SECONDS)
        self._looked = line.seconds
        if not rolls:
            self._expected = None
            return False
        if self._expected is None or abs(self._expected.beat_at(line.seconds) - line.beat) > _JUMP_BEATS:
            began = line.beat - unseen_seconds / line.seconds_per_beat
            self._epoch, self._start_beat = self._epoch + 1, max(began, min(line.beat, 0.0))
        self._expected = line
        return True

    def tempo_change(self, beat: float, bpm: float) -> None:  # noqa: B027  (it is meant for all)
        """Lets it be: the tempo is somebody else's."""

    def listen(self, on_change: Callable[[], None]) -> None:  # noqa: B027
        """Does nothing: whoever plays looks often enough."""
