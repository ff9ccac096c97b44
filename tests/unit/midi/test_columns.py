"""Columns: checked, ordered, immutable."""

import copy
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.midi.columns import MAX_TICKS, Columns, Controls, Keys, Meters, Note, Notes, PitchBends, Tempos

KINDS: list[Columns] = [
    Notes([0, 5], [1, 2], [60, 61], [64, 65]),
    Controls([0, 5], [64, 64], [127, 0]),
    PitchBends([0, 5], [-8192, 8191]),
    Tempos([0, 5], [500_000, 250_000]),
    Meters([0, 5], [4, 3], [4, 8]),
    Keys([0, 5], [-3, 2], [False, True]),
]
every_kind = pytest.mark.parametrize("events", KINDS, ids=lambda events: type(events).__name__)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9), st.integers(0, 5), st.integers(1, 3)), max_size=30),
    st.randoms(use_true_random=False),
)
def test_notes_have_one_order(rows, random):
    shuffled = random.sample(rows, len(rows))
    notes = Notes(*np.array(shuffled, int).reshape(-1, 4).T)
    assert notes == Notes(*np.array(rows, int).reshape(-1, 4).T)
    assert list(notes) == sorted(map(Note._make, rows), key=lambda n: (n.start_ticks, n.pitch, n.duration_ticks, n[3]))


def test_controls_of_one_tick_keep_their_order():
    controls = Controls([9, 3, 3, 3], [7, 32, 0, 32], [1, 2, 3, 4])
    assert [tuple(c) for c in controls] == [(3, 32, 2), (3, 0, 3), (3, 32, 4), (9, 7, 1)]


def test_the_last_change_of_a_tick_counts():
    tempos = Tempos([4, 0, 4, 0], [400_000, 500_000, 300_000, 600_000])
    assert [tuple(t) for t in tempos] == [(0, 600_000), (4, 300_000)]
    assert tempos.bpm.tolist() == [100.0, 200.0]


def test_indexing():
    notes = Notes([0, 1, 2], [10, 10, 10], [60, 62, 64], [1, 2, 3])
    assert notes[1] == Note(1, 10, 62, 2) and notes[-1].end_ticks == 12
    assert type(notes[0].pitch) is int
    assert notes[notes.pitch > 60] == notes[1:] == notes[np.array([2, 1])]
    assert notes.end_ticks.tolist() == [10, 11, 12]
    with pytest.raises(IndexError):
        notes[3]


@every_kind
def test_immutable(events):
    with pytest.raises(AttributeError, match="cannot be changed"):
        events.start_ticks = np.zeros(2, int)
    for column in events.columns():
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_the_arrays_that_came_are_copied():
    start_ticks = np.zeros(1, np.int64)
    notes = Notes(start_ticks, [1], [60], [64])
    start_ticks[0] = 7
    assert notes[0].start_ticks == 0


@every_kind
def test_copies_and_process_pools_keep_value_and_immutability(events):
    through_pool = ForkingPickler.loads(ForkingPickler.dumps(events))
    for other in (copy.deepcopy(events), through_pool):
        assert other == events and hash(other) == hash(events)
        assert not any(column.flags.writeable for column in other.columns())


@every_kind
def test_joined_and_inequality(events):
    kind = type(events)
    assert events[:1].joined(events[1:]) == events == kind().joined(events)
    assert events != events[:1] and events != 3 and not len(kind())
    assert repr(events).startswith(f"{kind.__name__}(start_ticks=[0 5]")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Notes([-1], [1], [60], [64]), r"Notes.start_ticks must be 0..268435455, got -1"),
        (lambda: Notes([MAX_TICKS + 1], [1], [60], [64]), r"start_ticks must be 0..268435455, got 268435456"),
        (lambda: Notes([0], [-5], [60], [64]), r"duration_ticks must be .* got -5"),
        (lambda: Notes([0], [1], [128], [64]), r"Notes.pitch must be 0..127, got 128"),
        (lambda: Notes([0], [1], [60], [0]), r"Notes.velocity must be 1..127, got 0"),
        (lambda: Notes([0.5], [1], [60], [64]), r"start_ticks must be whole numbers, got float64"),
        (lambda: Notes([[0]], [1], [60], [64]), r"one-dimensional, got shape \(1, 1\)"),
        (lambda: Notes([0, 1], [1], [60], [64]), r"equally long, got start_ticks 2, duration_ticks 1, pitch 1"),
        (lambda: Tempos([0], [0]), r"us_per_quarter must be 1..16777215, got 0"),
        (lambda: Meters([0], [0], [4]), r"numerator must be 1..255, got 0"),
        (lambda: Meters([0], [4], [6]), r"denominator must be a power of two from 1 to 64, got 6"),
        (lambda: Meters([0], [4], [128]), r"denominator must be 1..64, got 128"),
        (lambda: Keys([0], [8], [0]), r"sharps must be -7..7, got 8"),
        (lambda: PitchBends([0], [8192]), r"value must be -8192..8191, got 8192"),
        (lambda: Controls([0], [128], [0]), r"number must be 0..127, got 128"),
    ],
)
def test_errors_name_the_column_the_value_and_the_range(make, message):
    with pytest.raises(InputError, match=message):
        make()
