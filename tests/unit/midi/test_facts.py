"""Facts about a hand-made score."""

import json

import pytest

from musegen.midi.facts import facts, key_name
from musegen.midi.score import Controls, Key, Keys, Meters, Notes, Score, Tempos, Track


def test_facts():
    score = Score(
        480,
        (
            Track(
                "Vln", 40, False, Notes([0, 480], [480, 2400], [67, 69], [80, 90]), Controls([0], [7], [99]), channel=2
            ),
            Track("", 0, True, Notes([0], [10], [36], [100])),
        ),
        tempos=Tempos([1440], [1_000_000]),
        meters=Meters([0, 1440], [3, 6], [4, 8]),
        keys=Keys([0], [-2], [True]),
        texts=((240, "here"),),
        name="Song",
        left_out={"stray_note_offs": 2},
    )
    assert facts(score) == {
        "name": "Song",
        "duration_seconds": 4.5,
        "duration_quarters": 6.0,
        "n_bars": 2,
        "n_notes": 3,
        "ticks_per_quarter": 480,
        "tempos": [{"start_quarters": 0.0, "bpm": 120.0}, {"start_quarters": 3.0, "bpm": 60.0}],
        "meters": [{"start_quarters": 0.0, "meter": "3/4"}, {"start_quarters": 3.0, "meter": "6/8"}],
        "keys": [{"start_quarters": 0.0, "key": "G minor"}],
        "texts": [{"start_quarters": 0.5, "kind": "marker", "text": "here", "track": None}],
        "tracks": [
            {
                "name": "Vln", "instrument": "violin", "program": 40, "channel": 3, "is_drum": False,
                "n_notes": 2, "n_others": 1, "lowest": 67, "highest": 69,
            },
            {
                "name": "", "instrument": "drums", "program": 0, "channel": None, "is_drum": True,
                "n_notes": 1, "n_others": 0, "lowest": 36, "highest": 36,
            },
        ],
        "left_out": {"stray_note_offs": 2},
    }  # fmt: skip
    assert json.loads(json.dumps(facts(score))) == facts(score)


def test_an_empty_score():
    described = facts(Score(96, (Track("x", 5, False, Notes()),)))
    assert (described["duration_seconds"], described["n_bars"], described["n_notes"]) == (0.0, 0, 0)
    assert described["tracks"][0]["lowest"] is None
    assert json.dumps(described)


@pytest.mark.parametrize(
    ("sharps", "is_minor", "name"),
    [(0, False, "C major"), (0, True, "A minor"), (-7, False, "Cb major"), (7, True, "A# minor"), (2, True, "B minor")],
)
def test_key_names(sharps, is_minor, name):
    assert key_name(Key(0, sharps, is_minor)) == name
