"""Music as messages in order of beats: what a scheduler plays."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import mido

from musegen.errors import InputError
from musegen.live.ports import Message
from musegen.midi.score import DRUM_CHANNEL, Score, Track

N_CHANNELS = 16
_TOO_MANY = "a port has no more channels: leave parts out, or write files and play them on several ports"


class Event(NamedTuple):
    """A message at a place in the music.

    Args:
        beat: quarters from the start.
        message: a channel message, or a meta message that sets the tempo.
    """

    beat: float
    message: Message


class Channels:
    """Which channel each part plays on: its own from the first time it is heard on, drums on channel 10.

    Args:
        taken: channels (0 to 15) that are somebody else's.
    """

    def __init__(self, taken: Iterable[int] = ()):
        self._taken = {*taken, DRUM_CHANNEL}
        self._of_part: dict[Hashable, int] = {}

    def of(self, part: Hashable) -> int:
        """Returns the channel of a part.

        Raises:
            InputError: there are more parts than channels.
        """
        if part not in self._of_part:
            free = next((channel for channel in range(N_CHANNELS) if channel not in self._taken), None)
            if free is None:
                raise InputError(f"instruments has more than {N_CHANNELS - 1} beside the drums; {_TOO_MANY}")
            self._taken.add(free)
            self._of_part[part] = free
        return self._of_part[part]

    def assigned(self, score: Score) -> Score:
        """Returns a score whose tracks have the channels of their parts: a part is a name and a program.

        Raises:
            InputError: there are more than 15 of them beside the drums.
        """
        tracks = [_on(track, DRUM_CHANNEL if track.is_drum else self.of(_part(track))) for track in score.tracks]
        return replace(score, tracks=tuple(tracks))


def _part(track: Track) -> Hashable:
    return track.name, track.program


def _on(track: Track, channel: int) -> Track:
    return replace(track, channel=channel, port=0)


def events_of(score: Score, start_beat: float = 0.0) -> list[Event]:
    """Returns the messages of a score in order: at one place ends of notes first, then programs, then new notes.

    Args:
        score: with channels or without; tracks without one get those that are free.
        start_beat: where its tick 0 comes.

    Raises:
        InputError: it has more parts than a port has channels.
    """
    return list(_events(score, start_beat))


def _events(score: Score, start_beat: float) -> Iterator[Event]:
    tick = 0
    for message in mido.merge_tracks(_on_one_port(score).to_mido().tracks, skip_checks=True):
        tick += message.time
        if not message.is_meta or message.type == "set_tempo":
            yield Event(start_beat + tick / score.ticks_per_quarter, message.copy(time=0))


def _on_one_port(score: Score) -> Score:
    """Returns a score whose tracks all have a channel of one port; those that have none get what is free."""
    channels = Channels(track.channel for track in score.tracks if track.port == 0 and track.channel is not None)
    tracks = []
    for place, track in enumerate(score.tracks):
        if track.is_drum:
            track = _on(track, DRUM_CHANNEL)
        elif track.channel is None:
            track = _on(track, channels.of(place))
        elif track.port:
            track = _on(track, channels.of((track.port, track.channel)))
        tracks.append(track)
    return replace(score, tracks=tuple(tracks))
