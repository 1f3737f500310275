"""FVD of whole galleries to a folder of videos: a number about sets, so it has no row an item and no interval."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import ManifestError
from motionfocal.generation.gallery import Gallery
from motionfocal.metrics.clips import FileFrames
from motionfocal.metrics.engine import frames_of
from motionfocal.metrics.fvd import Array, I3dFeatures, fvd
from motionfocal.metrics.metric import Sample
from motionfocal.video.files import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Distance:
    """FVD of a model's ``clips`` clips to ``reference_clips`` others."""

    model: str
    fvd: float
    clips: int
    reference_clips: int


def distances(
    galleries: Sequence[Gallery],
    reference: Path,
    features: I3dFeatures,
    least: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Distance]:
    """FVD of each gallery to the videos of a folder; ``least`` as in ``fvd``.

    Raises:
        ManifestError: there is no video in the folder.
        UnavailableError: I3D's weights are not here. MediaError: a video cannot be read, or is too short.
        ConfigError: a set is too small.
    """
    videos = sorted(path for path in reference.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise ManifestError(f"{reference}: no videos to compare with")
    theirs = np.stack(list(_features(videos, reference.name, features, progress)))
    found = []
    for gallery in galleries:
        paths = [gallery.folder / row.file for row in gallery.rows()]
        ours = np.stack(list(_features(paths, gallery.model, features, progress)))
        found.append(Distance(gallery.model, fvd(ours, theirs, least=least), len(ours), len(theirs)))
    return found


def _features(
    paths: Sequence[Path], model: str, features: I3dFeatures, progress: Callable[[], None]
) -> Iterator[Array]:
    for path in paths:
        item = BenchmarkItem(path.stem, path.stem, path, "")
        observer = features.begin(Sample(model, item, "", (item,), fps=8.0, frames=0))
        for frame in frames_of(FileFrames(path)):
            observer.see(frame)
        yield observer.features()
        progress()
