"""Sampling: from a first frame and a text to a clip, by DDIM with classifier-free guidance."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from motionfocal.errors import ShapeError
from motionfocal.models.build import LoadedModel
from motionfocal.settings import Settings


class SamplingSettings(Settings):
    """How clips are sampled; the defaults are the paper's."""

    steps: int = Field(50, ge=1, description="DDIM steps.")
    guidance_scale: float = Field(7.5, ge=1, description="Classifier-free guidance; 1 samples without it.")


@torch.no_grad()
def sample(
    loaded: LoadedModel,
    images: NDArray[np.uint8],
    texts: Sequence[str],
    seeds: Sequence[int],
    settings: SamplingSettings,
    after_step: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """Animate images uint8 ``[B,H,W,3]`` of the model's size, each by its text: frames uint8 ``[B,T,H,W,3]``.

    Each clip's noise is drawn from its own seed, so a clip does not depend on its neighbours in the batch.
    The first frame of the result is the model's, not a copy of the image.

    Raises:
        ShapeError: the images are not of the model's size.
    """
    model, shape = loaded.model, loaded.card.shape
    if images.shape[1:] != (shape.height, shape.width, 3):
        raise ShapeError(f"images {images.shape} do not fit the model: [B,{shape.height},{shape.width},3]")
    device = next(model.network.parameters()).device
    frames, height, width = model.spec.grid(shape.frames, shape.height, shape.width)
    size = (model.spec.channels, frames, height, width)
    latents = torch.stack([torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    latents = latents.to(device)

    count = len(texts)
    guided = settings.guidance_scale > 1
    pictures = torch.from_numpy(images).to(device)
    rates = torch.full((count,), shape.fps, device=device)
    condition = model.condition(
        torch.cat([pictures, pictures]) if guided else pictures,
        [*([""] * count if guided else []), *texts],
        torch.cat([rates, rates]) if guided else rates,
    )
    scheduler = loaded.card.schedule.scheduler()
    scheduler.set_timesteps(settings.steps)
    for timestep in scheduler.timesteps:
        noisy = torch.cat([latents, latents]) if guided else latents
        prediction = model.predict(noisy, timestep.to(device).expand(len(noisy)), condition)
        if guided:
            unconditional, conditional = prediction.chunk(2)
            prediction = unconditional + settings.guidance_scale * (conditional - unconditional)
        latents = scheduler.step(prediction, timestep, latents).prev_sample
        after_step()
    return model.decode(latents).cpu().numpy()
