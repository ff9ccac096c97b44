"""Which of several pieces that Muse wrote side by side is the best.

    critic       its inner critic: the log-odds that the piece is real music and not its own (`critic`)
    likelihood   the mean log-probability a token under Muse itself, in nats: favours what is usual, and repetition
    none         in the order in which they were drawn

None of them has rules: each goes by what real pieces are like.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from musegen.core.checkpoint import fingerprint, load
from musegen.errors import CheckpointError, RecipeError
from musegen.music.critic import Critic, CriticConfig
from musegen.music.excerpts import hidden_states
from musegen.music.generate import Generation
from musegen.music.grid import GridScore
from musegen.music.muse import Muse
from musegen.music.tokenizer import Controls
from musegen.train.recipe import from_table


def load_critic(folder: Path, model: Muse) -> Critic:
    """Returns a trained critic of a Muse, in eval mode.

    Raises:
        CheckpointError: there is none, or it was trained on another Muse.
    """
    checkpoint = load(folder)
    if checkpoint.config.get("family") != "critic":
        raise CheckpointError(f"{folder} is of the family {checkpoint.config.get('family')}; a critic is needed")
    theirs, ours = checkpoint.config.get("muse"), fingerprint(model.state_dict())
    if theirs != ours:
        raise CheckpointError(f"{folder} is a critic of the weights {theirs}, and not of {ours}; train it again")
    try:
        critic = Critic(from_table(CriticConfig, checkpoint.config.get("model", {}), "model"))
    except RecipeError as error:  # of whoever wrote the checkpoint
        raise CheckpointError(f"{folder}: {error}") from None
    checkpoint.restore(critic)
    return critic.eval().requires_grad_(False)


@torch.inference_mode()
def verdicts(
    critic: Critic, model: Muse, grids: Sequence[GridScore], controls: Controls, first_bar: int = 0
) -> list[float]:
    """Returns the log-odds that each of some pieces is real.

    Args:
        critic: of the Muse.
        model: the Muse, in eval mode.
        grids: the pieces.
        controls: what Muse was told of them.
        first_bar: the first bar that it wrote.
    """
    states = [hidden_states(model, grid, controls, first_bar)[None] for grid in grids]
    return [float(critic(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool))) for hidden in states]


def likelihoods(generation: Generation) -> list[float]:
    """Returns the mean log-probability of the tokens of each piece that was written, in nats."""
    return [-nats / max(n, 1) for nats, n in zip(generation.nats, generation.n_tokens, strict=True)]


def best_first(scores: Sequence[float]) -> list[int]:
    """Returns the places of scores from the highest to the lowest; of equal ones the first comes first."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])
