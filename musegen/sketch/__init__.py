"""Models that draw with pen strokes, one file a model named after its paper, with their corpus, tasks and metrics."""
