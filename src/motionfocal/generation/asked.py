"""Which benchmark a gallery is on: kept beside its clips, so that nobody has to say it again."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from motionfocal.benchmarks import Benchmark, load_benchmark
from motionfocal.errors import GalleryError
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.normalizing import NormalForm
from motionfocal.generation.origin import has_origin, load_origin, save_origin
from motionfocal.generation.world import world_items
from motionfocal.reading import read_json
from motionfocal.video.files import replace_text

_FILE = "benchmark.json"


def remember_benchmark(gallery: Path, source: str) -> None:
    """Write down what a gallery is on: a benchmark's name, or its folder, which is kept as an absolute path."""
    kept = str(Path(source).absolute()) if Path(source).is_dir() else source
    replace_text(gallery / _FILE, json.dumps({"benchmark": kept}) + "\n")


def remember_alike(gallery: Path, other: Path, form: NormalForm) -> None:
    """Let a gallery remember what the one does whose clips it has in a form: its benchmark, or its world and run.

    A world is remembered where its oracle can judge the form: square clips, of the world's length, from end to end.

    Raises:
        GalleryError: what the other remembers cannot be read.
    """
    if has_origin(other) and _is_judged(form, (origin := load_origin(other)).benchmark.world.frames):
        run = origin.run and Path(os.path.relpath(other / origin.run, gallery))
        save_origin(gallery, origin.model_copy(update={"run": run}))
    if (source := _remembered(other)) is not None:
        remember_benchmark(gallery, source)


def _is_judged(form: NormalForm, frames: int) -> bool:
    return form.height == form.width and form.frames == frames and form.time == "whole"


def benchmark_of(galleries: Sequence[Gallery], source: str | None = None) -> Benchmark:
    """The benchmark that is named, or else the one that all galleries remember; of a world's galleries, its questions.

    Raises:
        GalleryError: none is named, and the galleries remember none or several.
        ManifestError, UnavailableError: see ``load_benchmark``.
    """
    if source is not None:
        return load_benchmark(source)
    folder = galleries[0].folder
    if has_origin(folder):
        world = load_origin(folder).benchmark
        return Benchmark("sprites world", tuple(world_items(world)))
    remembered = {gallery.folder: _remembered(gallery.folder) for gallery in galleries}
    sources = sorted({name for name in remembered.values() if name is not None})
    if len(sources) != 1:
        said = f"they remember {' and '.join(sources)}" if sources else f"{folder} does not remember one"
        raise GalleryError(f"which benchmark are these galleries on? {said}; say it by --benchmark")
    return load_benchmark(sources[0])


def _remembered(gallery: Path) -> str | None:
    path = gallery / _FILE
    if not path.is_file():
        return None
    remembered = read_json(path, GalleryError)
    if not isinstance(remembered, dict) or "benchmark" not in remembered:
        raise GalleryError(f"{path}: does not name a benchmark; delete it, and use --benchmark")
    return str(remembered["benchmark"])
