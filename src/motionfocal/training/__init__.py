"""Training: config, objective, loop, checkpoints."""
