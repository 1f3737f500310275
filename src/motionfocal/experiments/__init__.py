"""Experiments: arms that differ in a few settings, trained on the same clips and noise, judged by an exact oracle."""
