"""Models that write text, one file a model named after its paper, with their corpus, tasks and metrics."""
