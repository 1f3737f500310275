"""What works on this machine, what is not here, and what a training would need that it has not."""
