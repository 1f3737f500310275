"""What every report is read against: a still video, a video that only pans, and the models' clips with other texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from motionfocal.benchmarks import Benchmark
from motionfocal.errors import GalleryError, MediaError
from motionfocal.generation.checking import mismatches
from motionfocal.generation.gallery import Gallery
from motionfocal.metrics.clips import FileFrames, PanOnly, StillFrames
from motionfocal.metrics.engine import Job
from motionfocal.metrics.metric import Metric, Sample
from motionfocal.video import probe

STATIC, PAN_ONLY, SHUFFLED = "static", "pan only", "shuffled texts"
REFERENCES = (STATIC, PAN_ONLY, SHUFFLED)


@dataclass(frozen=True)
class _Clip:
    """A clip of a gallery; ``native_size`` is its model's (height, width)."""

    sample: Sample
    native_size: tuple[int, int]
    frames: FileFrames

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the file, at which clips are measured; the model's where the file cannot be read."""
        try:
            info = probe(self.frames.path)
        except MediaError:
            return self.native_size
        return info.height, info.width


def jobs_of(galleries: Sequence[Gallery], benchmark: Benchmark, metrics: Sequence[Metric]) -> list[Job]:
    """Every clip of the galleries, and the references to all items that any of them has.

    Of shuffled texts there is a job a clip whose picture has another text, by the metrics that read texts: the others
    would say what they said before.

    Raises:
        GalleryError: two galleries are of one model, a model has a reference's name, a clip is of no item, or was made
            from another text or picture than its item's.
    """
    _require_models([gallery.model for gallery in galleries])
    clips = [clip for gallery in galleries for clip in _clips(gallery, benchmark)]
    first = {clip.sample.item.id: clip for clip in reversed(clips)}
    everything, of_text = tuple(metrics), tuple(metric for metric in metrics if metric.reads_text)
    jobs = [Job(clip.sample, clip.frames, everything) for clip in clips]
    jobs += [job for clip in reversed(first.values()) for job in _still(clip, everything)]
    return jobs + [job for clip in clips if of_text for job in _shuffled(clip, of_text)]


def _require_models(models: Sequence[str]) -> None:
    for model in models:
        if model in REFERENCES:
            raise GalleryError(f"a gallery's model is called {model!r}, like a reference of every report; rename it")
        if models.count(model) > 1:
            raise GalleryError(f"two galleries are of {model!r}; give one of them another model name")


def _clips(gallery: Gallery, benchmark: Benchmark) -> Iterator[_Clip]:
    for row in gallery.rows():
        if problems := mismatches(row, benchmark):
            raise GalleryError(
                f"{gallery.folder}: {problems[0]}; generate it again, or give the benchmark that it was made on"
            )
        item = benchmark.item(row.id)
        sample = Sample(gallery.model, item, item.text, benchmark.siblings(item), row.fps, row.frames)
        yield _Clip(sample, row.native_size, FileFrames(gallery.folder / row.file))


def _still(clip: _Clip, metrics: tuple[Metric, ...]) -> Iterator[Job]:
    """A still and a panning video of the size, length and rate of a clip."""
    item, size, frames = clip.sample.item, clip.size, clip.sample.frames
    yield Job(replace(clip.sample, model=STATIC), StillFrames(item, size, frames), metrics)
    yield Job(replace(clip.sample, model=PAN_ONLY), PanOnly(item, size, frames), metrics)


def _shuffled(clip: _Clip, metrics: tuple[Metric, ...]) -> Iterator[Job]:
    """A clip held against the next text of its picture; nothing where the picture has no other text."""
    sample, place = clip.sample, clip.sample.siblings.index(clip.sample.item)
    following = (item.text for item in (*sample.siblings[place:], *sample.siblings[:place]))
    other = next((text for text in following if text != sample.text), None)
    if other is not None:
        yield Job(replace(sample, model=SHUFFLED, text=other), clip.frames, metrics)
