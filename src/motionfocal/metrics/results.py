"""What was measured, as a table that anybody can read, and what it says: means, intervals, differences."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from motionfocal.errors import MediaError
from motionfocal.intervals import grouped_mean, holm, sign_flip_test
from motionfocal.metrics.engine import Failure, Job, keys_of
from motionfocal.metrics.metric import Output, Value
from motionfocal.metrics.references import REFERENCES, SHUFFLED
from motionfocal.metrics.store import SampleStore
from motionfocal.video.files import replace_text

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One value: the row of a results file. ``image`` groups items that are not independent."""

    model: str
    id: str
    image: str
    metric: str
    value: Value


@dataclass(frozen=True)
class Summary:
    """A model's mean in a metric, over ``n`` items, with the interval that whole images give."""

    model: str
    metric: str
    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Classes:
    """How often a model's clips are of each class, of a metric that names classes."""

    model: str
    metric: str
    shares: dict[str, float]
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of ``a`` minus mean of ``b`` over the items of both; p by sign flips of images, Holm's over its family.

    Comparisons between models are a family; those with a reference are controls, and a family of their own.
    """

    metric: str
    a: str
    b: str
    estimate: float
    low: float
    high: float
    p: float
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether the two differ beyond the interval, and beyond what so many comparisons find by chance."""
        return self.p < 0.05 and (self.low > 0 or self.high < 0)


def rows_of(jobs: Sequence[Job], store: SampleStore) -> list[Row]:
    """All values that the store has, in the order of the jobs.

    Shuffled texts are one model: its value of an item is the mean over all models' clips, and of metrics that read no
    text the mean of what these clips had.
    """
    rows = [row for job in jobs for row in _values(job, store)]
    return [row for row in rows if row.model != SHUFFLED] + list(_shuffled(rows, jobs))


def _values(job: Job, store: SampleStore) -> Iterator[Row]:
    sample = job.sample
    try:
        keys = keys_of(job)
    except MediaError:  # a clip or a picture that cannot be read has none
        return
    for metric in job.metrics:
        found = store.get(keys[metric.name]) or {}
        for output in metric.outputs:
            if output.name in found:
                yield Row(sample.model, sample.item.id, sample.item.image, output.name, found[output.name])


def _shuffled(rows: Sequence[Row], jobs: Sequence[Job]) -> Iterator[Row]:
    """The rows of shuffled texts, by item and metric, in the order of their first appearance."""
    of_text = {output.name for job in jobs for metric in job.metrics if metric.reads_text for output in metric.outputs}
    models = {job.sample.model for job in jobs if job.sample.model not in REFERENCES}
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        meant = row.model == SHUFFLED if row.metric in of_text else row.model in models
        if meant and isinstance(row.value, float | int):
            found[row.id, row.image, row.metric].append(float(row.value))
    for (item, image, metric), values in found.items():
        yield Row(SHUFFLED, item, image, metric, float(np.mean(values)))


@dataclass(frozen=True)
class Findings:
    """What the rows say."""

    summaries: list[Summary]
    classes: list[Classes]
    differences: list[Difference]


def findings_of(rows: Sequence[Row], seed: int = 0) -> Findings:
    """Means with intervals of every model and metric, and the difference of every two models, on the items of both."""
    numbers: dict[str, dict[str, dict[str, tuple[float, str]]]] = defaultdict(lambda: defaultdict(dict))
    classes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if isinstance(row.value, str):
            classes[row.model, row.metric].append(row.value)
        elif row.value is not None:
            numbers[row.metric][row.model][row.id] = (float(row.value), row.image)
    summaries, differences = [], []
    for metric, models in numbers.items():
        summaries += [_summary(model, metric, values, seed) for model, values in models.items()]
        differences += _differences(metric, models, seed)
    return Findings(summaries, [_classes(*key, names) for key, names in classes.items()], differences)


def _summary(model: str, metric: str, values: Mapping[str, tuple[float, str]], seed: int) -> Summary:
    numbers, images = zip(*values.values(), strict=True)
    mean = grouped_mean(numbers, images, np.random.default_rng(seed))
    return Summary(model, metric, mean.estimate, mean.low, mean.high, len(values))


def _classes(model: str, metric: str, names: Sequence[str]) -> Classes:
    shares = {name: names.count(name) / len(names) for name in sorted(set(names))}
    return Classes(model, metric, shares, len(names))


def _differences(metric: str, models: Mapping[str, Mapping[str, tuple[float, str]]], seed: int) -> list[Difference]:
    found: list[Difference] = []
    for a, b in combinations(models, 2):
        shared = [item for item in models[a] if item in models[b]]
        if not shared:
            continue
        values = [models[a][item][0] - models[b][item][0] for item in shared]
        images = [models[a][item][1] for item in shared]
        mean = grouped_mean(values, images, np.random.default_rng(seed))
        p = sign_flip_test(values, images, np.random.default_rng(seed))
        found.append(Difference(metric, a, b, mean.estimate, mean.low, mean.high, p, len(shared)))
    return _adjusted(found)


def _adjusted(found: Sequence[Difference]) -> list[Difference]:
    """The differences of a metric, in their order, each p adjusted for its family."""
    p = np.array([difference.p for difference in found])
    controls = np.array([not {difference.a, difference.b}.isdisjoint(REFERENCES) for difference in found], bool)
    for family in (controls, ~controls):
        p[family] = holm(p[family])
    return [replace(difference, p=float(value)) for difference, value in zip(found, p, strict=True)]


def write_results(
    path: Path,
    rows: Sequence[Row],
    findings: Findings,
    outputs: Sequence[Output],
    versions: Mapping[str, str],
    failures: Sequence[Failure],
) -> Path:
    """Write the rows to ``path`` (a JSON list) and all else beside it, to ``*.report.json``; returns the latter's path.

    The same values give the same bytes. Each file is whole before it takes its name.
    """
    report = {
        "schema": SCHEMA,
        "metrics": {output.name: {**asdict(output)} for output in outputs},
        "summary": [asdict(summary) for summary in findings.summaries],
        "classes": [asdict(entry) for entry in findings.classes],
        "differences": [asdict(difference) | {"clear": difference.is_clear} for difference in findings.differences],
        "failures": [asdict(failure) for failure in failures],
        "versions": dict(versions),
    }
    beside = path.with_name(f"{path.stem}.report.json")
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    for target, text in ((path, f"[\n{lines}\n]\n"), (beside, json.dumps(report, indent=1) + "\n")):
        replace_text(target, text)
    return beside
