"""Which benchmark a gallery is on: kept beside its clips, so that nobody has to say it again."""

import json
from collections.abc import Sequence
from pathlib import Path

from motionfocal.benchmarks import Benchmark, load_benchmark
from motionfocal.errors import GalleryError
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.origin import has_origin, load_origin
from motionfocal.generation.world import world_items
from motionfocal.reading import read_json
from motionfocal.video.files import replacing

_FILE = "benchmark.json"


def remember_benchmark(gallery: Path, source: str) -> None:
    """Write down what a gallery is on: a benchmark's name, or its folder, which is kept as an absolute path."""
    kept = str(Path(source).absolute()) if Path(source).is_dir() else source
    with replacing(gallery / _FILE) as partial:
        partial.write_text(json.dumps({"benchmark": kept}) + "\n")


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
