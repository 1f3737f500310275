"""A metric as a rater: of two clips it prefers the one with the better value."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from motionfocal.errors import ConfigError, GalleryError, UnknownNameError
from motionfocal.study.protocol import OVERALL, Comparison, Judgement, Preference


class Measured(Protocol):
    """A value of one clip, by model and item."""

    model: str
    id: str
    metric: str
    value: float | str | None


class Reading(Protocol):
    """How a metric is read: ``higher`` or ``lower`` is better, or ``neither``, where it ranks nothing."""

    better: str


class Measurements(Protocol):
    """What ``motionfocal metrics`` found; ``report.results.read_results`` reads it."""

    @property
    def values(self) -> Sequence[Measured]:
        """All values."""
        ...

    @property
    def metrics(self) -> Mapping[str, Reading]:
        """By name, how each is read."""
        ...


class MetricRater:
    """Prefers the clip with the better value, without reasons; a tie only for equal values.

    Values are looked up by model and item: they are of the clips as the models made them.
    """

    def __init__(self, results: Measurements, metric: str, question: str = OVERALL) -> None:
        """``question`` is the id of the study's question that the metric is to answer.

        Raises UnknownNameError for a metric that was not measured, ConfigError for one that does not rank clips.
        """
        if metric not in results.metrics:
            raise UnknownNameError("metric among the results", metric, list(results.metrics))
        self.name = f"metric:{metric}"
        self.question = question
        self._metric = metric
        self._sign = _sign(results, metric)
        self._values = {(row.model, row.id): row.value for row in results.values if row.metric == metric}

    def judge(self, comparison: Comparison) -> Judgement:
        """Compare two values. Raises GalleryError, naming model, item and metric, when there is none for a clip."""
        left = self._sign * self._value(comparison.left_model, comparison.item)
        right = self._sign * self._value(comparison.right_model, comparison.item)
        preference: Preference = "tie" if left == right else "left" if left > right else "right"
        return comparison.judged(self.name, preference, kind="metric", question=self.question)

    def _value(self, model: str, item: str) -> float:
        value = self._values.get((model, item))
        if value is None:
            known = "has no value of" if (model, item) in self._values else "was not measured by"
            raise GalleryError(f"the clip of {model!r} for {item!r} {known} {self._metric}; run 'motionfocal metrics'")
        if isinstance(value, str):
            raise GalleryError(f"{self._metric} names a class, {value!r}, for {model!r}, {item!r}; it ranks nothing")
        return value


def _sign(results: Measurements, metric: str) -> int:
    """1 where higher is better, -1 where lower is."""
    signs = {"higher": 1, "lower": -1}
    better = results.metrics[metric].better
    if better not in signs:
        ranking = ", ".join(name for name, reading in results.metrics.items() if reading.better in signs) or "none"
        raise ConfigError(
            f"metric {metric!r}: neither higher nor lower is declared better, so it prefers nothing; these results"
            f" rank by: {ranking} (the .report.json beside the results says so)"
        )
    return signs[better]
