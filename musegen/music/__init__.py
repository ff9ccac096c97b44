"""Models of music and what they read: grid, vocabulary, tokenizer, corpus, grammar and the sparse transformer muse."""
