"""Build a model from its settings, save what was trained of it, and load it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, ConfigError, MotionFocalError
from motionfocal.models.lora import LoraSettings, add_lora
from motionfocal.models.protocol import ClipShape, VideoModel
from motionfocal.models.settings import ModelSettings
from motionfocal.reading import read_json
from motionfocal.settings import Settings


class ModelCard(Settings):
    """Everything besides the weights that is needed to use a model."""

    name: str = Field(description="What galleries and reports call the model.")
    model: ModelSettings
    shape: ClipShape
    lora: LoraSettings | None = Field(None, description="The adapters that were trained; None: all of the network.")
    guidance_scale: float | None = Field(
        None, ge=1, description="Guidance of its validation, with which it animates unless another is asked for."
    )
    seed: int = Field(
        0, ge=0, description="Drew what no checkpoint holds, so that adapters lie on the same base again."
    )


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


def recompute_activations(model: VideoModel) -> None:
    """Gradient checkpointing: activations are forgotten, and computed again in the backward pass.

    Raises:
        ConfigError: no part of the model can do it.
    """
    modules = [module for part in model.parts.values() for module in part.modules()]
    able: list[Any] = [module for module in modules if getattr(module, "_supports_gradient_checkpointing", False)]
    if not able:
        names = ", ".join(type(part).__name__ for part in model.parts.values())
        raise ConfigError(f"gradient_checkpointing: {names} cannot do it; leave it out")
    for module in able:
        module.enable_gradient_checkpointing()


def trained_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def check_weights(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: tensors are missing, superfluous or of another shape; the first few of them are named.
    """
    problems = {
        "missing": [name for name in wanted if name not in found],
        "superfluous": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {list(found[name].shape)}, not {list(wanted[name].shape)}"
            for name in wanted
            if name in found and found[name].shape != wanted[name].shape
        ],
    }
    said = [f"{len(names)} tensors {kind}: {_first(names)}" for kind, names in problems.items() if names]
    if said:
        raise CheckpointError(f"{where}: does not fit the model: {'; '.join(said)}")


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def save_model(folder: Path, card: ModelCard, weights: Mapping[str, Tensor]) -> None:
    """Write the trained weights (safetensors) and the card, each complete before it takes its name, the card last.

    Raises:
        CheckpointError: the disk is full, or the folder may not be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".partial"
    try:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)
    except SafetensorError as error:
        raise CheckpointError(
            f"{folder}: the model cannot be written ({error}); make room, and give the command again"
        ) from error
    partial.replace(folder / WEIGHTS)
    partial.write_text(card.model_dump_json(indent=2))
    partial.replace(folder / CARD)


def best_device(asked: Literal["auto", "cpu"] = "auto") -> torch.device:
    """What PyTorch computes on here besides the CPU (CUDA, ROCm, Apple's MPS, ...); the CPU where it is asked for."""
    found = torch.accelerator.current_accelerator() if asked == "auto" and torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def load_card(folder: Path) -> ModelCard:
    """The card of a model folder; its weights are there, but not read.

    Raises:
        CheckpointError: the folder holds no model, or the card is none.
    """
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder}: no model here; expected {CARD} and {WEIGHTS}, as a finished run writes them")
    try:
        return TypeAdapter(ModelCard).validate_python(read_json(folder / CARD, CheckpointError))
    except ValidationError as error:
        raise CheckpointError(f"{folder}: the model cannot be loaded: {error}") from error


def load_model(folder: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Read a model back, in evaluation mode; what was not trained comes from where the training had it.

    Raises:
        CheckpointError: the folder holds no model, the weights do not fit the card, or no model can be built by it.
    """
    card = load_card(folder)
    try:
        stored = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise CheckpointError(f"{folder}: the model cannot be loaded: {error}") from error
    model = _described(card, folder / CARD)
    weights = trained_weights(model.network)
    check_weights(stored, weights, folder / WEIGHTS)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(stored[name])
    model.network.eval().to(device)
    model.device = torch.device(device)
    return LoadedModel(card, model)


def _described(card: ModelCard, where: Path) -> VideoModel:
    """The model of a card. Of sizes that no machine has, as damage makes them, PyTorch raises several errors."""
    try:
        model = build_model(card.model, card.shape, card.seed)
        if card.lora is not None:
            add_lora(model, card.lora, card.seed)
    except MotionFocalError:
        raise
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        said = str(error).partition("\n")[0]
        raise CheckpointError(f"{where}: describes a model that cannot be built here: {said}") from error
    return model
