"""Building blocks of torch models, without domain words: attention, sparsity, sampling, decoding, checkpoints."""
