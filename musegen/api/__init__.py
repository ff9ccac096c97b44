"""The verbs of musegen. The command line, live playing and the web application call these; so does a Python program.

    from musegen import compose
    compose(composer="bach", instruments=["harpsichord"], bars=8, seed=1)[0].write("bach.mid")

Heavy libraries are imported inside the verbs that need them, after the arguments were checked.
"""

from musegen.api.choosing import DEFAULT_RANKING
from musegen.api.composing import compose, continue_score
from musegen.api.evaluating import evaluate_chorales, evaluate_coconet, evaluate_onsets
from musegen.api.harmonizing import chorale, harmonize
from musegen.api.infilling import infill
from musegen.api.judging import evaluate_muse, evaluate_ranking
from musegen.api.models import DEFAULT_COCONET, DEFAULT_MODEL, DEFAULT_ONSETS, composers, instruments, models
from musegen.api.ordering import DEFAULT_GUIDANCE, DEFAULT_TEMPERATURE, DEFAULT_TOP_P, MAX_PIECES
from musegen.api.scores import convert, engrave, info, listen, plot, render
from musegen.api.training import export, prepare_chorales, prepare_data, prepare_excerpts, roundtrip, train

__all__ = [
    "DEFAULT_COCONET", "DEFAULT_GUIDANCE", "DEFAULT_MODEL", "DEFAULT_ONSETS", "DEFAULT_RANKING",
    "DEFAULT_TEMPERATURE", "DEFAULT_TOP_P", "MAX_PIECES",
    "chorale", "compose", "composers", "continue_score", "convert", "engrave", "evaluate_chorales",
    "evaluate_coconet", "evaluate_muse", "evaluate_onsets", "evaluate_ranking", "export", "harmonize", "infill", "info",
    "instruments", "listen", "models", "plot", "prepare_chorales", "prepare_data", "prepare_excerpts", "render",
    "roundtrip", "train",
]  # fmt: skip
