"""FVD of whole galleries to a folder of videos: a number about sets, so it has no row an item and no interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import ConfigError, ManifestError, MediaError
from motionfocal.generation.gallery import Gallery
from motionfocal.metrics.clips import FileFrames
from motionfocal.metrics.engine import Failure, frames_of
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
) -> tuple[list[Distance], list[Failure]]:
    """FVD of each gallery to the videos of a folder, and the clips without which: those not read, or too short.

    ``least`` is as in ``fvd``.

    Raises:
        ManifestError: there is no video in the folder.
        UnavailableError: I3D's weights are not here. MediaError: not a clip of a set can be read.
        ConfigError: a set is too small.
    """
    videos = sorted(path for path in reference.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise ManifestError(f"{reference}: no videos to compare with")
    theirs, failures = _set_of(videos, reference.name, features, progress)
    found = []
    for gallery in galleries:
        paths = [gallery.folder / row.file for row in gallery.rows()]
        ours, failed = _set_of(paths, gallery.model, features, progress)
        failures += failed
        found.append(Distance(gallery.model, _fvd(ours, theirs, least, failures), len(ours), len(theirs)))
    return found, failures


def _fvd(ours: Array, theirs: Array, least: int | None, failures: Sequence[Failure]) -> float:
    """``fvd``; where a set is too small, the error says which clips it lacks."""
    try:
        return fvd(ours, theirs, least=least)
    except ConfigError as error:
        if not failures:
            raise
        first = f"{len(failures)} clips could not be used, the first ({failures[0].model}): {failures[0].reason}"
        raise ConfigError(f"{error}; {first}") from error


def _set_of(
    paths: Sequence[Path], model: str, features: I3dFeatures, progress: Callable[[], None]
) -> tuple[Array, list[Failure]]:
    """Features ``[N,D]`` of the clips that can be read, and the others."""
    found, failures = [], []
    for path in paths:
        try:
            found.append(_features(path, model, features))
        except MediaError as error:
            failures.append(Failure(model, path.stem, str(error)))
        progress()
    if not found:
        why = f"; the first failed with: {failures[0].reason}" if failures else ""
        raise MediaError(f"{model}: FVD needs clips, and none could be used{why}")
    return np.stack(found), failures


def _features(path: Path, model: str, features: I3dFeatures) -> Array:
    item = BenchmarkItem(path.stem, path.stem, path, "")
    observer = features.begin(Sample(model, item, "", (item,), fps=8.0, frames=0))
    for frame in frames_of(FileFrames(path)):
        observer.see(frame)
    return observer.features()
