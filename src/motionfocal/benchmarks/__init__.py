"""Benchmarks: fixed lists of questions, each an image and a text."""

from motionfocal.benchmarks.animatebench import load_animatebench
from motionfocal.benchmarks.benchmark import Benchmark, BenchmarkItem
from motionfocal.benchmarks.load import load_benchmark
from motionfocal.benchmarks.narrow import narrowed
from motionfocal.benchmarks.own_folder import load_folder
from motionfocal.benchmarks.ti2v_bench import load_ti2v_bench

__all__ = [
    "Benchmark",
    "BenchmarkItem",
    "load_animatebench",
    "load_benchmark",
    "load_folder",
    "load_ti2v_bench",
    "narrowed",
]
