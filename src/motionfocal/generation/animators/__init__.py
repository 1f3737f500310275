"""Animators that run in this process: our checkpoints, pipelines of diffusers, converted checkpoints of others."""
