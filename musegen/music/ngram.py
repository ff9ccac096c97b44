"""Baselines that need no training: n-grams of tokens with interpolated Kneser-Ney smoothing (Chen and Goodman 1999).

An n-gram is one integer, its tokens the digits, the last token the lowest. The sorted array of all that occur answers
everything: those that continue a context stand side by side in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from musegen.errors import InputError
from musegen.music import vocabulary as v

_UNESTIMATED_DISCOUNT = 0.5  # where no n-gram occurs once: without a discount, what never occurred would be impossible


@dataclass(frozen=True, eq=False)
class NGram:
    """How likely a token is after the `order - 1` before it, from counts.

    With h the k - 1 tokens before w, h' the same without the first, and u = 1 / n_tokens below order 1,

        p_k(w | h) = (max(c_k(hw) - d_k, 0) + d_k N_k(h) p_{k-1}(w | h')) / c_k(h),

    where c_k is how often an n-gram occurs (k = order) or how many different tokens stand before it (k < order), c_k(h)
    its sum over w, N_k(h) how many w have c_k(hw) > 0, and d_k = n1 / (n1 + 2 n2) with n1, n2 how many k-grams have a
    count of one and two. After a context that never occurred, p_k is p_{k-1}.

    Args:
        order: tokens in an n-gram; 1 is the unigram.
        n_tokens: size of the vocabulary; one more id stands in front of a sequence.
        keys: for k = 1..order, the k-grams that occur, ascending int64.
        sums: for k = 1..order, the sum of the counts before each k-gram, and of all.
        discounts: for k = 1..order, d_k.
    """

    order: int
    n_tokens: int
    keys: tuple[np.ndarray, ...]
    sums: tuple[np.ndarray, ...]
    discounts: tuple[float, ...]

    @classmethod
    def fit(cls, pieces: Iterable[np.ndarray], order: int = 5, n_tokens: int = v.N_TOKENS) -> "NGram":
        """Counts the n-grams of sequences, each of which begins with `order - 1` start symbols.

        Args:
            pieces: the tokens of each sequence (n,), with whatever ends it.
            order: 1 or more.
            n_tokens: size of the vocabulary.

        Raises:
            InputError: the order is out of range, a token is, or there is no token.
        """
        base = n_tokens + 1
        if order < 1 or base**order >= 2**63:
            highest = next(k for k in range(63, 0, -1) if base**k < 2**63)
            raise InputError(f"order is {order}; allowed are 1 to {highest} for {n_tokens} tokens")
        parts = [_n_grams(np.asarray(piece), order, n_tokens) for piece in pieces]
        counted = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
        del parts  # as large as what they were joined into
        if not len(counted):
            raise InputError("pieces hold no token; at least one is needed")
        keys, sums, discounts = [], [], []
        for k in range(order, 0, -1):
            counted.sort()
            firsts = np.flatnonzero(np.concatenate([[True], counted[1:] != counted[:-1]]))
            keys.append(counted[firsts])
            # In the sorted array, where an n-gram first stands is how many stand before it.
            sums.append(np.append(firsts, len(counted)))
            discounts.append(_discount(np.diff(sums[-1])))
            counted = keys[-1] % base ** (k - 1)  # each once for every token before it
        return cls(order, n_tokens, tuple(keys[::-1]), tuple(sums[::-1]), tuple(discounts[::-1]))

    def losses(self, tokens: np.ndarray) -> np.ndarray:
        """Returns -log p in nats (n,) float64 of each token of one sequence (n,), given those before it.

        Raises:
            InputError: a token is out of range.
        """
        # Repetition is what music is made of: each n-gram is looked up once, in ascending order, near the one before.
        n_grams, places = np.unique(_n_grams(np.asarray(tokens), self.order, self.n_tokens), return_inverse=True)
        base = self.n_tokens + 1
        p = np.full(len(n_grams), 1 / self.n_tokens)
        for k, (keys, sums, discount) in enumerate(zip(self.keys, self.sums, self.discounts, strict=True), start=1):
            wanted = n_grams % base**k
            context = wanted - wanted % base
            first, last = np.searchsorted(keys, context), np.searchsorted(keys, context + base)
            place = np.searchsorted(keys, wanted)
            occurs = keys[np.minimum(place, len(keys) - 1)] == wanted
            count = np.where(occurs, sums[np.minimum(place + 1, len(keys))] - sums[place], 0)
            total = sums[last] - sums[first]
            shared = np.maximum(count - discount, 0) + discount * (last - first) * p
            p = np.where(total > 0, shared / np.maximum(total, 1), p)
        return -np.log(p)[places]

    def distribution(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the probability (n_tokens,) of each token to follow those of a sequence (n,), which may be none.

        Raises:
            InputError: a token is out of range.
        """
        base = self.n_tokens + 1
        # A last token of any kind, for the n-gram that it would end; its place is the lowest digit, which is cut off.
        newest = np.append(np.asarray(tokens, dtype=np.int64)[max(len(tokens) - self.order + 1, 0) :], 0)
        number = int(_n_grams(newest, self.order, self.n_tokens)[-1])
        p = np.full(self.n_tokens, 1 / self.n_tokens)
        for k, (keys, sums, discount) in enumerate(zip(self.keys, self.sums, self.discounts, strict=True), start=1):
            context = number % base**k
            first, last = np.searchsorted(keys, [context, context + base])
            if last > first:
                p *= discount * (last - first)
                p[keys[first:last] - context] += np.maximum(np.diff(sums[first : last + 1]) - discount, 0)
                p /= sums[last] - sums[first]
        return p


def _n_grams(tokens: np.ndarray, order: int, n_tokens: int) -> np.ndarray:
    """Returns for each token (n,) the n-gram that it ends, as a number to the base n_tokens + 1."""
    wrong = (tokens < 0) | (tokens >= n_tokens)
    if wrong.any():
        raise InputError(f"tokens holds {tokens[wrong][0]}; allowed are 0 to {n_tokens - 1}")
    padded = np.concatenate([np.full(order - 1, n_tokens), tokens]).astype(np.int64)
    numbers = np.zeros(len(tokens), dtype=np.int64)
    for first in range(order):
        numbers = numbers * (n_tokens + 1) + padded[first : first + len(tokens)]
    return numbers


def _discount(counts: np.ndarray) -> float:
    n_once, n_twice = int((counts == 1).sum()), int((counts == 2).sum())
    return n_once / (n_once + 2 * n_twice) if n_once else _UNESTIMATED_DISCOUNT
