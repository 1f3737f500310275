"""Models: what one is, its schedules, one file a family, checkpoints of other projects."""
