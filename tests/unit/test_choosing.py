"""Several pieces: which come first, which are kept, and what is said when nothing can choose."""

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from musegen import api, registry
from musegen.api import choosing
from musegen.core.checkpoint import fingerprint, save
from musegen.errors import CheckpointError, InputError, UnknownNameError
from musegen.midi.score import Score
from musegen.music.critic import Critic, CriticConfig

Verb = Callable[..., list[Score]]


@pytest.fixture
def compose(tiny_muse: str) -> Verb:
    return partial(api.compose, model=tiny_muse, seed=1, bars=5, instruments=["piano"])


@pytest.fixture
def critic(tiny_muse: str) -> Iterator[Callable[[str | None], None]]:
    """Gives the model a critic of its own weights, or of those that are named."""
    folder = registry.checkpoint_folder(tiny_muse).with_name(f"{tiny_muse}-critic")

    def give(muse: str | None = None) -> None:
        torch.manual_seed(3)
        shape = CriticConfig(d_model=32, d_hidden=4)
        made = Critic(shape)
        torch.nn.init.normal_(made.head.weight)
        own = fingerprint(registry.load_model(tiny_muse).state_dict())
        save(folder, made.state_dict(), {"family": "critic", "model": vars(shape), "muse": muse or own})

    yield give
    for file in folder.glob("*"):
        file.unlink()


def music(scores: list[Score]) -> list[object]:
    return [score.tracks for score in scores]


@pytest.mark.parametrize("rank", ["critic", "likelihood"])
def test_the_best_comes_first(compose: Verb, critic: Callable, rank: str):
    critic()
    told: list[tuple[str, list[float]]] = []
    drawn = compose(n=4, rank="none", on_ranked=lambda *what: told.append(what))
    assert not told
    ranked = compose(n=4, rank=rank, on_ranked=lambda *what: told.append(what))
    [(name, scores)] = told
    assert name == rank and scores == sorted(scores, reverse=True) and len(set(scores)) == 4
    assert music(ranked) != music(drawn) and all(piece in music(drawn) for piece in music(ranked))
    best = compose(n=1, candidates=4, rank=rank, on_ranked=lambda *what: told.append(what))
    assert music(best) == music(ranked)[:1]
    assert told[1] == (rank, scores[:1])


def test_the_text_says_how_a_choice_is_made_again(compose: Verb):
    [score] = compose(candidates=3, rank="likelihood")
    words = shlex.split(score.texts[0].text)
    assert words[words.index("--candidates") + 1] == "3" and words[words.index("--rank") + 1] == "likelihood"


def test_continued_pieces_are_ranked_by_their_new_bars(tiny_muse: str, critic: Callable, compose: Verb):
    critic()
    [prompt] = compose()
    told: list[list[float]] = []
    asked = {"bars": 4, "n": 3, "rank": "critic", "seed": 2, "model": tiny_muse}
    scores = api.continue_score(prompt, **asked, on_ranked=lambda by, marks: told.append(marks))
    assert len(scores) == 3 and told[0] == sorted(told[0], reverse=True) and len(set(told[0])) == 3


def test_a_critic_of_other_weights_is_refused(compose: Verb, critic: Callable):
    with pytest.raises(CheckpointError, match="has no critic"):
        compose(n=2, rank="critic")
    critic("other-weights")
    with pytest.raises(CheckpointError, match="other-weights"):
        compose(n=2, rank="critic")
    critic()
    assert len(compose(n=2, rank="critic")) == 2


def test_what_cannot_be_chosen_is_refused(compose: Verb):
    with pytest.raises(InputError, match=r"candidates is 4 and rank is none, .* allowed are critic and likelihood"):
        compose(candidates=4, rank="none")
    with pytest.raises(InputError, match="candidates is 2; allowed are whole numbers from 3"):
        compose(n=3, candidates=2)
    with pytest.raises(UnknownNameError, match="rank 'critics'; nearest: critic"):
        compose(n=2, rank="critics")


def test_the_help_names_the_default_ranking():
    import typer

    from musegen.cli.main import app

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("compose", "continue"):
        [option] = [option for option in commands[name].params if option.name == "rank"]
        assert f"{choosing.DEFAULT_RANKING} if left out" in option.help


def test_no_ranking_is_a_checkpoint_of_a_muse(tiny_muse: str, critic: Callable):
    critic()
    with pytest.raises(InputError, match="family critic"):
        api.compose(model=f"{tiny_muse}-critic")
    assert Path(registry.checkpoint_folder(f"{tiny_muse}-critic")).is_dir()
    assert f"{tiny_muse}-critic" in [row["name"] for row in api.models()]
