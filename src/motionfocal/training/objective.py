"""One step's loss: noise the latents, predict the target, weigh the error by motion."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from motionfocal.data.batches import EncodedBatch, MotionBatch
from motionfocal.loss import MOVING, LossOutput, MotionFocalLoss, OverNoise, strength_over_noise
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, Condition, Tensors, VideoModel

_PRIOR_DROPOUT = 0.5
"""Share of clips whose motion priors are withheld: sampling with and without them must both be learnt well."""


@dataclass(frozen=True)
class Draws:
    """What is drawn for each clip: its timestep ``[B]``, its noise, and what is withheld (boolean ``[B]``)."""

    timestep: Tensor
    noise: Tensor
    no_text: Tensor
    no_prior: Tensor


@dataclass(frozen=True)
class ClipSeeds:
    """The random streams of a step's clips, functions of the run's seed, the step and the clip's place alone.

    A clip draws the same whatever part of the batch it comes in, on whatever process.
    """

    seed: int
    step: int
    clips: range

    def generators(self) -> list[Generator]:
        """One CPU generator a clip."""
        return [Generator().manual_seed(stable_seed(self.seed, self.step, clip)) for clip in self.clips]


def stable_seed(*numbers: int) -> int:
    """A 63-bit seed that is the same on every machine and differs wherever one of the numbers differs."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1


@dataclass(frozen=True)
class DiffusionObjective:
    """Denoising on a model's latents, with text dropout for classifier-free guidance.

    ``no_text`` is what ``encode_text([""])`` gives.
    """

    model: VideoModel
    loss: MotionFocalLoss
    over_noise: OverNoise
    text_dropout: float
    no_text: Tensors

    def __call__(self, batch: EncodedBatch, seeds: ClipSeeds) -> LossOutput:
        """The loss of a batch, a mean over its clips."""
        schedule = self.model.schedule
        draws = self._draw(batch.latents, seeds)
        noisy = schedule.add_noise(batch.latents, draws.noise, draws.timestep)
        prediction = self.model.predict(noisy, draws.timestep, self._condition(batch, draws))
        target = schedule.target(batch.latents, draws.noise, draws.timestep)
        scale = strength_over_noise(self.over_noise, schedule.noise_level(draws.timestep))
        return self.loss(prediction, target, batch.motion.heat, self._generated(batch.motion.heat), scale)

    def _draw(self, latents: Tensor, seeds: ClipSeeds) -> Draws:
        cells = latents[0, 0].numel()
        withheld, timesteps, noises = [], [], []
        for rng in seeds.generators():
            withheld.append(torch.rand(2, generator=rng))
            timesteps.append(self.model.schedule.draw(cells, rng))
            noises.append(torch.randn(latents.shape[1:], generator=rng))
        shares = torch.stack(withheld).to(latents.device)
        return Draws(
            torch.stack(timesteps).to(latents.device),
            torch.stack(noises).to(latents),
            shares[:, 0] < self.text_dropout,
            shares[:, 1] < _PRIOR_DROPOUT,
        )

    def _condition(self, batch: EncodedBatch, draws: Draws) -> Condition:
        priors = self.model.priors
        return Condition(
            batch.image,
            {name: _where(draws.no_text, self.no_text[name], text) for name, text in batch.text.items()},
            batch.fps,
            _motion_score(batch.motion, draws.no_prior) if MOTION_SCORE in priors else None,
            _motion_mask(batch.motion, draws.no_prior) if MOTION_MASK in priors else None,
        )

    def _generated(self, heat: Tensor) -> Tensor | None:
        """A mask without the latent frames that the model is given, or None when it generates them all."""
        given = self.model.given_frames
        if given == 0:
            return None
        mask = torch.ones_like(heat)
        mask[:, :, :given] = 0
        return mask


def _where(condition: Tensor, yes: Tensor | float, no: Tensor) -> Tensor:
    """``torch.where`` by clip."""
    return torch.where(condition.view(-1, *[1] * (no.ndim - 1)), yes, no)


def _motion_score(motion: MotionBatch, withheld: Tensor) -> Tensor:
    return _where(withheld, -1.0, motion.score)


def _motion_mask(motion: MotionBatch, withheld: Tensor) -> Tensor:
    """Where a clip moves at any time, for all of its frames: what a person can say of a clip that is yet to be made."""
    moves = (motion.heat.amax(dim=2, keepdim=True) > MOVING).to(motion.heat.dtype)
    return _where(withheld, 1.0, moves.expand_as(motion.heat))
