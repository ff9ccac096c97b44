"""Which of several pieces that were written side by side come first, and which are kept."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from musegen.api.models import critic, muse
from musegen.errors import InputError

if TYPE_CHECKING:
    from musegen.music.generate import Generation
    from musegen.music.grid import GridScore
    from musegen.music.tokenizer import Controls

DEFAULT_RANKING = "none"
"""How several pieces are put in order if nothing else is asked for."""

RANKINGS = ("critic", "likelihood", "none")
"""The ways to rank: `music.ranking` says what each of them finds good."""

OnRanked = Callable[[str, list[float]], None]
"""Called with the ranking, if there is one, and the score of each piece that is returned, the best first."""


class Choice:
    """The best of some pieces.

    Args:
        model: the Muse that writes them.
        ranking: one of RANKINGS; None for DEFAULT_RANKING.
        n: how many are kept.
        n_written: of how many.

    Raises:
        InputError: more are written than kept, and there is nothing to choose by.
        CheckpointError: the critic is asked for, and there is none that fits.
    """

    def __init__(self, model: str, ranking: str | None, n: int, n_written: int):
        self.model, self.n = model, n
        self.ranking = DEFAULT_RANKING if ranking is None else ranking
        if self.ranking == "critic" and n_written > 1:
            self._critic = critic(model)
        if n_written > n and self.ranking == "none":
            raise InputError(
                f"candidates is {n_written} and rank is none, which cannot choose {n} of them; allowed are "
                "critic and likelihood"
            )

    def of(
        self, generation: "Generation", controls: "Controls", first_bar: int, on_ranked: OnRanked | None
    ) -> list["GridScore"]:
        """Returns the best pieces, the very best first.

        Args:
            generation: which has written them.
            controls: what the model was told of them.
            first_bar: the first bar that it wrote.
            on_ranked: called with the scores.
        """
        from musegen.music.ranking import best_first, likelihoods, verdicts

        grids = generation.grids()
        if self.ranking == "none" or len(grids) == 1:
            return grids
        if self.ranking == "critic":
            scores = verdicts(self._critic, muse(self.model), grids, controls, first_bar)
        else:
            scores = likelihoods(generation)
        places = best_first(scores)[: self.n]
        if on_ranked:
            on_ranked(self.ranking, [scores[place] for place in places])
        return [grids[place] for place in places]
