"""Ardour, a DAW: it records exactly what musegen plays to it."""

from pathlib import Path

import mido
import numpy as np
import pytest

from tests.integration.live.studio import PERIOD_SECONDS, Studio, is_end, is_onset, record_in_ardour

pytestmark = pytest.mark.slow

_Rows = dict[tuple[int, int], list[tuple[float, float, int]]]


def notes_of(path: Path) -> _Rows:
    """(onset and end in seconds, velocity) of the notes of each channel and pitch, by another library."""
    now, sounding, found = 0.0, {}, {}
    for message in mido.MidiFile(path):
        now += message.time
        if is_onset(message):
            sounding[message.channel, message.note] = now, message.velocity
        elif is_end(message):
            start, velocity = sounding.pop((message.channel, message.note))
            found.setdefault((message.channel, message.note), []).append((start, now, velocity))
    assert not sounding
    return found


def controls_of(path: Path) -> list[list[int]]:
    kinds = ("control_change", "program_change")
    return sorted(message.bytes() for message in mido.MidiFile(path) if message.type in kinds)


def test_ardour_records_exactly_what_was_sent(studio: Studio, dense_mid, need):
    need("ardour7-lua")
    sent = dense_mid(8, 240)
    session, report = record_in_ardour(studio, sent)
    (recorded,) = session.glob("interchange/*/midifiles/*.mid")
    before, after = notes_of(sent), notes_of(recorded)
    assert {key: len(rows) for key, rows in after.items()} == {key: len(rows) for key, rows in before.items()}
    pairs = np.array([(old, new) for key, rows in before.items() for old, new in zip(rows, after[key], strict=True)])
    assert (pairs[:, 0, 2] == pairs[:, 1, 2]).all(), "velocities"
    delays = (pairs[:, 1, :2] - pairs[:, 0, :2]).ravel()
    allowed = 2 * PERIOD_SECONDS + report["late_max_ms"] / 1000 + 0.005
    low, high = np.percentile(delays, [2.5, 97.5])
    assert high - low < allowed, "onsets and ends"
    taken = controls_of(recorded)
    for wanted in controls_of(sent):
        taken.remove(wanted)
    # What ends all notes, and the bank (0, 32) that Ardour writes before each program.
    assert {control[1] for control in taken} == {123, 120, 0, 32}
