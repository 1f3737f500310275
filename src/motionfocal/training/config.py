"""The settings of a run: one YAML file, every key described, unknown keys are errors."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from motionfocal.data.sources import DataSettings, FolderData, SpritesData
from motionfocal.errors import ConfigError
from motionfocal.loss import OverNoise, OverTraining, StrengthSchedule, Weighting
from motionfocal.models.families import compact
from motionfocal.models.family import known_families
from motionfocal.models.lora import LoraSettings
from motionfocal.models.settings import ModelSettings
from motionfocal.motion.heatmap import HeatmapSettings
from motionfocal.reading import is_there, parse_yaml, read_yaml
from motionfocal.settings import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class LossSettings(Settings):
    """The motion focal loss; see ``motionfocal.loss``."""

    weighting: Weighting = Field(
        "paper",
        description="'paper', or 'motionfocal', which gives what moves the same share of every clip's loss, however"
        " small it is; 'none' trains the baseline without motion focal loss, 'inverse' weighs what stands still.",
    )
    strength: float = Field(1.0, ge=0, description="Lambda of the paper.")
    over_noise: OverNoise = Field(
        "constant",
        description="How the strength follows the noise level: 'rising' from 0 at no noise, which is the default of"
        " weighting=motionfocal, or 'constant'.",
    )
    over_training: OverTraining = Field(
        "constant",
        description="How the strength follows the training: 'fading' to 0 at its end, which is the default of"
        " weighting=motionfocal, or 'constant'.",
    )
    difference: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the frame-difference loss: of the squared error of the change from a latent frame to the"
        " next. It goes with every weighting, which has the rest.",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_it_works_best(cls, values: object) -> object:
        """What is not set follows from the weighting, so that the resolved config says what was done."""
        if isinstance(values, dict) and values.get("weighting") == "motionfocal" and values.get("strength") != 0:
            return {"over_noise": "rising", "over_training": "fading", **values}
        return values

    def schedule(self, steps: int) -> StrengthSchedule:
        """The strength's course over a training of so many steps."""
        return StrengthSchedule(self.over_noise, self.over_training, steps)


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Settings):
    """AdamW with a linear warm-up."""

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    warmup_steps: int = Field(50, ge=0, description="Steps over which the learning rate rises from 0.")
    decay: Literal["constant", "cosine"] = Field("constant", description="'cosine' falls to a tenth of the peak.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay.")
    betas: tuple[Beta, Beta] = Field((0.9, 0.99), description="Decay of AdamW's two averages.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")


class ValidationSettings(Settings):
    """Samples while it trains, as many at a time as a forward pass of training has clips."""

    every: int = Field(100, ge=1, description="Steps between validations; the last step always has one.")
    images: int = Field(
        16,
        ge=1,
        description="Held-out images of a world; of clips, the first ones of the most common shape that it trains on,"
        " held-out ones where there are any (data.held_out).",
    )
    texts: int | None = Field(
        None,
        ge=1,
        le=24,
        description="Texts an image, of a world (unset: 2); a clip's image has the clip's text alone.",
    )
    clips: int | None = Field(
        None, ge=1, description="Held-out clips (data.held_out) whose loss is measured, at most; unset: 64."
    )
    steps: int = Field(20, ge=1, description="Sampling steps.")
    guidance_scale: float = Field(7.5, ge=1, description="Classifier-free guidance; 1 samples without.")
    seed: int = Field(
        1_000_003,
        ge=0,
        description="Draws the noise and a world's images, or each clip's window; keep it apart from the run's seed.",
    )


class TrainingConfig(Settings):
    """One run. ``motionfocal train`` saves the resolved form beside its results."""

    name: str = Field("motif", min_length=1, description="What galleries and reports call the model.")
    seed: int = Field(0, ge=0, description="Draws weights, clips, timesteps, noise and dropped texts.")
    steps: int = Field(600, ge=1, description="Optimizer steps.")
    batch_size: int = Field(16, ge=1, description="Clips a step, on all processes together.")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Clips a forward pass; a step accumulates as many passes as it needs. Unset: one pass."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of networks and flow; unset: all cores.")
    workers: int = Field(0, ge=0, description="Processes that make batches ahead.")
    device: Literal["auto", "cpu"] = Field("auto", description="'auto' takes the process's GPU where there is one.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="'bf16' computes in bfloat16 (autocast). Trained weights are float32 in either case."
    )
    gradient_checkpointing: bool = Field(
        False, description="Forget activations and compute them again: less memory, about a third more time."
    )
    text_dropout: float = Field(0.1, ge=0, lt=1, description="Share of texts replaced by the empty one, for guidance.")
    image_noise: float = Field(
        0.0,
        ge=0,
        description="Standard deviation, at the highest noise level, of noise on the image's latent in training. It"
        " falls with the square of the noise level times a share that is drawn for each clip.",
    )
    ema_decay: float | None = Field(
        0.995,
        gt=0,
        lt=1,
        description="Decay of the averaged weights, which are then the result; null: none are kept.",
    )
    checkpoint_every: int = Field(100, ge=1, description="Steps between checkpoints; resume loses at most as many.")
    data: DataSettings = Field(default_factory=SpritesData, description="Where clips come from.")
    motion: HeatmapSettings = Field(default_factory=HeatmapSettings, description="How heatmaps are made.")
    loss: LossSettings = Field(default_factory=LossSettings, description="What is minimised.")
    model: ModelSettings = Field(default_factory=compact.Family, description="The base.")
    lora: LoraSettings | None = Field(None, description="Train low-rank adapters; unset: all weights of the network.")
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="How it is minimised.")
    validation: ValidationSettings | None = Field(None, description="Unset: no samples while it trains.")

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> "TrainingConfig":
        if self.loss.weighting == "none" and self.loss.strength not in (0.0, 1.0):
            raise ValueError("loss.strength has no effect with loss.weighting='none'; leave it out")
        if self.loss.difference == 1 and (self.loss.weighting, self.loss.strength) != ("paper", 1.0):
            raise ValueError("loss.weighting and loss.strength have no effect with loss.difference=1; leave them out")
        courses = {name: getattr(self.loss, name) for name in ("over_noise", "over_training")}
        for name, course in courses.items():
            if course != "constant" and (self.loss.weighting == "none" or self.loss.strength == 0):
                raise ValueError(f"loss.{name} has no effect where motion has no weight; leave it out")
            if course != "constant" and self.loss.difference == 1:
                raise ValueError(f"loss.{name} has no effect with loss.difference=1; leave it out")
        if self.motion.source == "truth" and isinstance(self.data, FolderData):
            raise ValueError(
                "motion.source is 'truth', which only a world knows, and the data are clips;"
                " set it to flow or difference"
            )
        if self.optimizer.warmup_steps > self.steps:
            raise ValueError(
                f"optimizer.warmup_steps is {self.optimizer.warmup_steps}, more than steps ({self.steps}):"
                " the learning rate would never reach its peak"
            )
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ValueError(
                f"micro_batch_size is {self.micro_batch_size}, more than batch_size ({self.batch_size}); leave it out"
            )
        if isinstance(self.data, FolderData) and self.validation and self.validation.texts not in (None, 1):
            raise ValueError("validation.texts has no effect on clips, which have one text each; leave it out")
        if self.validation and self.validation.clips and not getattr(self.data, "held_out", 0):
            raise ValueError(
                "validation.clips has no effect without held-out clips; leave it out, or set data.held_out"
            )
        return self


def recipe(name: str) -> Path:
    """A config file by path, or one that comes with the package by name.

    Raises:
        ConfigError: neither exists.
    """
    path = Path(name)
    if is_there(path):
        return path
    shipped = recipes()
    if name in shipped:
        return shipped[name]
    raise ConfigError(f"{name}: no such config file, and no recipe of this name; recipes: {', '.join(shipped)}")


def recipes() -> dict[str, Path]:
    """The config files that come with the package, by name."""
    folder = Path(str(files("motionfocal") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read a YAML file (None: the defaults) and apply overrides of the form ``a.b=value``, values in YAML.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value is out of range; each is named.
    """
    return changed_config(path, [_parsed(override) for override in overrides])


@dataclass(frozen=True)
class Change:
    """A dotted key of a config, what it becomes, and where that is said, for errors."""

    key: str
    value: object
    said: str


def changed_config(path: Path | None, changes: Sequence[Change]) -> TrainingConfig:
    """``load_config`` with changes from anywhere; an error names the change that it is of, else the file."""
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    values = (read_yaml(path, ConfigError) or {}) if path else {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys, not a {type(values).__name__}")
    for change in changes:
        _apply(values, change)
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        found = [(_source(key, changes) or path or "config", _line(key, text)) for key, text in _problems(error)]
        raise ConfigError("; ".join(f"{said}: {line}" for said, line in found)) from error


def _parsed(override: str) -> Change:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as loss.strength=2")
    return Change(key, parse_yaml(text, f"--set {override}", ConfigError), f"--set {override}")


def _apply(values: dict[str, object], change: Change) -> None:
    """Set one dotted key in a nested mapping."""
    *parents, last = change.key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{change.said}: {parent} is a value, not a group of keys")
        values = child
    values[last] = deepcopy(change.value)  # a later change may reach into it


def _source(key: str, changes: Sequence[Change]) -> str:
    """Where the last change is said that touches a key; without a key any may be at fault. Empty: none touches it."""
    if not key:
        return ", ".join(dict.fromkeys(change.said for change in changes))
    touching = [change.said for change in changes if _within(change.key, key) or _within(key, change.key)]
    return touching[-1] if touching else ""


def _within(key: str, group: str) -> bool:
    return f"{key}.".startswith(f"{group}.")


_CHOICES = {"model": sorted(known_families()), "data": ["sprites", "folder"], "schedule": ["diffusion", "flow"]}
"""What a group can be, which its ``family`` or ``kind`` tells."""

_TAGS = {"constrained-float", "literal['robust','clip_max','diagonal']", *chain(*_CHOICES.values())}
"""The members of a union, which stand in an error's location by name; they are no keys of the file."""


def explained(error: ValidationError) -> str:
    """One line a wrong key: its dotted name and what is wrong with it."""
    return "; ".join(_line(key, text) for key, text in _problems(error))


def _line(key: str, text: str) -> str:
    return f"{key}: {text}" if key else text


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Each wrong key, dotted, and what is wrong with it; the key is empty where it is of all keys together."""
    lines: dict[str, list[str]] = {}
    for problem in error.errors():
        key, text = _explained(problem)
        lines.setdefault(key, []).append(text)
    for key, texts in lines.items():
        yield key, (", or " if key else "; ").join(texts)  # a value that is none of several things has a text of each


def _explained(problem: "ErrorDetails") -> tuple[str, str]:
    """A wrong key and what is wrong with it."""
    key = ".".join(str(part) for part in problem["loc"] if part not in _TAGS)
    match problem["type"]:
        case "extra_forbidden":
            return key, "unknown key"
        case "union_tag_not_found" | "union_tag_invalid" if problem["loc"][-1] in _CHOICES:
            said = problem["ctx"]
            text = f"there is no {said['tag']}" if "tag" in said else "missing"
            choices = ", ".join(_CHOICES[str(problem["loc"][-1])])
            return f"{key}.{said['discriminator'].strip(chr(39))}", f"{text}; choose one of {choices}"
        case _:
            return key, problem["msg"].removeprefix("Value error, ")


def dump_config(config: TrainingConfig) -> str:
    """The resolved config as YAML, readable by ``load_config``."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
