"""Generation: samplers and galleries."""
