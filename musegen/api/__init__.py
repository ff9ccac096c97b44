"""The verbs of musegen. The command line, live playing and the web application call these; so does a Python program.

    from musegen import compose
    compose(composer="bach", instruments=["harpsichord"], bars=8, seed=1)[0].write("bach.mid")

Heavy libraries are imported inside the verbs that need them, after the arguments were checked.
"""

from musegen.api.composing import DEFAULT_TEMPERATURE, DEFAULT_TOP_P, MAX_PIECES, compose, continue_score
from musegen.api.evaluating import evaluate_coconet, evaluate_muse
from musegen.api.models import DEFAULT_COCONET, DEFAULT_MODEL, composers, instruments, models
from musegen.api.scores import convert, engrave, info, listen, plot, render
from musegen.api.training import export, prepare_data, roundtrip, train

__all__ = [
    "DEFAULT_COCONET", "DEFAULT_MODEL", "DEFAULT_TEMPERATURE", "DEFAULT_TOP_P", "MAX_PIECES", "compose", "composers",
    "continue_score", "convert", "engrave", "evaluate_coconet", "evaluate_muse", "export", "info", "instruments",
    "listen", "models", "plot", "prepare_data", "render", "roundtrip", "train",
]  # fmt: skip
