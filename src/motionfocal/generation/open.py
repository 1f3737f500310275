"""From what a person calls a model to what animates: a run, a pipeline, or a baseline by its name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from motionfocal.errors import ConfigError, UnavailableError
from motionfocal.generation.animator import Animator
from motionfocal.generation.baselines import BASELINES, Baseline
from motionfocal.models.repository import names_repository
from motionfocal.settings import validated

if TYPE_CHECKING:
    from motionfocal.generation.animators.videocrafter import Shipped

_I2VGEN_WEIGHTS = "ali-vilab/i2vgen-xl"


@dataclass(frozen=True)
class Options:
    """What a person said besides the model; what was not said is None, or empty.

    ``size`` is (height, width). ``weights`` belong to a baseline that runs in this process, ``checkout`` and ``python``
    to one that is a program of its own; ``more`` are settings by name.
    """

    size: tuple[int, int] | None = None
    frames: int | None = None
    fps: float | None = None
    steps: int | None = None
    guidance: float | None = None
    lora: Path | None = None
    weights: str | None = None
    checkout: Path | None = None
    python: Path | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    def only(self, kind: str, *taken: str) -> None:
        """Raise ConfigError when something was said that a model of this kind does not take."""
        for entry in fields(self):
            said = getattr(self, entry.name) not in (None, {})
            if said and entry.name not in {"more", *taken}:
                raise ConfigError(f"--{entry.name} has no effect on {kind}; leave it out")


def open_animator(model: str, options: Options | None = None) -> Animator:
    """The animator of a model: no weights are read yet but for their hash.

    ``model`` is a run or its model folder, a folder that 'motionfocal convert' wrote, the folder of a pipeline of
    diffusers or its name or name@revision on the hub, or the name of a baseline (a folder of that name is written
    ``./name``).

    Raises:
        ConfigError: it is none of these, or an option would have no effect on it.
        CheckpointError: the folder or the repository is not what it should be.
        UnavailableError: a baseline's weights or program are not given; the text says how to get them.
    """
    options = options or Options()
    if model in BASELINES:
        return _open_baseline(BASELINES[model], options)
    folder = Path(model)
    if not folder.is_dir():
        if names_repository(model):
            return _open_pipeline(model, options, None)
        raise ConfigError(
            f"{model}: no such folder, no name of the form owner/repository, and no baseline: these are"
            f" {', '.join(BASELINES)}"
        )
    if (folder / "model_index.json").is_file():
        return _open_folder(folder, options)
    return _open_checkpoint(folder, options)


def _open_checkpoint(folder: Path, options: Options) -> Animator:
    from motionfocal.generation.animators.checkpoint import CheckpointAnimator, model_folder
    from motionfocal.generation.sampler import sampling_of
    from motionfocal.models.build import load_card

    options.only("a model of ours, which has its size and rate from training", "steps", "guidance")
    sampling = sampling_of(load_card(model_folder(folder)), {**_sampling(options), **options.more})
    return CheckpointAnimator.open(model_folder(folder), sampling)


def _open_folder(folder: Path, options: Options) -> Animator:
    """A pipeline's folder, or one of a converted checkpoint."""
    from motionfocal.generation.animators.videocrafter import kind_of
    from motionfocal.models.pipeline_folder import PipelineFolder

    found = PipelineFolder(str(folder))
    if found.index.get("_class_name") == "VideoCrafter":
        kind = kind_of(found)
        options.only(f"{kind} from its folder", "size", "frames", "fps", "steps", "guidance")
        return _open_converted(str(folder), kind, options)
    return _open_pipeline(str(folder), options, None)


def _open_pipeline(weights: str, options: Options, name: str | None) -> Animator:
    from motionfocal.generation.animators.pipeline import PipelineAnimator
    from motionfocal.generation.animators.pipeline_call import PipelineOptions

    said = ("size", "frames", "fps", "steps", "guidance", "lora")
    if name is None:
        options.only("a pipeline", *said)
    own = {key: value for key, value in options.more.items() if key in ("dtype", "offload")}
    call = {key: value for key, value in options.more.items() if key not in own}
    settings = {key: getattr(options, key) for key in said} | own | {"call": call}
    return PipelineAnimator(weights, validated(PipelineOptions, settings), name=name)


def _open_converted(weights: str, kind: str, options: Options) -> Animator:
    from motionfocal.generation.animators.videocrafter import SHIPPED, open_converted

    return open_converted(weights, _changed(SHIPPED[kind], options), kind)


def _changed(shipped: "Shipped", options: Options) -> "Shipped":
    """Shipped settings with what was said in their place; ``told_fps`` and ``fit`` among ``more``."""
    more = dict(options.more)
    told, fit = more.pop("told_fps", shipped.shape.fps), more.pop("fit", shipped.fit)
    height, width = options.size or (shipped.shape.height, shipped.shape.width)
    values = {
        "shape": {"frames": options.frames or shipped.shape.frames, "height": height, "width": width, "fps": told},
        "fps": options.fps or shipped.fps,
        "fit": fit,
        "sampling": {**shipped.sampling.model_dump(), **_sampling(options), **more},
    }
    return validated(type(shipped), values)


def _open_baseline(found: Baseline, options: Options) -> Animator:
    if found.runs == "external":
        return _open_external(found, options)
    options.only(f"{found.name}, which runs in this process", "weights", "size", "frames", "fps", "steps", "guidance")
    if found.name == "i2vgen-xl":
        return _open_pipeline(options.weights or _I2VGEN_WEIGHTS, options, found.name)
    if options.weights is None:
        raise UnavailableError(f"{found.name} needs its weights: {'; '.join(found.setup)}; then --weights FOLDER")
    from motionfocal.generation.animators.videocrafter import kind_of
    from motionfocal.models.pipeline_folder import PipelineFolder

    kind = kind_of(PipelineFolder(options.weights))
    if kind != found.name:
        raise ConfigError(f"--weights {options.weights}: holds {kind}, not {found.name}")
    return _open_converted(options.weights, kind, options)


_PROGRAMS_FIELDS = {"size": ("height", "width"), "steps": ("steps",), "guidance": ("guidance_scale",)}
"""What programs call our options, where they take them."""


def _open_external(found: Baseline, options: Options) -> Animator:
    from motionfocal.generation.external import external_settings, open_external

    taken = external_settings(found.name).model_fields
    fitting = {option: names for option, names in _PROGRAMS_FIELDS.items() if set(names) <= set(taken)}
    options.only(f"{found.name} (with --set it takes {', '.join(taken)})", "checkout", "python", *fitting)
    if options.checkout is None or options.python is None:
        missing = [f"--{option}" for option in ("checkout", "python") if getattr(options, option) is None]
        raise UnavailableError(
            f"{found.name} is a program of its own ({found.repository}): {'; '.join(found.setup)}; then give"
            f" {' and '.join(missing)}. 'motionfocal baselines {found.name}' says more"
        )
    given = dict(options.more)
    for option, names in fitting.items():
        if (said := getattr(options, option)) is not None:
            given |= dict(zip(names, said if isinstance(said, tuple) else (said,), strict=True))
    return open_external(found.name, options.checkout, options.python, given)


def _sampling(options: Options) -> dict[str, object]:
    said = {"steps": options.steps, "guidance_scale": options.guidance}
    return {key: value for key, value in said.items() if value is not None}
