"""What a pipeline of diffusers can be asked, told by its folder's index and its class before anything is loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue

from motionfocal.errors import CheckpointError, ConfigError
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.settings import Settings

Size = tuple[int, int]
Index = Mapping[str, Any]


class PipelineOptions(Settings):
    """How a pipeline is asked; what is unset is the pipeline's own default."""

    size: Size | None = Field(None, description="Height and width in pixels.")
    frames: int | None = Field(None, ge=1, description="Frames a clip.")
    fps: float | None = Field(None, gt=0, description="Rate of the clip, told to pipelines that ask for it.")
    steps: int | None = Field(None, ge=1, description="Sampling steps.")
    guidance: float | None = Field(None, ge=0, description="Classifier-free guidance.")
    lora: Path | None = Field(None, description="Adapters as load_lora_weights takes them: a file or a folder.")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="Of the weights as loaded. Unset: the one that the model is for, whatever the machine."
    )
    offload: Literal["none", "model", "sequential"] = Field(
        "none", description="Keep on the GPU the part that works alone (model), or the layer (sequential)."
    )
    call: dict[str, JsonValue] = Field(default_factory=dict, description="Other keywords of the pipeline's call.")


@dataclass(frozen=True)
class Native:
    """What a class's signature does not tell of a model: see ``PipelineOptions``.

    ``wide`` hands pictures uncropped; ``tiled`` decodes tile by tile, where a VAE would not fit on a GPU otherwise.
    """

    fps: float | None = None
    size: Size | None = None
    frames: int | None = None
    steps: int | None = None
    guidance: float | None = None
    dtype: str = "bfloat16"
    precise: tuple[str, ...] = ()
    wide: bool = False
    tiled: bool = False


_NATIVE: dict[str, Native | Callable[[PipelineFolder], Native]] = {
    "WanImageToVideoPipeline": lambda folder: (
        Native(fps=24, size=(704, 1280), frames=121, precise=("vae",))
        if folder.index.get("expand_timesteps")
        else Native(fps=16, steps=40, guidance=3.5, precise=("vae",))
        if folder.index.get("boundary_ratio")
        else Native(fps=16, precise=("vae", "image_encoder"))
    ),
    "SkyReelsV2ImageToVideoPipeline": Native(fps=24, precise=("vae", "image_encoder")),
    "CogVideoXImageToVideoPipeline": lambda folder: (
        Native(fps=16, frames=81) if folder.config("transformer").get("patch_size_t") else Native(fps=8)
    ),
    "HunyuanVideo15ImageToVideoPipeline": Native(fps=24, tiled=True),
    "HunyuanVideoImageToVideoPipeline": Native(fps=24),
    "HunyuanSkyreelsImageToVideoPipeline": Native(fps=24),
    "Kandinsky5I2VPipeline": Native(fps=24),
    "MotifVideoImage2VideoPipeline": Native(fps=24),
    "SanaImageToVideoPipeline": Native(fps=16),
    "StableVideoDiffusionPipeline": Native(dtype="float16"),
    "I2VGenXLPipeline": Native(fps=8, dtype="float16", wide=True),
}
"""Rates are those of the models' cards. Wan's first stage is meant for float32, as its authors load it; Wan2.2-A14B is
told by the boundary of its two experts, and sampled as its authors do. CogVideoX1.5 is told from CogVideoX by its
patches in time."""

_SIBLINGS: dict[str, tuple[str, Callable[[Index], bool]]] = {
    "WanPipeline": ("WanImageToVideoPipeline", lambda index: bool(index.get("expand_timesteps"))),
    "LTXPipeline": ("LTXImageToVideoPipeline", lambda index: True),
    "LTX2Pipeline": ("LTX2ImageToVideoPipeline", lambda index: True),
    "SanaVideoPipeline": ("SanaImageToVideoPipeline", lambda index: True),
}
"""Folders published as text-to-video pipelines whose weights animate pictures too, and how such weights are told."""

_RATES, _LENGTHS = ("frame_rate", "fps"), ("num_frames", "frames")
_OWN = {
    "self", "image", "prompt", "height", "width", "num_inference_steps", "guidance_scale", "generator", "latents",
    "output_type", "return_dict", "num_videos_per_prompt", *_RATES, *_LENGTHS,
}  # fmt: skip
"""Keywords that are given by the item, the options, or not at all."""


@dataclass(frozen=True)
class PipelineCall:
    """A pipeline's class and the keywords of its call, but for picture, text, size and generator.

    ``size`` is None where only the loaded pipeline knows it.
    """

    class_name: str
    native: Native
    size: Size | None
    fps: float
    steps: int
    keywords: Mapping[str, Any]
    takes_text: bool
    takes_size: bool
    guider: float | None
    """Guidance for pipelines that keep it in a part of their own."""


def plan_call(folder: PipelineFolder, options: PipelineOptions) -> PipelineCall:
    """Hold options against the class that a folder names.

    Raises:
        CheckpointError: the folder's pipeline takes no image, or this version of diffusers does not know it.
        ConfigError: the pipeline does not take one of the options, or the rate of its clips is not known.
    """
    name = _class_name(folder)
    takes, native = _keywords(name), _native(name, folder)
    rate, length = (_one_of(names, takes) for names in (_RATES, _LENGTHS))
    guided = "guidance_scale" in takes
    _refuse(options, name, {
        "size": {"height", "width"} <= set(takes),
        "frames": length is not None,
        "steps": "num_inference_steps" in takes,
        "guidance": guided or folder.has("guider"),
    }, takes)  # fmt: skip
    frames, steps = options.frames or native.frames, options.steps or native.steps
    guidance = native.guidance if options.guidance is None else options.guidance
    fps = options.fps or native.fps or (takes[rate].default if rate else None)
    if fps is None:
        raise ConfigError(f"--fps: {name} does not say how fast its frames follow one another; give it")
    given: dict[str, Any] = {
        **({length: frames} if length and frames else {}),
        **({rate: _whole(fps)} if rate else {}),
        **({"num_inference_steps": steps} if steps else {}),
        **({"guidance_scale": guidance} if guidance is not None and guided else {}),
    }
    takes_size = {"height", "width"} <= set(takes)
    return PipelineCall(
        class_name=name,
        native=native,
        size=options.size or native.size or (_default_size(takes) if takes_size else None),
        fps=float(fps),
        steps=steps or takes["num_inference_steps"].default,
        keywords=given | options.call,
        takes_text="prompt" in takes,
        takes_size=takes_size,
        guider=None if guided else options.guidance,
    )


def class_of(name: str) -> Any:  # noqa: ANN401 - a class of diffusers, which is untyped
    """The pipeline class of this name, None where diffusers has none."""
    import diffusers

    return getattr(diffusers, name, None)


def _class_name(folder: PipelineFolder) -> str:
    """The class that animates with the weights of a folder."""
    found = folder.index.get("_class_name")
    if not isinstance(found, str):
        raise CheckpointError(f"{folder.folder}: its pipeline is code of its own ({found}), which is not run")
    sibling, fits = _SIBLINGS.get(found, (found, lambda index: True))
    name = sibling if fits(folder.index) else found
    if class_of(name) is None:
        raise CheckpointError(f"{folder.folder}: this version of diffusers has no {name}; update diffusers")
    if "image" not in _keywords(name):
        raise CheckpointError(f"{folder.folder}: {name} takes no image; name an image-to-video model")
    return name


def _keywords(name: str) -> Mapping[str, Parameter]:
    return signature(class_of(name).__call__).parameters


def _native(name: str, folder: PipelineFolder) -> Native:
    found = _NATIVE.get(name, Native())
    return found if isinstance(found, Native) else found(folder)


def _one_of(names: tuple[str, ...], takes: Mapping[str, Parameter]) -> str | None:
    return next((name for name in names if name in takes), None)


def _whole(value: float) -> float:
    """A whole number as int: rates are declared so."""
    return int(value) if value == int(value) else value


def _default_size(takes: Mapping[str, Parameter]) -> Size | None:
    height, width = takes["height"].default, takes["width"].default
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _refuse(options: PipelineOptions, name: str, able: Mapping[str, bool], takes: Mapping[str, Parameter]) -> None:
    more = sorted(key for key in takes if key not in _OWN and not key.startswith("callback") and "embeds" not in key)
    for option, can in able.items():
        if getattr(options, option) is not None and not can:
            raise ConfigError(f"--{option}: {name} does not take it; with --set it takes {', '.join(more)}")
    for key in options.call:
        if key not in more:
            hint = "that is given by the item or by an option of its own" if key in _OWN else "it knows no such keyword"
            raise ConfigError(f"--set {key}: {name}: {hint}; with --set it takes {', '.join(more)}")
    if options.lora is not None and not options.lora.exists():
        raise ConfigError(f"--lora {options.lora}: no such file or folder")
