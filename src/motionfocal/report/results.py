"""What was measured of galleries, read from the files that ``motionfocal metrics`` writes, for a page to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from motionfocal.errors import DamagedFileError

T = TypeVar("T")


class Value(BaseModel):
    """One metric of one clip: a number, the name of a class, or None where the clip has no such value."""

    model: str
    id: str
    metric: str
    value: Annotated[float, Field(allow_inf_nan=False)] | str | None


class MetricInfo(BaseModel):
    """How a metric is read."""

    better: str = "neither"
    description: str = ""


class Summary(BaseModel):
    """A metric over the items of a model, with its interval if one was computed."""

    model: str
    metric: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


class Classes(BaseModel):
    """How often a model's clips are of each class, of a metric that names classes; shares add up to 1."""

    model: str
    metric: str
    shares: dict[str, float]


class Difference(BaseModel):
    """``a`` minus ``b`` over the items of both."""

    metric: str
    a: str
    b: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


class _Told(BaseModel):
    """The report beside the results; what else is in it is for other readers."""

    metrics: dict[str, MetricInfo] = {}
    summary: list[Summary] = []
    classes: list[Classes] = []
    differences: list[Difference] = []
    versions: dict[str, str | int | float | None] = {}


@dataclass(frozen=True)
class Results:
    """All values, and what was told about them. ``metrics`` and ``models`` are in the order of the files."""

    values: tuple[Value, ...]
    metrics: dict[str, MetricInfo]
    models: tuple[str, ...]
    summary: tuple[Summary, ...]
    classes: tuple[Classes, ...]
    differences: tuple[Difference, ...]
    versions: dict[str, str]


def read_results(path: Path) -> Results:
    """Read ``results.json`` and, where it is there, ``results.report.json`` beside it.

    Without a report, the summary holds plain means and no intervals.

    Raises:
        DamagedFileError: a file is missing, no JSON, or of another form.
    """
    values = _read(path, TypeAdapter(list[Value]))
    beside = path.with_name(f"{path.stem}.report.json")
    told = _read(beside, TypeAdapter(_Told)) if beside.is_file() else _Told()
    names = [*told.metrics, *(value.metric for value in values)]
    summary = told.summary or _means(values)
    models = [*(value.model for value in values), *(row.model for row in summary)]
    return Results(
        values=tuple(values),
        metrics={name: told.metrics.get(name, MetricInfo()) for name in dict.fromkeys(names)},
        models=tuple(dict.fromkeys(models)),
        summary=tuple(summary),
        classes=tuple(told.classes),
        differences=tuple(told.differences),
        versions={name: str(version) for name, version in told.versions.items()},
    )


def _read(path: Path, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_json(path.read_bytes())
    except OSError as error:
        raise DamagedFileError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise DamagedFileError(
            f"{path}: not what 'motionfocal metrics' writes ({place}: {first['msg']}); write it again"
        ) from error


def _means(values: Sequence[Value]) -> list[Summary]:
    found: dict[tuple[str, str], list[float]] = {}
    for value in values:
        if isinstance(value.value, str):
            continue
        known = found.setdefault((value.model, value.metric), [])
        if value.value is not None:
            known.append(value.value)
    return [
        Summary(model=model, metric=metric, estimate=fmean(known) if known else None, n=len(known))
        for (model, metric), known in found.items()
    ]
