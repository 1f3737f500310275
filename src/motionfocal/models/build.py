"""Build a model from its settings, save it, and load it again."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from motionfocal.errors import CheckpointError
from motionfocal.models.protocol import ClipShape, VideoModel
from motionfocal.models.settings import ModelSettings
from motionfocal.settings import Settings


class ModelCard(Settings):
    """Everything besides the weights that is needed to use a model."""

    name: str = Field(description="What galleries and reports call the model.")
    model: ModelSettings
    shape: ClipShape


@dataclass(frozen=True)
class LoadedModel:
    """A model with its card, ready to sample."""

    card: ModelCard
    model: VideoModel


CARD, WEIGHTS = "model.json", "weights.safetensors"


def build_model(settings: ModelSettings, shape: ClipShape, seed: int) -> VideoModel:
    """A model for clips of a shape, see ``FamilySettings.build``.

    Raises:
        ShapeError: the family cannot take clips of this shape.
        CheckpointError: the weights that it starts from are missing or do not fit.
    """
    model = settings.build(shape, seed)
    model.check(shape)
    return model


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
