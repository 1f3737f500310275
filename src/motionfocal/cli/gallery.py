"""``motionfocal gallery``: bring in videos made elsewhere, check galleries, bring them to one form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from rich.progress import Progress
from rich.table import Table

from motionfocal.benchmarks import load_benchmark
from motionfocal.cli.console import console, finish, progress_bar
from motionfocal.cli.options import parse_size
from motionfocal.errors import ConfigError
from motionfocal.generation.asked import benchmark_of, remember_alike, remember_benchmark
from motionfocal.generation.checking import Checked, check_gallery, compare
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.importing import import_videos
from motionfocal.generation.normalizing import NormalForm, normalize


def run_import(
    videos: Path, benchmark: str, name: str, out: Path, seed: int | None, *, allow_missing: bool = False
) -> None:
    """Import a model's videos; exit code 1 when anything did not fit."""
    items = load_benchmark(benchmark)
    with progress_bar() as progress:
        watched = _Watched(progress, f"import {name}")
        result = import_videos(items, videos, out, name, seed=seed, total=watched.expect, progress=watched.advance)
    there = result.clips - result.added
    if result.clips:
        remember_benchmark(out, benchmark)
    console.print(f"{result.clips} clips of {name} in {out}: {result.added} imported, {there} there before")
    if result.missing:
        console.print(f"{len(result.missing)} of {len(items.items)} items of {items.name} have no clip")
    finish("videos or items", result.problems(allow_missing=allow_missing))


def run_check(galleries: Sequence[Path], benchmark: str | None = None, *, allow_missing: bool = False) -> None:
    """Check galleries alone and against one another; exit code 1 when anything is wrong."""
    items = benchmark_of([Gallery.open(folder) for folder in galleries], benchmark)
    checked = []
    with progress_bar() as progress:
        for folder in galleries:
            watched = _Watched(progress, f"check {folder.name}")
            checked.append(check_gallery(folder, items, total=watched.expect, progress=watched.advance))
    console.print(_table(checked))
    common = frozenset.intersection(*(gallery.items for gallery in checked))
    console.print(f"{len(common)} of {len(items.items)} items of {items.name} have a clip in every gallery")
    problems = [f"{gallery.folder}: {problem}" for gallery in checked for problem in gallery.problems]
    if not allow_missing:
        problems += [f"{gallery.folder}: {item}: no clip" for gallery in checked for item in gallery.missing]
    finish("checks", problems + compare(checked))


def run_normalize(gallery: Path, out: Path, size: str, frames: int, fps: float, time: Literal["whole", "real"]) -> None:
    """Write a gallery anew in one form; exit code 1 when a clip could not be."""
    source, form = Gallery.open(gallery), form_from(size, frames, fps, time)
    with progress_bar() as progress:
        task = progress.add_task(f"normalize {source.model}", total=len(source.rows()), note="")
        result = normalize(source, out, form, progress=lambda: progress.advance(task))
    remember_alike(out, gallery, form)
    there = result.clips - result.added
    console.print(f"{result.clips} clips of {source.model} in {out}: {result.added} written, {there} there before")
    faster = [speed for speed in result.speeds.values() if abs(speed - 1) > 0.01]
    if faster:
        console.print(
            f"{len(faster)} clips are shown at another speed than they were made for,"
            f" {min(faster):.2f} to {max(faster):.2f} times; --time real keeps it and shows their beginning"
        )
    finish("clips", result.failed)


def form_from(size: str, frames: int, fps: float, time: Literal["whole", "real"]) -> NormalForm:
    """The options as a form; ConfigError names the one that is wrong. ``size`` is HEIGHTxWIDTH."""
    height, width = parse_size(size)
    try:
        return NormalForm(height=height, width=width, frames=frames, fps=fps, time=time)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"height": "size", "width": "size"}.get(str(first["loc"][0]), first["loc"][0])
        raise ConfigError(f"--{option}: {first['msg']}, got {first['input']}") from error


class _Watched:
    """A task of a progress bar whose length is told when it is known."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._task = progress, progress.add_task(name, total=None, note="")

    def expect(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def advance(self) -> None:
        self._progress.advance(self._task)


def _table(checked: Sequence[Checked]) -> Table:
    table = Table("model", "clips", "missing", "wrong", "height x width, frames at rate", "gallery")
    table.columns[-1].overflow = "fold"
    for gallery in checked:
        forms = "\n".join(f"{count}: {form}" for form, count in gallery.forms.most_common())
        table.add_row(
            ", ".join(gallery.models),
            str(gallery.clips),
            str(len(gallery.missing)),
            str(len(gallery.problems)),
            forms,
            str(gallery.folder),
        )
    return table
