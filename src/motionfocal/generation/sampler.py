"""Sampling: from a first frame and a text to a clip, with classifier-free guidance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Generator, Tensor

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.models.build import LoadedModel, ModelCard
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, Condition, Tensors, VideoModel
from motionfocal.settings import Settings, validated


class SamplingSettings(Settings):
    """How clips are sampled; the defaults are the paper's."""

    steps: int = Field(50, ge=1, description="Sampling steps.")
    guidance_scale: float = Field(7.5, ge=1, description="Classifier-free guidance; 1 samples without it.")
    guidance_rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Pull the guided prediction's spread back to the conditional one's (Lin et al. 2024).",
    )
    eta: float = Field(0.0, ge=0, le=1, description="Noise added while sampling: 0 is DDIM, 1 is ancestral.")
    motion_score: float | None = Field(
        None, ge=0, description="How much should move, mean pixels a frame; for models that take a motion score."
    )


def sampling_of(card: ModelCard, asked: Mapping[str, object]) -> SamplingSettings:
    """How a model's clips are sampled: as is asked for, and for the rest, or where that is None, as is usual for it.

    Raises:
        ConfigError: there is no such setting, or its value is out of range.
    """
    usual = {} if card.guidance_scale is None else {"guidance_scale": card.guidance_scale}
    return validated(SamplingSettings, usual | {key: value for key, value in asked.items() if value is not None})


@torch.no_grad()
def sample(
    loaded: LoadedModel,
    images: NDArray[np.uint8],
    texts: Sequence[str],
    seeds: Sequence[int],
    settings: SamplingSettings,
    after_step: Callable[[], None] = lambda: None,
    motion_mask: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Animate images uint8 ``[B,H,W,3]`` of the model's size, each by its text: frames uint8 ``[B,T,H,W,3]``.

    Each clip's noise is drawn from its own seed, so a clip does not depend on its neighbours in the batch.
    The first frame of the result is the model's, not a copy of the image. ``motion_mask`` ``[B,H,W]`` in [0, 1] says
    where something may move, to models that take one.

    Raises:
        ShapeError: the images are not of the model's size.
        ConfigError: the model takes no motion score or no motion mask, but one was given.
    """
    model, shape = loaded.model, loaded.card.shape
    if images.shape[1:] != (shape.height, shape.width, 3):
        raise ShapeError(f"images {images.shape} do not fit the model: [B,{shape.height},{shape.width},3]")
    device = next(model.network.parameters()).device
    grid = model.spec.grid(shape.frames, shape.height, shape.width)
    noise = ClipNoise(seeds, (model.spec.channels, *grid), device)
    condition = _condition(loaded, torch.from_numpy(images).to(device), texts, settings, motion_mask)
    guided = settings.guidance_scale != 1
    without_text = on(device, model.encode_text([""] * len(texts))) if guided else None

    latents = noise()
    sampler = model.schedule.sampler(settings.steps, int(np.prod(grid)), settings.eta)
    for timestep in sampler.timesteps:
        prediction = _guided(model, latents, timestep.to(device), condition, without_text, settings)
        latents = sampler.step(prediction, timestep, latents, noise)
        after_step()
    return model.decode(model.complete(latents, condition)).cpu().numpy()


class ClipNoise:
    """Draws noise ``[B,*shape]``, each clip from its own seed; every call goes on where the last one stopped."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device) -> None:
        self._generators = [Generator().manual_seed(seed) for seed in seeds]
        self._shape, self._device = shape, device

    def __call__(self) -> Tensor:
        """A fresh draw, on the CPU first so that every device sees the same noise."""
        return torch.stack([torch.randn(self._shape, generator=rng) for rng in self._generators]).to(self._device)


def _condition(
    loaded: LoadedModel,
    images: Tensor,
    texts: Sequence[str],
    settings: SamplingSettings,
    mask: NDArray[np.float32] | None,
) -> Condition:
    model, shape, device = loaded.model, loaded.card.shape, images.device
    for name, given in ((MOTION_SCORE, settings.motion_score), (MOTION_MASK, mask)):
        if given is not None and name not in model.priors:
            raise ConfigError(f"{loaded.card.name} was not trained with a {name.replace('_', ' ')}; leave it out")
    score = settings.motion_score
    return Condition(
        on(device, model.encode_image(images, shape.frames)),
        on(device, model.encode_text(texts)),
        torch.full((len(texts),), shape.fps, device=device),
        None if score is None else torch.full((len(texts),), score, device=device),
        None if mask is None else _latent_mask(mask, model).to(device),
    )


def _latent_mask(mask: NDArray[np.float32], model: VideoModel) -> Tensor:
    """A mask in pixels ``[B,H,W]`` as ``[B,1,1,h,w]``: a latent cell may move when any of its pixels may."""
    pooled = torch.nn.functional.max_pool2d(torch.from_numpy(mask)[:, None], model.spec.spatial)
    return (pooled > 0.5).float()[:, :, None]


def on(device: torch.device, tensors: Tensors) -> Tensors:
    """Named tensors on a device."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _guided(
    model: VideoModel,
    latents: Tensor,
    timestep: Tensor,
    condition: Condition,
    without_text: Tensors | None,
    settings: SamplingSettings,
) -> Tensor:
    """eps = eps("") + scale (eps(text) - eps("")), the image being the same in both (Ho and Salimans 2022).

    ``without_text`` None samples without guidance: eps = eps(text).
    """
    timesteps = timestep.expand(len(latents))
    conditional = model.predict(latents, timesteps, condition)
    if without_text is None:
        return conditional
    unconditional = model.predict(latents, timesteps, replace(condition, text=without_text))
    guided = unconditional + settings.guidance_scale * (conditional - unconditional)
    return _rescaled(guided, conditional, settings.guidance_rescale)


def _rescaled(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Blend in the guided prediction scaled to the conditional one's standard deviation, clip by clip."""
    if share == 0:
        return guided
    axes = tuple(range(1, guided.ndim))
    factor = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return torch.lerp(guided, guided * factor, share)
