"""Benchmarks: fixed lists of questions, each an image and a text."""

from motionfocal.benchmarks.benchmark import Benchmark, BenchmarkItem

__all__ = ["Benchmark", "BenchmarkItem"]
