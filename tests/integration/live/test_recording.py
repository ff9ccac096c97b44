"""`record` writes what another program sends it, and `ports` shows it."""

import json

import pytest

from musegen.midi.score import Score
from tests.integration.live.studio import Studio, wait_until

pytestmark = pytest.mark.slow


def test_what_is_sent_is_recorded_and_the_port_is_listed(studio: Studio, dense_mid):
    source, take = dense_mid(8, 240), studio.folder / "take.mid"
    recorder = studio.musegen("record", "--virtual", "tape", "-o", take, "--tempo", 240)
    wait_until("it listens", lambda: "tape:tape" in studio.ports())
    listing = studio.musegen("ports", "--json")
    said, complaints = listing.communicate(timeout=20)
    assert listing.returncode == 0, complaints
    assert {"api": "jack", "direction": "output", "name": "tape:tape"} in json.loads(said)

    player = studio.musegen("play", source, "--port", "tape")
    assert player.wait(timeout=60) == 0
    recorder.send_signal(2)
    said, complaints = recorder.communicate(timeout=20)
    assert recorder.returncode == 0, complaints
    sent, taken = Score.read(source), Score.read(take)
    assert said == f"{take}: {sent.n_notes} notes\n"

    def heard(score: Score) -> list[tuple[int, int, int]]:
        """(nearest sixteenth, pitch, velocity) of all notes."""
        scale = 4 / score.ticks_per_quarter
        rows = [note for track in score.tracks for note in track.notes]
        return sorted((round(note.start_ticks * scale), note.pitch, note.velocity) for note in rows)

    assert heard(taken) == heard(sent)
    assert {track.program for track in taken.tracks} >= {0, 73}
