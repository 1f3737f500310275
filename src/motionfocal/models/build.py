"""Build a model from its settings, save it, and load it again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from motionfocal.errors import CheckpointError, ConfigError
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import VideoModel
from motionfocal.models.schedule import ScheduleSettings
from motionfocal.models.text import WordEncoder
from motionfocal.models.xcat import XCatModel
from motionfocal.settings import Settings


class ClipShape(Settings):
    """The clips that a model works on."""

    frames: int = Field(ge=2, description="Frames a clip.")
    height: int = Field(ge=8, description="Pixels.")
    width: int = Field(ge=8, description="Pixels.")
    fps: float = Field(gt=0, description="Frames a second; where clips differ, their median.")


class CompactSettings(Settings):
    """The worlds' own denoiser, small enough to learn on one CPU core."""

    family: Literal["compact"] = "compact"
    block: int = Field(2, ge=1, description="Side of the pixel squares that the first stage folds into channels.")
    width: int = Field(
        48, ge=16, multiple_of=16, description="Channels at the fine scale; the coarse one has twice as many."
    )
    text_width: int = Field(64, ge=16, multiple_of=16, description="Width of the text encoder.")


class VideoCrafterSettings(Settings):
    """The paper's base at any size: diffusers' UNet3DConditionModel with x-cat and fps embedding.

    At this stage with the small first stage and text encoder of the worlds; the defaults train on a CPU.
    """

    family: Literal["videocrafter"] = "videocrafter"
    block: int = Field(2, ge=1, description="Side of the pixel squares that the first stage folds into channels.")
    widths: tuple[int, ...] = Field((32, 64), min_length=2, description="Channels at each scale; multiples of 32.")
    head_width: int = Field(16, ge=4, description="Width of an attention head.")
    layers: int = Field(1, ge=1, description="Residual blocks a scale.")
    text_width: int = Field(64, ge=16, multiple_of=16, description="Width of the text encoder.")


ModelSettings = Annotated[CompactSettings | VideoCrafterSettings, Field(discriminator="family")]


def build_model(settings: CompactSettings | VideoCrafterSettings, shape: ClipShape, seed: int) -> VideoModel:
    """A freshly initialised model for clips of a shape; the same seed gives the same weights.

    Raises:
        ConfigError: the frame size does not fit the family.
    """
    cell = settings.block * (2 if settings.family == "compact" else 2 ** (len(settings.widths) - 1))
    if shape.height % cell or shape.width % cell:
        raise ConfigError(
            f"frames of {shape.height}x{shape.width} do not fit model.family={settings.family}:"
            f" height and width must be multiples of {cell}"
        )
    first_stage = SpaceToDepth(settings.block)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # layers draw their weights from the global generator; there is no other door
        return XCatModel(
            first_stage, WordEncoder(settings.text_width), _denoiser(settings, shape, first_stage.channels)
        )


def _denoiser(settings: CompactSettings | VideoCrafterSettings, shape: ClipShape, channels: int) -> torch.nn.Module:
    if settings.family == "compact":
        from motionfocal.models.compact import CompactUNet

        places = shape.height * shape.width // (2 * settings.block) ** 2
        return CompactUNet(channels, settings.width, settings.text_width, shape.frames, places)
    from motionfocal.models.videocrafter import VideoCrafterUNet

    return VideoCrafterUNet(channels, settings.widths, settings.text_width, settings.head_width, settings.layers)


class ModelCard(Settings):
    """Everything besides the weights that is needed to use a model."""

    name: str = Field(description="What galleries and reports call the model.")
    model: ModelSettings
    schedule: ScheduleSettings
    shape: ClipShape


@dataclass(frozen=True)
class LoadedModel:
    """A model with its card, ready to sample."""

    card: ModelCard
    model: VideoModel


CARD, WEIGHTS = "model.json", "weights.safetensors"


def save_model(folder: Path, card: ModelCard, weights: dict[str, torch.Tensor]) -> None:
    """Write the card and the network's weights (safetensors)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    (folder / CARD).write_text(card.model_dump_json(indent=2))


def load_model(folder: Path) -> LoadedModel:
    """Read a model back, in evaluation mode.

    Raises:
        CheckpointError: the folder holds no model, or the weights do not fit the card.
    """
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder}: no model here; expected {CARD} and {WEIGHTS}, as a finished run writes them")
    try:
        card = TypeAdapter(ModelCard).validate_python(json.loads((folder / CARD).read_text()))
        model = build_model(card.model, card.shape, seed=0)
        model.network.load_state_dict(load_file(folder / WEIGHTS))
    except (ValidationError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: the model cannot be loaded: {error}") from error
    model.network.eval()
    return LoadedModel(card, model)
