"""One step's loss: noise the latents, predict the target, weigh the error by motion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from motionfocal.data.batches import TrainingBatch
from motionfocal.loss import LossOutput, MotionFocalLoss
from motionfocal.models.protocol import VideoModel

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


@dataclass(frozen=True)
class DiffusionObjective:
    """Denoising score matching on a model's latents, with text dropout for classifier-free guidance."""

    model: VideoModel
    scheduler: "DDIMScheduler"
    loss: MotionFocalLoss
    text_dropout: float

    def __call__(self, batch: TrainingBatch, rng: torch.Generator) -> LossOutput:
        """The loss of a batch. ``rng`` (a CPU generator) draws the timesteps, the noise and the dropped texts."""
        size = len(batch.texts)
        with torch.no_grad():
            latents = self.model.encode(batch.frames)
        steps = self.scheduler.config.num_train_timesteps
        timestep = torch.randint(0, steps, (size,), generator=rng).to(latents.device)
        noise = torch.randn(latents.shape, generator=rng).to(latents)
        texts = _dropped(batch.texts, self.text_dropout, rng)

        noisy = self.scheduler.add_noise(latents, noise, timestep)
        condition = self.model.condition(batch.frames[:, 0], texts, batch.fps)
        prediction = self.model.predict(noisy, timestep, condition)
        return self.loss(prediction, self._target(latents, noise, timestep), batch.heat, self._generated(batch.heat))

    def _target(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        if self.scheduler.config.prediction_type == "epsilon":
            return noise
        return self.scheduler.get_velocity(latents, noise, timestep)

    def _generated(self, heat: Tensor) -> Tensor | None:
        """A mask without the latent frames that the model is given, or None when it generates them all."""
        given = self.model.given_frames
        if given == 0:
            return None
        mask = torch.ones_like(heat)
        mask[:, :, :given] = 0
        return mask


def _dropped(texts: Sequence[str], share: float, rng: torch.Generator) -> list[str]:
    """The texts, a share of them emptied."""
    draws = torch.rand(len(texts), generator=rng)
    return ["" if draw < share else text for text, draw in zip(texts, draws, strict=True)]
