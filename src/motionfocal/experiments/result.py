"""What came of one run: a small JSON that every table is rebuilt from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from motionfocal.errors import ConfigError
from motionfocal.experiments.machine import Machine
from motionfocal.experiments.plan import RunPlan
from motionfocal.reading import read_text
from motionfocal.settings import Settings
from motionfocal.video.files import replacing
from motionfocal.worlds.oracle import Measurement

_MEASUREMENTS = TypeAdapter(list[Measurement])
_FIELDS = tuple(field.name for field in fields(Measurement))


class Asked(Settings):
    """What the oracle saw in the clips of one benchmark, a column a figure, in the order of its items."""

    items: tuple[str, ...] = Field(
        description="Ids of the items; what stands before the first underscore is the image."
    )
    columns: dict[str, tuple[bool | str | float | None, ...]] = Field(
        description="The fields of a Measurement; what was not measured is null."
    )

    @classmethod
    def of(cls, items: Sequence[str], measured: Sequence[Measurement]) -> "Asked":
        """From measurements of items, floats rounded to four digits."""
        rows = [{key: _rounded(value) for key, value in asdict(seen).items()} for seen in measured]
        return cls(items=tuple(items), columns={key: tuple(row[key] for row in rows) for key in _FIELDS})

    def measurements(self) -> list[Measurement]:
        """Back to measurements, in the order of the items."""
        keys = [key for key in _FIELDS if key in self.columns]  # a result may be older than a field with a default
        rows = zip(*(self.columns[key] for key in keys), strict=True)
        named = [{key: math.nan if v is None else v for key, v in zip(keys, row, strict=True)} for row in rows]
        return _MEASUREMENTS.validate_python(named)

    @property
    def images(self) -> list[str]:
        """The image of each item."""
        return [item.split("_")[0] for item in self.items]


class NoiseBin(Settings):
    """Held-out error at one noise level (Figure 6)."""

    level: float = Field(description="Share of noise in the latents, in [0, 1].")
    moving: float = Field(description="Mean squared error over the cells that truly move.")
    overall: float = Field(description="Mean squared error over all cells.")


class RunResult(Settings):
    """One run. Settings and figures alone: no clips, no weights."""

    run: str = Field(description="The fingerprint of the run's plan.")
    arm: str = Field(description="What the experiment that made it called it.")
    seed: int
    settings: dict[str, object] = Field(description="The resolved training config.")
    curve: tuple[tuple[int, float], ...] = Field(description="Steps, and the share of texts that were followed then.")
    worlds: dict[str, Asked]
    noise: tuple[NoiseBin, ...]
    steps: int
    seconds: float = Field(description="Time of the training steps alone, on the threads of the settings, else on one.")
    parameters: int = Field(description="Trained weights of the network.")
    machine: Machine | None = Field(None, description="What it was made by; results of before do not say.")


def result_path(folder: Path, fingerprint: str) -> Path:
    """Where the result of a run lies."""
    return folder / "results" / f"{fingerprint}.json"


def save_result(folder: Path, result: RunResult) -> None:
    """Write a result, whole or not at all."""
    path = result_path(folder, result.run)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(result.model_dump_json(indent=None))


def load_result(folder: Path, run: RunPlan) -> RunResult | None:
    """The result of a run, or None when it has none yet.

    Raises:
        ConfigError: the file is damaged, or was made when a setting that the run leaves alone had another default.
    """
    path = result_path(folder, run.fingerprint)
    if not path.is_file():
        return None
    try:
        found = RunResult.model_validate_json(read_text(path, ConfigError))
    except ValidationError as error:
        raise ConfigError(f"{path}: not a result ({error.error_count()} faults); delete it and run it again") from error
    if changed := list(_changed(found.settings, run.decisive)):
        raise ConfigError(f"{path}: was made with another {', '.join(changed)}; delete it and run it again")
    return found


def _changed(before: Mapping[str, object], now: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Dotted keys that both have, with other values."""
    for key in sorted(before.keys() & now.keys()):
        one, other = before[key], now[key]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _changed(one, other, f"{prefix}{key}.")
        elif one != other:
            yield f"{prefix}{key}"


def _rounded(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 4)
