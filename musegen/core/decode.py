"""Generation of token sequences as an iterator that can be closed at any point.

Three parts meet here, and know nothing of each other: an `Engine` gives logits, a `Guide` for each sequence says what
is fed to the engine and which tokens may come next, and a `Sampling` says how a token is drawn. `decode` runs many
sequences (rows) side by side. They may differ in length, and a row's tokens do not depend on the rows beside it.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from musegen.core.sampling import Sampling
from musegen.errors import InputError


class Engine(Protocol):
    """A sequence model with a cache of a fixed number of rows and positions."""

    @property
    def max_positions(self) -> int:
        """The number of inputs that a row can hold."""
        ...

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        """Start `rows` anew with `inputs` (R, T, K) int64; return the logits (R, V) of what follows."""
        ...

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        """Append one input (B, K) int64 to every row; return the logits (B, V) of what follows.

        Rows where `active` (B,) bool is False stay as they are, and their logits mean nothing.

        Raises:
            InputError: an active row is full.
        """
        ...


def check_room(positions: np.ndarray, active: np.ndarray, max_positions: int) -> None:
    """Refuses a step of rows that are full, which would write over or behind what they hold.

    Args:
        positions: (B,) how many inputs each row of an engine holds.
        active: (B,) bool, which of them are to hold one more.
        max_positions: how many a row can hold.

    Raises:
        InputError: an active row is full.
    """
    if (positions[active] >= max_positions).any():
        raise InputError(f"a row holds {max_positions} inputs already, which is all that it can")


class Guide(Protocol):
    """What one row may become: its prompt, the grammar of its tokens and the inputs that go with them."""

    def prompt(self) -> np.ndarray:
        """The inputs (T, K) int64 to start from, or to start again from with everything pushed so far.

        Called once at the start, and whenever the row is full: it must then be shorter than `max_positions`.
        """
        ...

    def allowed(self) -> np.ndarray:
        """(V,) bool, the tokens that may come next; at least one is True."""
        ...

    def weigh(self, logits: np.ndarray) -> np.ndarray:
        """Given the model's logits (V,), return those by which one of the allowed tokens is drawn."""
        ...

    def push(self, token: int) -> np.ndarray | None:
        """Take the next token; return its inputs (K,) int64, or None if the row is finished."""
        ...


@dataclass(frozen=True)
class Step:
    """What one turn of `decode` drew.

    Args:
        tokens: a token for each row, None for rows that were finished before.
        log_probabilities: natural logarithm of each token's probability among the allowed ones, as they are weighed, at
            temperature 1 and before top-k and top-p; None where there is no token.
    """

    tokens: list[int | None]
    log_probabilities: list[float | None]


def decode(
    engine: Engine, guides: Sequence[Guide], sampling: Sampling | None = None, seed: int = 0
) -> Generator[Step, None, None]:
    """Generate one sequence for each guide.

    Args:
        engine: has as many rows as there are guides.
        guides: one a row, at least one.
        sampling: how tokens are drawn; None draws from the model's own distribution.
        seed: 0 or more; the same seed gives the same tokens. Every row draws from a generator of its own, seeded by
            (seed, row).

    Yields:
        One `Step` for each token, until every row is finished.

    Raises:
        InputError: if a prompt does not fit, or a guide allows nothing.
    """
    generators = [np.random.default_rng((seed, row)) for row in range(len(guides))]
    sampling = sampling or Sampling()
    rows = _Rows(engine, guides)
    with torch.inference_mode():
        logits = rows.start()
    live = [True] * len(guides)
    while any(live):
        # Not around the yield: the caller's own code must not run in inference mode.
        with torch.inference_mode():
            step, inputs = _draw(logits, guides, live, generators, sampling)
        yield step
        live = [i is not None for i in inputs]
        if any(live):
            with torch.inference_mode():
                logits = rows.advance(inputs)


def _draw(
    logits: Tensor, guides: Sequence[Guide], live: list[bool], generators: list[np.random.Generator], sampling: Sampling
) -> tuple[Step, list[np.ndarray | None]]:
    """Draw a token for each live row, and push it to its guide."""
    tokens: list[int | None] = [None] * len(guides)
    log_probabilities: list[float | None] = [None] * len(guides)
    inputs: list[np.ndarray | None] = [None] * len(guides)
    all_logits = logits.float().cpu().numpy()
    for row, guide in enumerate(guides):
        if not live[row]:
            continue
        allowed = np.flatnonzero(guide.allowed())
        if not len(allowed):
            raise InputError(f"the guide of row {row} allows no token; at least one must be allowed")
        allowed_logits = guide.weigh(all_logits[row])[allowed]  # mostly a small part of the vocabulary
        drawn = sampling.draw(allowed_logits, generators[row])
        token = tokens[row] = int(allowed[drawn])
        above = allowed_logits - allowed_logits[drawn]
        most = above.max()
        log_probabilities[row] = -float(most + np.log(np.exp(above - most).sum()))
        inputs[row] = guide.push(token)
    return Step(tokens, log_probabilities), inputs


class _Rows:
    """Feeds the engine, and knows how many positions of each row are taken."""

    def __init__(self, engine: Engine, guides: Sequence[Guide]):
        self.engine, self.guides, self.max_positions = engine, guides, engine.max_positions
        self.lengths = [0] * len(guides)

    def start(self) -> Tensor:
        """Fill every row with its prompt; return the logits (B, V)."""
        parts = self._prefill(list(range(len(self.guides))), self.max_positions)
        return torch.cat([logits for _, logits in parts])

    def advance(self, inputs: list[np.ndarray | None]) -> Tensor:
        """Feed one input (K,) to each row that has one; rows that are full start again from a shorter prompt."""
        live = {row: i for row, i in enumerate(inputs) if i is not None}
        full = [row for row in live if self.lengths[row] >= self.max_positions]
        parts = self._prefill(full, self.max_positions - 1)
        fed = {row: i for row, i in live.items() if row not in full}
        if fed:
            logits = self._step(fed)
        else:
            first = parts[0][1]
            logits = first.new_zeros(len(inputs), first.shape[-1])
        for rows, part in parts:
            logits[rows] = part
        return logits

    def _step(self, inputs: dict[int, np.ndarray]) -> Tensor:
        width = len(next(iter(inputs.values())))
        batch = np.zeros((len(self.guides), width), dtype=np.int64)
        active = np.zeros(len(self.guides), dtype=bool)
        for row, i in inputs.items():
            batch[row], active[row] = i, True
            self.lengths[row] += 1
        return self.engine.step(torch.from_numpy(batch), torch.from_numpy(active))

    def _prefill(self, rows: list[int], limit: int) -> list[tuple[slice, Tensor]]:
        """Start rows from their guides' prompts, neighbours of one length together; return their logits (R, V)."""
        prompts = {row: np.asarray(self.guides[row].prompt(), dtype=np.int64) for row in rows}
        runs: list[list[int]] = []
        for row, prompt in prompts.items():
            if not 1 <= len(prompt) <= limit:
                raise InputError(f"the prompt of row {row} must have 1 to {limit} positions, got {len(prompt)}")
            self.lengths[row] = len(prompt)
            if runs and runs[-1][-1] == row - 1 and len(prompts[row - 1]) == len(prompt):
                runs[-1].append(row)
            else:
                runs.append([row])
        parts = []
        for run in runs:
            inputs = torch.from_numpy(np.stack([prompts[row] for row in run]))
            where = slice(run[0], run[-1] + 1)
            parts.append((where, self.engine.prefill(inputs, where)))
        return parts
