"""``motionfocal benchmark``: make a benchmark of the clips that a config holds out."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from motionfocal.cli.console import console, finish, progress_bar
from motionfocal.cli.prepare import Bars
from motionfocal.data.benchmark import REAL, write_benchmark
from motionfocal.data.sources import FolderData
from motionfocal.errors import ConfigError
from motionfocal.generation.asked import remember_benchmark
from motionfocal.training.config import load_config, recipe


def run(config: str, out: Path, overrides: Sequence[str]) -> None:
    """Write the benchmark and the gallery of the real clips; exit code 1 when a clip could not be used."""
    data = load_config(recipe(config), overrides).data
    if not isinstance(data, FolderData):
        raise ConfigError(f"{config}: trains on the sprites world, which brings its own benchmark (animate --world)")
    with progress_bar() as progress:
        written = write_benchmark(data, out, Bars(progress))
    remember_benchmark(out / REAL, str(out))
    told = f"{len(written.benchmark.items)} items in {out}; their real clips, a gallery, in {out / REAL}"
    console.print(told, markup=False)
    console.print(f"next: motionfocal generate RUN --benchmark {shlex.quote(str(out))} --out GALLERY", markup=False)
    failed = [f"{one.id}: {one.reason}" for one in written.real.failed]
    finish("clips", [clip.reason for clip in written.rejected] + failed)
