"""What a page shows. Whoever has the results fills these; every figure arrives finished.

The order of ``Report.models`` is the order of the two models everywhere: in pairs, in the table, in colours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from motionfocal.errors import ConfigError
from motionfocal.intervals import Interval, wilson
from motionfocal.jsonl import Row
from motionfocal.study.statistics import ContestRow


@dataclass(frozen=True)
class Headline:
    """One of the few figures that the first screen shows.

    In the units "%" and "points" (of per cent) the value is a share in [-1, 1]; in any other it is shown
    as it is. ``model`` colours it; ``neutral`` is what no difference would give (0.5 of a preference, 0 of
    a difference).
    """

    label: str
    value: Interval | float
    unit: str = "%"
    model: str | None = None
    neutral: float | None = None
    about: str = ""


@dataclass(frozen=True)
class TrainingPoint:
    """One step of ``metrics.jsonl``. Losses of the moving cells are NaN where a batch had none: null in the file."""

    step: int
    loss: float
    diffusion: float
    moving_loss: float
    loss_ratio: float


@dataclass(frozen=True)
class ValidationPoint:
    """The share of held-out texts followed after a step, of ``items`` texts."""

    step: int
    followed: Interval
    items: int


@dataclass(frozen=True)
class TrainingCurve:
    """The training of one model. A world without a judge has no ``validation``."""

    model: str
    training: tuple[TrainingPoint, ...]
    validation: tuple[ValidationPoint, ...]

    @classmethod
    def from_rows(cls, model: str, metrics: Sequence[Row], validation: Sequence[Row]) -> Self:
        """The curve in a run's ``metrics.jsonl`` and ``validation.jsonl``, as ``read_jsonl`` gives them."""
        return cls(model, tuple(map(_training_point, metrics)), tuple(map(_validation_point, validation)))


@dataclass(frozen=True)
class MotionRow:
    """How many of the ``items`` texts that ask for one motion each model followed."""

    motion: str
    items: int
    followed: tuple[Interval, Interval]


@dataclass(frozen=True)
class Fact:
    """One line of a verdict: what was measured, and the value as it should be read."""

    name: str
    value: str


@dataclass(frozen=True)
class ModelClip:
    """One model's clip of an item and the verdict on it. ``followed`` is None where nothing can tell."""

    video: Path
    followed: bool | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Panel:
    """A further clip beside the two models': a heatmap, the truth."""

    caption: str
    video: Path


@dataclass(frozen=True)
class ReportItem:
    """One question to both models and what they made of it.

    ``image`` names the picture; items that share it are siblings. ``motion`` is what the text asks for,
    empty where texts have no such class. ``preferred`` is a model or None for a tie; ``reasons`` speak for
    the preferred one.
    """

    id: str
    image: str
    text: str
    picture: Path
    clips: tuple[ModelClip, ModelClip]
    preferred: str | None
    reasons: tuple[str, ...] = ()
    motion: str = ""
    panels: tuple[Panel, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole page.

    ``models`` are the one in question and the one it is held against. ``summary`` are sentences in plain
    words, the result first. ``settings`` holds each model's resolved config as YAML. ``commands`` repeat
    everything in a shell. ``notes`` say what the result does not show. ``rater`` is who preferred.
    ``pixel_art`` keeps pixels sharp where clips are enlarged. Any of the sequences may be empty: its part is
    then left out. Raises ConfigError when a part speaks of a model that is not in ``models``, or an item
    occurs twice.
    """

    title: str
    summary: tuple[str, ...]
    models: tuple[str, str]
    headlines: tuple[Headline, ...]
    comparisons: tuple[ContestRow, ...]
    curves: tuple[TrainingCurve, ...]
    motions: tuple[MotionRow, ...]
    items: tuple[ReportItem, ...]
    settings: Mapping[str, str]
    commands: tuple[str, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    rater: str
    pixel_art: bool = False

    def __post_init__(self) -> None:
        named = [headline.model for headline in self.headlines] + [item.preferred for item in self.items]
        named += [curve.model for curve in self.curves] + list(self.settings)
        strangers = sorted({name for name in named if name is not None} - set(self.models))
        if strangers:
            raise ConfigError(f"models: the report compares {list(self.models)}, but names {strangers}")
        if len({item.id for item in self.items}) < len(self.items):
            raise ConfigError("items: an id occurs twice; each item stands once on the page")


def _training_point(row: Row) -> TrainingPoint:
    return TrainingPoint(
        step=int(_number(row, "step")),
        loss=_number(row, "loss"),
        diffusion=_number(row, "diffusion"),
        moving_loss=_number_or_nan(row, "moving_loss"),
        loss_ratio=_number_or_nan(row, "loss_ratio"),
    )


def _validation_point(row: Row) -> ValidationPoint:
    items = int(_number(row, "items"))
    followed = wilson(round(_number(row, "followed") * items), items)
    return ValidationPoint(int(_number(row, "step")), followed, items)


def _number_or_nan(row: Row, key: str) -> float:
    """NaN where the row says that there is none, by null."""
    return math.nan if key in row and row[key] is None else _number(row, key)


def _number(row: Row, key: str) -> float:
    value = row.get(key)
    if not isinstance(value, int | float):
        raise ConfigError(f"a row of a run's records has no number {key!r}: {row}")
    return float(value)
