"""The one training loop, the Task protocol it drives, optimizers, shards, recipes and logs."""
