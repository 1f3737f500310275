"""Measure many clips by many metrics: decoded once, each value computed once, and what is bad stops nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import OutOfMemoryError
from torch.cuda import empty_cache

from motionfocal.engine import HERE, Engine, Lost, Stages
from motionfocal.errors import AnswerError, ManifestError, MediaError, ShapeError
from motionfocal.metrics.clips import ClipFrames
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Metric, Observer, Sample, Values
from motionfocal.metrics.store import SampleStore, key_of

_OF_A_CLIP = (MediaError, ShapeError, ManifestError, AnswerError)
"""What may be wrong with a clip for a metric: its size, its text, its picture, or a server's answer about it."""

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
    """A clip that could not be measured, by one metric, or by any (``metric`` is ""), and why."""

    model: str
    id: str
    reason: str
    metric: str = ""


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

    One pass over a clip serves all metrics; on a cluster with GPUs there is a second one, where those with a network
    watch. Raises UnavailableError when a metric needs what is not here.
    """
    failures = _Failures()
    todo = _lacking(jobs, store, failures)
    done = len(jobs) - len(todo)
    progress(done, len(jobs))
    for (job, keys), watched in zip(todo, engine.map(_WORK, [job for job, _ in todo]), strict=True):
        if isinstance(watched, Watched):
            for metric, found in watched.values.items():
                store.add(keys[metric], found)
            for metric, reason in watched.failed.items():
                failures.add(job, reason, metric)
        else:
            failures.add(job, watched.reason if isinstance(watched, Lost) else watched)
        done += 1
        progress(done, len(jobs))
    return failures.told


class _Failures:
    """What failed, said once of a clip, which another job may hold against another text."""

    def __init__(self) -> None:
        self.told: list[Failure] = []
        self._seen: set[tuple[ClipFrames, str, str]] = set()

    def add(self, job: Job, reason: str, metric: str = "") -> None:
        if (job.clip, reason, metric) not in self._seen:
            self._seen.add((job.clip, reason, metric))
            self.told.append(Failure(job.sample.model, job.sample.item.id, reason, metric))


def _lacking(jobs: Sequence[Job], store: SampleStore, failures: _Failures) -> list[tuple[Job, Mapping[str, str]]]:
    """The jobs that are left, with the metrics that are left; clips that cannot even be read go to the failures."""
    todo: list[tuple[Job, Mapping[str, str]]] = []
    asked: set[str] = set()
    for job in jobs:
        try:
            keys = keys_of(job)
        except MediaError as error:
            failures.add(job, str(error))
            continue
        new = {name for name, key in keys.items() if store.get(key) is None and key not in asked}
        asked |= {keys[name] for name in new}
        if new:
            left = tuple(metric for metric in job.metrics if metric.name in new)
            todo.append((Job(job.sample, job.clip, left), keys))
    return todo


@dataclass(frozen=True)
class Watched:
    """The values of one clip by metric, and of those metrics that have none for it, why."""

    values: dict[str, Values]
    failed: dict[str, str]


def _tried(job: Job) -> Watched | str:
    """What was seen of a clip, or why it cannot be read."""
    try:
        return watch(job)
    except MediaError as error:
        return str(error)


def _without_networks(job: Job) -> tuple[Job, Watched | str]:
    """What can be seen of a clip without a network, and the job that is left."""
    left = tuple(metric for metric in job.metrics if metric.uses_network)
    seen = tuple(metric for metric in job.metrics if not metric.uses_network)
    return replace(job, metrics=left), _tried(replace(job, metrics=seen)) if seen else Watched({}, {})


def _with_networks(begun: tuple[Job, Watched | str]) -> Watched | str:
    """The same of what is left, beside what was seen before."""
    job, before = begun
    if isinstance(before, str) or not job.metrics:
        return before
    after = _tried(job)
    if isinstance(after, str):
        return after
    return Watched(before.values | after.values, before.failed | after.failed)


_WORK = Stages(_without_networks, _with_networks, together=_tried)


def watch(job: Job) -> Watched:
    """Measure one clip in one pass over its frames; a metric that cannot go on does not stop the others.

    Raises:
        MediaError: the clip cannot be read.
        UnavailableError: a metric needs what is not here.
    """
    observers: dict[str, Observer] = {}
    watched = Watched({}, {})

    @contextmanager
    def by(name: str) -> Iterator[None]:
        try:
            yield
        except _OF_A_CLIP as error:
            watched.failed[name] = str(error)
            observers.pop(name, None)
        except OutOfMemoryError:
            watched.failed[name] = "the GPU has too little memory for its network; free it, or use a larger one"
            observers.pop(name, None)
            empty_cache()

    for metric in job.metrics:
        with by(metric.name):
            observers[metric.name] = metric.begin(job.sample)
    for frame in frames_of(job.clip):
        for name, observer in list(observers.items()):
            with by(name):
                observer.see(frame)
    for name, observer in list(observers.items()):
        with by(name):
            watched.values[name] = observer.values()
    return watched


def frames_of(clip: ClipFrames) -> Iterator[Frame]:
    """The frames of a clip, each with the one before it. Raises MediaError when one cannot be read."""
    previous = None
    for index, image in enumerate(clip.frames()):
        previous = Frame(index, image, previous)
        yield previous
