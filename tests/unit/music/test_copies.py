import numpy as np
import pytest

from musegen.midi.instruments import DRUMS
from musegen.music import vocabulary as v
from musegen.music.copies import Fingerprints, joined, longest_copies, moves
from musegen.music.grid import GridScore

METER = v.meter_index("4/4")
TICKS = v.TICKS_PER_WHOLE


def a_grid(pitches, step=12, instrument=0, start=0):
    notes = [[start + step * i, instrument, pitch, step, 3] for i, pitch in enumerate(pitches)]
    n_bars = (start + step * len(pitches)) // TICKS + 1
    return GridScore(np.full(n_bars, METER), np.zeros(n_bars, int), np.array(notes).reshape(-1, 5))


def a_walk(seed, n=200):
    return np.random.default_rng(seed).integers(48, 84, n)


def slowly(row, known):
    """The longest run of equal moves, in notes, by comparing everything with everything."""
    longest = 0
    for i in range(len(row)):
        for j in range(len(known)):
            n = 0
            while i + n < len(row) and j + n < len(known) and row[i + n] == known[j + n]:
                n += 1
            longest = max(longest, n)
    return longest + 1 if longest else 0


def test_a_passage_counts_in_any_key_for_any_instrument_from_any_beat():
    tune = a_walk(1, 40)
    known = joined([moves(a_grid(np.concatenate([a_walk(2, 30), tune, a_walk(3, 30)])))])
    copy = a_grid(np.concatenate([a_walk(4, 10), tune - 5, a_walk(5, 10)]), instrument=7, start=18)
    same, otherwise = longest_copies([moves(copy), moves(a_grid(tune, step=18))], known)
    assert 40 <= same <= 42  # a note beside it may fit by chance
    assert otherwise == 0  # another rhythm


def test_drums_do_not_count():
    assert not len(moves(a_grid([36, 38, 42] * 20, instrument=DRUMS)))


@pytest.mark.parametrize("seed", range(8))
def test_all_pieces_at_once_are_as_by_comparing_everything(seed):
    rng = np.random.default_rng(seed)
    pieces = [rng.integers(0, 3, rng.integers(0, 60)).astype(np.uint32) + 5 for _ in range(5)]
    known = joined([rng.integers(0, 3, 50).astype(np.uint32) + 5 for _ in range(3)])
    np.testing.assert_array_equal(longest_copies(pieces, known), [slowly(piece, known) for piece in pieces])


def test_nothing_is_known():
    assert longest_copies([moves(a_grid(a_walk(1)))], joined([])).tolist() == [0]


@pytest.mark.parametrize("n_shared", [20, 29, 44, 60, 150])
def test_fingerprints_find_all_long_passages_and_no_short_ones(n_shared):
    corpus = [a_walk(seed) for seed in range(20)]
    known = Fingerprints.of([moves(a_grid(walk)) for walk in corpus], 29)
    assert known.n_surely_found == 44
    for number, walk in enumerate(corpus):
        own = np.concatenate([a_walk(100 + number, 50), walk[30 : 30 + n_shared], a_walk(200 + number, 50)])
        found = known.longest(a_grid(own + 3))
        assert found == 0 or found >= 29
        if n_shared < 27:  # notes beside the passage may fit by chance
            assert found == 0
        elif n_shared >= 44:
            assert n_shared - 2 * 16 <= found <= n_shared + 2


def test_fingerprints_of_nothing_find_nothing():
    assert Fingerprints.of([], 29).longest(a_grid(a_walk(1))) == 0
    assert Fingerprints.of([moves(a_grid(a_walk(1)))], 29).longest(a_grid([])) == 0
    assert Fingerprints.of([moves(a_grid(a_walk(1, 5)))], 29).longest(a_grid(a_walk(1, 5))) == 0


def test_fingerprints_seldom_find_what_is_not_there():
    known = Fingerprints.of([moves(a_grid(a_walk(seed, 1000))) for seed in range(100)], 29)
    assert sum(known.longest(a_grid(a_walk(1000 + seed, 500))) > 0 for seed in range(50)) == 0


def test_a_chord_that_is_repeated_is_nobodys():
    chords, walk = [60, 64, 67] * 60, a_walk(1, 60)
    known = Fingerprints.of([moves(a_grid(np.concatenate([chords, walk])))], 29)
    assert known.longest(a_grid(chords)) == 0
    assert known.longest(a_grid(np.concatenate([a_walk(2, 20), chords]))) == 0
    assert 28 <= known.longest(a_grid(np.concatenate([a_walk(3, 50), walk]))) <= 62
