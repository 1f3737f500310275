"""Metrics: what is measured of the clips of a gallery."""
