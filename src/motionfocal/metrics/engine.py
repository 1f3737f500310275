"""Measure many clips by many metrics: each clip is decoded once, each value computed once, a bad clip stops nobody."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from motionfocal.engine import HERE, Engine, Lost
from motionfocal.errors import AnswerError, ManifestError, MediaError, ShapeError
from motionfocal.metrics.clips import ClipFrames
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Metric, Sample, Values
from motionfocal.metrics.store import SampleStore, key_of

_OF_A_CLIP = (MediaError, ShapeError, ManifestError, AnswerError)
"""What may be wrong with a clip, its size, its text, or a server's answer about it; the other clips go on."""

Progress = Callable[[int, int], None]
"""Called with how many clips are done, and how many there are."""


@dataclass(frozen=True)
class Job:
    """A clip to measure, and by which metrics."""

    sample: Sample
    clip: ClipFrames
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Failure:
    """A clip that could not be measured, and why."""

    model: str
    id: str
    reason: str


def keys_of(job: Job) -> dict[str, str]:
    """The store's key of each of a job's metrics. Raises MediaError when the clip or the picture cannot be read."""
    sample = job.sample
    clip = {"clip": job.clip.content, "picture": sample.item.content, "fps": sample.fps}
    text = {"text": sample.text, "siblings": [item.text for item in sample.siblings]}
    return {
        metric.name: key_of(
            clip
            | (text if metric.reads_text else {})
            | {"metric": metric.name, "version": metric.version, "settings": dict(metric.settings)}
        )
        for metric in job.metrics
    }


def measure(
    jobs: Sequence[Job],
    store: SampleStore,
    *,
    engine: Engine = HERE,
    progress: Progress = lambda done, total: None,
) -> list[Failure]:
    """Measure what the store lacks, in the order of the jobs; the clips that could not be measured, and why.

    Raises UnavailableError when a metric needs what is not here.
    """
    todo, failures = _lacking(jobs, store)
    done = len(jobs) - len(todo)
    progress(done, len(jobs))
    for (job, keys), values in zip(todo, engine.map(_tried, [job for job, _ in todo]), strict=True):
        if isinstance(values, str | Lost):
            reason = values.reason if isinstance(values, Lost) else values
            failures.append(Failure(job.sample.model, job.sample.item.id, reason))
        else:
            for metric, found in values.items():
                store.add(keys[metric], found)
        done += 1
        progress(done, len(jobs))
    return failures


def _lacking(jobs: Sequence[Job], store: SampleStore) -> tuple[list[tuple[Job, Mapping[str, str]]], list[Failure]]:
    """The jobs that are left, with the metrics that are left; and the clips that cannot even be read."""
    todo: list[tuple[Job, Mapping[str, str]]] = []
    failures: list[Failure] = []
    asked: set[str] = set()
    for job in jobs:
        try:
            keys = keys_of(job)
        except MediaError as error:
            failures.append(Failure(job.sample.model, job.sample.item.id, str(error)))
            continue
        new = {name for name, key in keys.items() if store.get(key) is None and key not in asked}
        asked |= {keys[name] for name in new}
        if new:
            left = tuple(metric for metric in job.metrics if metric.name in new)
            todo.append((Job(job.sample, job.clip, left), keys))
    return todo, failures


def _tried(job: Job) -> dict[str, Values] | str:
    """Values by metric, or why there are none."""
    try:
        return watch(job)
    except _OF_A_CLIP as error:
        return str(error)


def watch(job: Job) -> dict[str, Values]:
    """The values of one clip by metric, from one pass over its frames. Raises MediaError when it cannot be read."""
    observers = {metric.name: metric.begin(job.sample) for metric in job.metrics}
    for frame in frames_of(job.clip):
        for observer in observers.values():
            observer.see(frame)
    return {name: observer.values() for name, observer in observers.items()}


def frames_of(clip: ClipFrames) -> Iterator[Frame]:
    """The frames of a clip, each with the one before it. Raises MediaError when one cannot be read."""
    previous = None
    for index, image in enumerate(clip.frames()):
        previous = Frame(index, image, previous)
        yield previous
