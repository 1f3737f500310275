"""What an experiment compares: one YAML file, from which every run follows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from motionfocal.data.sources import SpritesData
from motionfocal.errors import ConfigError
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.reading import is_there, read_yaml
from motionfocal.settings import Settings
from motionfocal.training.config import Change, TrainingConfig, changed_config, explained, recipe
from motionfocal.worlds import SpritesSettings
from motionfocal.worlds.benchmark import SpritesBenchmark

Changes = dict[str, object]
"""Dotted keys of a training config and their values, as in ``{loss.strength: 2}``."""


class Contrast(Settings):
    """Two arms that are compared pair by pair."""

    ours: str = Field(description="The arm whose TI2V score it is.")
    theirs: str = Field(description="The arm that it is compared with.")
    paper: tuple[float, ...] = Field(
        (),
        description="The paper's figures in per cent, to stand beside: TI2V score of ours and theirs,"
        " then ours and theirs for image alignment, text alignment, object motion and overall quality.",
    )

    @model_validator(mode="after")
    def _whole_row(self) -> "Contrast":
        if len(self.paper) not in (0, 2, 10):
            raise ValueError(
                f"paper has {len(self.paper)} figures; give the two scores, or these and the eight reasons"
            )
        return self


class ExperimentPlan(Settings):
    """One experiment. All arms of a seed see the same clips, timesteps and noise, and start from the same weights."""

    name: str = Field(min_length=1, description="What the report calls it.")
    about: str = Field("", description="The question that it answers, in a sentence or two.")
    recipe: str = Field("sprites", description="The training config that all arms share: a recipe's name, or a path.")
    set: Changes = Field(default_factory=dict, description="Changes of the recipe that all arms share.")
    arms: dict[str, Changes] = Field(min_length=1, description="Each arm's own changes, by the arm's name.")
    contrasts: tuple[Contrast, ...] = Field((), description="Which arms are compared with which.")
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), min_length=1, description="Each arm is trained once a seed.")
    worlds: dict[str, Changes] = Field(
        default_factory=lambda: dict[str, Changes](own={}),
        description="Worlds that each model is asked about: changes of the world that it was trained on, by name.",
    )
    images: int = Field(32, ge=1, description="Scenes of each benchmark.")
    texts: int = Field(4, ge=1, le=24, description="Texts a scene.")
    sampling: SamplingSettings = Field(
        default_factory=lambda: SamplingSettings(steps=20, guidance_scale=2.0), description="How clips are sampled."
    )
    curve_every: int = Field(150, ge=1, description="Steps between points of the curve over training.")
    curve_images: int = Field(16, ge=1, description="Scenes that a point of the curve asks about, with two texts each.")

    @model_validator(mode="after")
    def _known_arms(self) -> "ExperimentPlan":
        for contrast in self.contrasts:
            for arm in (contrast.ours, contrast.theirs):
                if arm not in self.arms:
                    raise ValueError(f"contrasts name the arm {arm!r}; there are {', '.join(self.arms)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed stands twice in {list(self.seeds)}")
        for place, changes in [("set", self.set), *((f"arm {arm}", own) for arm, own in self.arms.items())]:
            if taken := changes.keys() & {"seed", "name"}:
                raise ValueError(f"{place}: {min(taken)} has no effect: seeds and the arm's name say it; leave it out")
        return self

    def runs(self, folder: Path) -> list["RunPlan"]:
        """One run an arm and seed, seed by seed, so that a half-done experiment has whole pairs.

        ``folder`` is where a recipe that is a relative path starts from.

        Raises:
            ConfigError: an arm's config is not valid, or trains on clips, which no oracle can judge.
        """
        return [self._run(folder, arm, seed) for seed in self.seeds for arm in self.arms]

    def _run(self, folder: Path, arm: str, seed: int) -> "RunPlan":
        local = folder / self.recipe
        path = local if is_there(local) else recipe(self.recipe)
        changes = {key: Change(key, value, "set") for key, value in self.set.items()}
        changes |= {key: Change(key, value, f"arm {arm}") for key, value in self.arms[arm].items()}
        of_run = [Change("seed", seed, "seeds"), Change("name", arm, f"arm {arm}")]
        config = changed_config(path, [*changes.values(), *of_run])
        if not isinstance(config.data, SpritesData):
            raise ConfigError(f"arm {arm}: trains on clips, which no oracle can judge; set data: {{kind: sprites}}")
        world = config.data.world
        return RunPlan(arm, seed, config, world, self._asked(world), self)

    def _asked(self, world: SpritesSettings) -> dict[str, SpritesBenchmark]:
        found = {}
        for name, changes in self.worlds.items():
            values = {**world.model_dump(), **{k: v for k, v in changes.items() if k != "combinations"}}
            combinations = changes.get("combinations", "any")
            try:
                found[name] = SpritesBenchmark.model_validate(
                    {"world": values, "images": self.images, "texts": self.texts, "combinations": combinations}
                )
            except ValidationError as error:
                raise ConfigError(f"worlds.{name}: {explained(error)}") from error
        return found


@dataclass(frozen=True)
class RunPlan:
    """One training and what the model is asked afterwards, by the world's name."""

    arm: str
    seed: int
    config: TrainingConfig
    world: SpritesSettings
    asked: Mapping[str, SpritesBenchmark]
    plan: ExperimentPlan

    @property
    def curve(self) -> SpritesBenchmark:
        """The questions of a point of the curve, of the world that the model trains on."""
        return SpritesBenchmark(world=self.world, images=self.plan.curve_images, texts=2, seed=1_000_003)

    @property
    def decisive(self) -> dict[str, object]:
        """The resolved config as JSON, without what decides nothing."""
        return self.config.model_dump(mode="json", exclude={*_DECIDE_NOTHING})

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the result: experiments that share a run share its result.

        The arm's name, threads and where checkpoints are written decide nothing. What has its default value is left
        out, so that a setting that is new to the project leaves the results of before where they are.
        """
        asked = {name: _unusual(asked.model_dump(mode="json"), _QUESTIONS) for name, asked in self.asked.items()}
        decides = {
            "config": _unusual(self.decisive, _CONFIG),
            "asked": asked,
            "sampling": self.plan.sampling.model_dump(mode="json"),
            "curve": [self.plan.curve_every, self.plan.curve_images],
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


_DECIDE_NOTHING = ("name", "threads", "workers", "checkpoint_every", "validation")
_CONFIG = TrainingConfig().model_dump(mode="json")
_QUESTIONS = SpritesBenchmark().model_dump(mode="json")


def _unusual(values: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    """The values that are not the defaults, in nested mappings as well."""
    found: dict[str, object] = {}
    for key, value in values.items():
        default = defaults.get(key, _NO_DEFAULT)
        if isinstance(value, dict) and isinstance(default, dict):
            if inner := _unusual(value, default):
                found[key] = inner
        elif value != default:
            found[key] = value
    return found


_NO_DEFAULT = object()


def load_plan(path: Path) -> ExperimentPlan:
    """Read an experiment's YAML file.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value is out of range; each is named.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such experiment file")
    try:
        return ExperimentPlan.model_validate(read_yaml(path, ConfigError) or {})
    except ValidationError as error:
        raise ConfigError(f"{path}: {explained(error)}") from error
