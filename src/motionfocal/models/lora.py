"""Low-rank adapters (LoRA, Hu et al. 2021) on the trained parts of a model."""

from collections.abc import Iterable, Sequence

import torch
from pydantic import Field
from torch import nn

from motionfocal.errors import ConfigError
from motionfocal.models.protocol import VideoModel
from motionfocal.settings import Settings

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of attention, as diffusers names them."""

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that take an adapter."""

_FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""PyTorch's own blocks read the weights of their layers directly: an adapter inside would not be heard."""


class LoraSettings(Settings):
    """A layer's weight W becomes W + alpha / rank * B A; A ``[rank,in]`` and B ``[out,rank]`` alone are trained."""

    rank: int = Field(32, ge=1, description="Rank of the adapters.")
    alpha: float | None = Field(None, gt=0, description="The adapters' output is scaled by alpha / rank; unset: by 1.")
    targets: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Layers that get an adapter, by the end of their names; unset: to_q, to_k, to_v and to_out.0.",
    )


def add_lora(model: VideoModel, settings: LoraSettings, seed: int) -> None:
    """Freeze the network and put adapters into its parts, float32 whatever the base's dtype.

    They change nothing at first: A is drawn from the seed, B is zero. Weights that no checkpoint has trained (the
    model's ``fresh``) learn beside them, and keep the base's dtype.

    Raises:
        ConfigError: a target is the name of no layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = settings.targets or ATTENTION
    layers = {name: _layers(part) for name, part in model.parts.items()}
    _check_targets(targets, [layer for names in layers.values() for layer in names])
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha or settings.rank, target_modules=list(targets))
    model.network.requires_grad_(False)
    fresh = [model.parts[part].get_parameter(name) for part, name in (name.split(".", 1) for name in model.fresh)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # peft draws from the global generator; there is no other door
        for name, part in model.parts.items():
            if any(_is_meant(layer, target) for layer in layers[name] for target in targets):
                inject_adapter_in_model(config, part)
    for adapter in (weight for weight in model.network.parameters() if weight.requires_grad):
        adapter.data = adapter.data.float()
    for weight in fresh:
        weight.requires_grad_()


def _layers(part: nn.Module) -> list[str]:
    """Names of the layers that take an adapter."""
    fused = tuple(f"{name}." for name, module in part.named_modules() if isinstance(module, _FUSED))
    named = part.named_modules()
    return [name for name, module in named if isinstance(module, _LAYERS) and not name.startswith(fused)]


def _is_meant(layer: str, target: str) -> bool:
    return f".{layer}".endswith(f".{target}")


def _check_targets(targets: Iterable[str], layers: Sequence[str]) -> None:
    for target in targets:
        if not any(_is_meant(layer, target) for layer in layers):
            raise ConfigError(f"lora.targets: no layer has a name that ends in {target}; there are {_summary(layers)}")


def _summary(layers: Iterable[str]) -> str:
    """The ends of names, a numbered layer's with the name before it (``to_out.0``)."""
    ends = set()
    for layer in layers:
        *before, last = layer.split(".")
        ends.add(".".join([*before[-1:], last]) if last.isdigit() else last)
    return ", ".join(sorted(ends))
