"""Decoding with mock engines: uniform logits, and logits that tell what the engine was fed."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from musegen.core.decode import Step, decode
from musegen.core.sampling import Sampling
from musegen.core.sparsity import Fixed
from musegen.core.transformer import Block
from musegen.errors import InputError

V = 10


@dataclass
class UniformEngine:
    """Every token is equally likely. It remembers what each row holds."""

    n_rows: int
    max_positions: int = 64
    rows: list[list[tuple[int, ...]]] = field(init=False)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.rows = [[] for _ in range(self.n_rows)]

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        self.calls.append(f"prefill {rows.start}:{rows.stop}")
        for row, prompt in zip(range(rows.start, rows.stop), inputs.tolist(), strict=True):
            self.rows[row] = [tuple(i) for i in prompt]
        return torch.zeros(inputs.shape[0], V)

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        self.calls.append("step")
        for row, i in enumerate(inputs.tolist()):
            if active[row]:
                self.rows[row].append(tuple(i))
                assert len(self.rows[row]) <= self.max_positions
        return torch.zeros(self.n_rows, V)


@dataclass
class CountingGuide:
    """Asks for `n_tokens` tokens, each with the parity of its place; the inputs are (token, place)."""

    n_tokens: int
    n_prompt: int = 3
    keep: int = 4
    pushed: list[int] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)

    def prompt(self) -> np.ndarray:
        history = [(0, 0)] * self.n_prompt + [(token, i) for i, token in enumerate(self.pushed)]
        history = history if not self.prompts else history[-self.keep :]
        self.prompts.append(len(history))
        return np.array(history, dtype=np.int64)

    def allowed(self) -> np.ndarray:
        return np.arange(V) % 2 == len(self.pushed) % 2

    def weigh(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def push(self, token: int) -> np.ndarray | None:
        self.pushed.append(token)
        return None if len(self.pushed) == self.n_tokens else np.array([token, len(self.pushed) - 1])


def run(n_tokens: list[int], seed: int = 0, **settings) -> list[list[int]]:
    guides = [CountingGuide(n, n_prompt=1 + n % 3) for n in n_tokens]
    for _ in decode(UniformEngine(len(guides)), guides, Sampling(**settings), seed):
        pass
    return [guide.pushed for guide in guides]


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.1}, {"temperature": 5.0}])
def test_guides_are_obeyed(settings: dict):
    for tokens in run([50] * 20, **settings):
        assert [token % 2 for token in tokens] == [i % 2 for i in range(50)]


def test_steps_have_one_token_for_each_live_row():
    guides = [CountingGuide(2), CountingGuide(5), CountingGuide(1)]
    steps: list[Step] = list(decode(UniformEngine(3), guides))
    assert [[token is not None for token in step.tokens] for step in steps] == [
        [True, True, True],
        [True, True, False],
        [False, True, False],
        [False, True, False],
        [False, True, False],
    ]
    for step in steps:
        for token, log_probability in zip(step.tokens, step.log_probabilities, strict=True):
            expected = None if token is None else pytest.approx(np.log(1 / 5))  # half of the ten tokens are allowed
            assert log_probability == expected


def test_engine_is_fed_exactly_the_tokens():
    engine, guides = UniformEngine(3), [CountingGuide(n, n_prompt=p) for n, p in [(4, 2), (9, 2), (6, 5)]]
    list(decode(engine, guides))
    for guide, fed in zip(guides, engine.rows, strict=True):
        expected = [(token, i) for i, token in enumerate(guide.pushed[:-1])]  # nothing follows the last one
        assert fed == [(0, 0)] * guide.n_prompt + expected
    assert engine.calls[:2] == ["prefill 0:2", "prefill 2:3"]  # prompts of one length go together
    assert engine.calls.count("step") == 8


def test_same_seed_same_tokens():
    assert run([30] * 3, seed=5) == run([30] * 3, seed=5)
    assert run([30] * 3, seed=5) != run([30] * 3, seed=6)
    rows = run([30] * 3, seed=5)
    assert rows[0] != rows[1] != rows[2]


def test_rows_do_not_depend_on_their_neighbours():
    assert run([30, 30, 30])[0] == run([30])[0]
    assert run([30, 7, 12])[2] == run([30, 30, 12, 3])[2]


def test_closing_early():
    engine, guides = UniformEngine(2), [CountingGuide(50), CountingGuide(50)]
    stream = decode(engine, guides)
    for _ in range(3):
        next(stream)
    assert len(guides[0].pushed) == 3
    assert engine.calls.count("step") == 2  # nothing runs ahead of what was asked for
    stream.close()
    assert engine.calls.count("step") == 2
    with pytest.raises(StopIteration):
        next(stream)


def test_nothing_happens_before_the_first_token_is_asked_for():
    engine = UniformEngine(1)
    decode(engine, [CountingGuide(5)])
    assert engine.calls == []


def test_the_caller_is_not_in_inference_mode():
    for _ in decode(UniformEngine(1), [CountingGuide(3)]):
        assert not torch.is_inference_mode_enabled()
        assert torch.ones(1, requires_grad=True).mul(2).requires_grad


def test_a_full_row_starts_again_from_a_shorter_prompt():
    engine = UniformEngine(3, max_positions=8)
    guides = [CountingGuide(30, n_prompt=3), CountingGuide(12, n_prompt=8), CountingGuide(2, n_prompt=8)]
    list(decode(engine, guides))
    assert [len(guide.pushed) for guide in guides] == [30, 12, 2]
    # 3 + 5 fill the row; the sixth token asks for a prompt of 4, which lasts for 4 more.
    assert guides[0].prompts == [3, 4, 4, 4, 4, 4]
    assert guides[1].prompts == [8, 4, 4, 4]
    assert guides[2].prompts == [8, 4]
    for guide, fed in zip(guides, engine.rows, strict=True):
        history = [(token, i) for i, token in enumerate(guide.pushed[:-1])]
        assert fed[-4:] == history[-4:] or len(history) < 4


def test_full_rows_beside_others_keep_their_logits():
    """Logits that name the row's own last token: a mix-up of rows or of times would show."""

    class Echo(UniformEngine):
        def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
            super().prefill(inputs, rows)
            return self.logits()[rows]

        def step(self, inputs: Tensor, active: Tensor) -> Tensor:
            super().step(inputs, active)
            return self.logits()

        def logits(self) -> Tensor:
            following = torch.tensor([(row[-1][0] + 1 if row else 0) % V for row in self.rows])
            return torch.nn.functional.one_hot(following, V) * 100.0

    guides = [CountingGuide(n, n_prompt=p) for n, p in [(40, 3), (33, 8), (25, 1), (40, 6)]]
    list(decode(Echo(4, max_positions=8), guides))
    for guide in guides:
        assert guide.pushed[1:] == [(token + 1) % V for token in guide.pushed[:-1]]


@pytest.mark.parametrize(
    ("n_prompt", "keep", "message"),
    [
        (9, 4, "prompt of row 0 must have 1 to 8 positions, got 9"),
        (0, 4, "prompt of row 0 must have 1 to 8 positions, got 0"),
        (3, 8, "prompt of row 0 must have 1 to 7 positions, got 8"),
    ],
)
def test_prompts_that_do_not_fit(n_prompt: int, keep: int, message: str):
    with pytest.raises(InputError, match=message):
        list(decode(UniformEngine(1, max_positions=8), [CountingGuide(30, n_prompt=n_prompt, keep=keep)]))


def test_tokens_are_drawn_by_what_the_guide_makes_of_the_logits():
    class Partial(CountingGuide):
        def weigh(self, logits: np.ndarray) -> np.ndarray:
            return logits + 100 * (np.arange(V) // 2 == 1)

    guide = Partial(6)
    steps = list(decode(UniformEngine(1), [guide]))
    assert guide.pushed == [2, 3] * 3
    assert all(step.log_probabilities == [0.0] for step in steps)


def test_a_guide_must_allow_something():
    class Stuck(CountingGuide):
        def allowed(self) -> np.ndarray:
            return np.zeros(V, dtype=bool)

    with pytest.raises(InputError, match="row 1 allows no token"):
        list(decode(UniformEngine(2), [CountingGuide(3), Stuck(3)]))


class BlockEngine:
    """A real, if tiny, transformer."""

    def __init__(self, n_rows: int, max_positions: int):
        torch.manual_seed(0)
        self.max_positions = max_positions
        self.embed, self.head = torch.nn.Embedding(V, 16), torch.nn.Linear(16, V)
        self.block = Block(16, 2, 1, Fixed(8, 2), max_positions)
        self.cache = self.block.init_cache(n_rows)
        self.positions = torch.zeros(n_rows, dtype=torch.int64)

    def prefill(self, inputs: Tensor, rows: slice) -> Tensor:
        self.positions[rows] = inputs.shape[1]
        return self.head(self.block.prefill(self.embed(inputs[..., 0]), self.cache, rows)[:, -1])

    def step(self, inputs: Tensor, active: Tensor) -> Tensor:
        positions = self.positions.clamp(max=self.max_positions - 1)
        logits = self.head(self.block.step(self.embed(inputs[:, :1]), self.cache, positions)[:, 0])
        self.positions += active
        return logits


def test_a_transformer_decodes_as_if_nothing_were_cached():
    engine = BlockEngine(3, max_positions=20)
    guides = [CountingGuide(45, n_prompt=2), CountingGuide(30, n_prompt=11), CountingGuide(19, n_prompt=6)]
    starts = [guide.n_prompt for guide in guides]
    held: list[list[int]] = [[0] * n for n in starts]
    seen_prompts = [1, 1, 1]
    for step in decode(engine, guides, seed=3):
        for row, (token, log_probability) in enumerate(zip(step.tokens, step.log_probabilities, strict=True)):
            if token is None:
                continue
            x = engine.embed(torch.tensor([held[row]]))
            logits = engine.head(engine.block(x)[:, -1])[0]
            allowed = torch.arange(V) % 2 == (len(guides[row].pushed) - 1) % 2
            expected = logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)[token]
            assert log_probability == pytest.approx(expected.item(), abs=1e-5)
            held[row].append(token)
            if len(held[row]) > engine.max_positions:
                held[row] = held[row][-guides[row].keep :]
                seen_prompts[row] += 1
    # A row that finished while it was full asks for nothing more.
    assert [len(guide.pushed) for guide in guides] == [45, 30, 19]
    assert len(guides[0].prompts) == seen_prompts[0]
