"""From clips to training batches: sources of examples, and what a step of training sees."""
