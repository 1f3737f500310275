"""Benchmarks by name: the published ones from the hub, and folders."""

from pathlib import Path

from motionfocal.benchmarks.animatebench import load_animatebench, looks_like_animatebench
from motionfocal.benchmarks.benchmark import Benchmark
from motionfocal.benchmarks.hub import fetch
from motionfocal.benchmarks.own_folder import TABLES, load_folder
from motionfocal.benchmarks.ti2v_bench import load_ti2v_bench, looks_like_ti2v_bench
from motionfocal.errors import ManifestError

TI2V_BENCH, ANIMATEBENCH = "ti2v-bench", "animatebench"

REPOSITORIES = {TI2V_BENCH: "wang-sj16/TI2V-Bench", ANIMATEBENCH: "ymzhang319/AnimateBench"}
"""Data sets of the Hugging Face hub."""


def load_benchmark(name: str | Path) -> Benchmark:
    """A benchmark: ``"ti2v-bench"`` or ``"animatebench"`` from the Hugging Face hub, or a folder.

    A folder whose ``prompt.csv`` has TI2V-Bench's four columns, or names half of its pictures, must be all of
    TI2V-Bench: a damaged copy is an error. A list of your own with these columns, or a part of TI2V-Bench, is called
    ``prompts.csv``. A folder with ``configs`` and ``img`` and no table must be AnimateBench. Any other folder is your
    own, see ``load_folder``. A folder that bears the name of a published benchmark is reached as ``./ti2v-bench``.

    Raises:
        ManifestError: there is no such benchmark, or something in it is missing or odd; the text names the row.
        UnavailableError: it has to be downloaded and cannot be.
    """
    if name == TI2V_BENCH:
        return load_ti2v_bench(fetch("TI2V-Bench", REPOSITORIES[TI2V_BENCH], ["*"]))
    if name == ANIMATEBENCH:
        return load_animatebench(fetch("AnimateBench", REPOSITORIES[ANIMATEBENCH], ["configs/*", "img/*"]))
    folder = Path(name)
    if not folder.is_dir():
        raise ManifestError(f"{name}: no such folder, and no benchmark of the names {TI2V_BENCH}, {ANIMATEBENCH}")
    if looks_like_ti2v_bench(folder):
        return load_ti2v_bench(folder)
    if looks_like_animatebench(folder) and not any((folder / table).is_file() for table in TABLES):
        return load_animatebench(folder)
    return load_folder(folder)
