from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musegen.errors import InputError
from musegen.music.ngram import NGram

N_TOKENS = 5
TOKENS = st.lists(st.integers(0, N_TOKENS - 1), min_size=1, max_size=12).map(np.array)
PIECES = st.lists(TOKENS, min_size=1, max_size=4)


class SlowNGram:
    """The same formula in dictionaries, read off Chen and Goodman's equation."""

    def __init__(self, pieces, order):
        self.order = order
        raw = Counter()
        for piece in pieces:
            padded = [None] * (order - 1) + piece.tolist()
            raw.update(tuple(padded[i : i + order]) for i in range(len(piece)))
        self.counts = {order: raw}
        for k in range(order - 1, 0, -1):
            self.counts[k] = Counter(gram[1:] for gram in self.counts[k + 1])

    def p(self, token, context, k):
        if k == 0:
            return 1 / N_TOKENS
        context = context[len(context) - k + 1 :]
        lower = self.p(token, context, k - 1)
        counts = {gram[-1]: count for gram, count in self.counts[k].items() if gram[:-1] == tuple(context)}
        if not counts:
            return lower
        every = list(self.counts[k].values())
        discount = every.count(1) / (every.count(1) + 2 * every.count(2)) if 1 in every else 0.5
        shared = max(counts.get(token, 0) - discount, 0) + discount * len(counts) * lower
        return shared / sum(counts.values())

    def losses(self, tokens):
        padded = [None] * (self.order - 1) + tokens.tolist()
        return [
            -np.log(self.p(token, padded[i : i + self.order - 1], self.order))
            for i, token in enumerate(tokens.tolist())
        ]


@settings(deadline=None)
@given(PIECES, TOKENS, st.integers(1, 4))
def test_it_is_the_formula(pieces, tokens, order):
    np.testing.assert_allclose(
        NGram.fit(pieces, order, N_TOKENS).losses(tokens), SlowNGram(pieces, order).losses(tokens), rtol=1e-12
    )


@settings(deadline=None)
@given(PIECES, TOKENS, st.integers(1, 5))
def test_probabilities_sum_to_one_after_any_context(pieces, context, order):
    model = NGram.fit(pieces, order, N_TOKENS)
    losses = [model.losses(np.append(context, token))[-1] for token in range(N_TOKENS)]
    assert np.exp(np.negative(losses)).sum() == pytest.approx(1, abs=1e-12)


def test_the_unigram_is_counts_less_the_discount():
    model = NGram.fit([np.array([0, 0, 0, 1, 1, 2])], 1, N_TOKENS)
    discount = 1 / (1 + 2 * 1)
    rest = 3 * discount / 6 / N_TOKENS
    expected = [(3 - discount) / 6 + rest, (2 - discount) / 6 + rest, (1 - discount) / 6 + rest, rest, rest]
    np.testing.assert_allclose(np.exp(-model.losses(np.arange(N_TOKENS))), expected)


def test_pieces_do_not_run_into_each_other():
    rows = [np.array([0, 1]), np.array([2, 3])] * 3
    apart, joined = NGram.fit(rows, 2, N_TOKENS), NGram.fit([np.concatenate(rows)], 2, N_TOKENS)
    one_two = np.array([1, 2])
    assert joined.losses(one_two)[1] < apart.losses(one_two)[1]
    np.testing.assert_allclose(apart.losses(rows[0])[0], apart.losses(rows[1])[0])


def test_a_longer_memory_predicts_what_needs_it():
    piece = np.tile([0, 1, 0, 2, 0, 3], 50)
    by_order = [NGram.fit([piece], order, N_TOKENS).losses(piece[:60]).mean() for order in (1, 2, 3)]
    assert by_order[0] > by_order[1] > by_order[2]
    assert by_order[2] < 0.2


def test_order_five_fits_into_the_whole_vocabulary():
    tokens = np.random.default_rng(0).integers(0, 4172, 300)
    model = NGram.fit([tokens])
    assert model.order == 5
    assert model.losses(tokens).mean() < np.log(4172)


@pytest.mark.parametrize("order", [0, 6])
def test_an_order_that_does_not_fit_is_refused(order):
    with pytest.raises(InputError, match=f"order is {order}; allowed are 1 to 5 for 4172 tokens"):
        NGram.fit([np.array([1])], order, 4172)


def test_tokens_outside_the_vocabulary_are_refused():
    with pytest.raises(InputError, match="tokens holds 5; allowed are 0 to 4"):
        NGram.fit([np.array([1, 5])], 2, N_TOKENS)
    with pytest.raises(InputError, match="tokens holds -1"):
        NGram.fit([np.array([1])], 2, N_TOKENS).losses(np.array([-1]))


def test_no_token_at_all_is_refused():
    with pytest.raises(InputError, match="no token"):
        NGram.fit([np.zeros(0, dtype=np.uint16)], 2, N_TOKENS)
