"""One step's loss: noise the latents, predict the target, weigh the error by motion."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from motionfocal.data.batches import EncodedBatch, MotionBatch
from motionfocal.errors import ConfigError
from motionfocal.loss import MOVING, LossOutput, MotionFocalLoss, StrengthSchedule
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, ClipShape, Condition, Tensors, VideoModel

_PRIOR_DROPOUT = 0.5
"""Share of clips whose motion priors are withheld: sampling with and without them must both be learnt well."""


@dataclass(frozen=True)
class Draws:
    """What is drawn for each clip: its timestep ``[B]``, its noise, and what is withheld (boolean ``[B]``).

    ``image_noise`` is what is added to the image's latent, in its shape; None where nothing is.
    """

    timestep: Tensor
    noise: Tensor
    no_text: Tensor
    no_prior: Tensor
    image_noise: Tensor | None


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

    def dropout_seeds(self, layer: int) -> list[int]:
        """One seed a clip for what a layer drops of it, by the layer's number: of no other stream."""
        return [stable_seed(self.seed, self.step, clip, layer) for clip in self.clips]


def stable_seed(*numbers: int) -> int:
    """A 63-bit seed that is the same on every machine and differs wherever one of the numbers differs."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()) >> 1


def dropout_seed(seed: int, step: int, process: int) -> int:
    """The seed of a process's dropout at a step: of no clip, whose places are 0 and above."""
    return stable_seed(seed, step, -1 - process)


@dataclass(frozen=True)
class DiffusionObjective:
    """Denoising on a model's latents, with text dropout for classifier-free guidance.

    ``no_text`` is what ``encode_text([""])`` gives. ``image_noise`` puts noise on the image's latent, so that the
    network does not lean on the image where the clip itself is all noise (conditional image leakage, arXiv 2406.15735).
    Its standard deviation, in units of the latent, is

        image_noise * level^2, level = noise_level(timestep) * u, u uniform in [0, 1], drawn for each clip.

    Sampling tells the image as it is. Families whose image condition has no latent are refused by
    ``require_image_latent``.
    """

    model: VideoModel
    loss: MotionFocalLoss
    strength: StrengthSchedule
    text_dropout: float
    no_text: Tensors
    image_noise: float = 0.0

    def __call__(self, batch: EncodedBatch, seeds: ClipSeeds) -> LossOutput:
        """The loss of a batch, a mean over its clips."""
        schedule = self.model.schedule
        draws = self._draw(batch.latents, seeds, batch.image["latent"] if self.image_noise else None)
        noisy = schedule.add_noise(batch.latents, draws.noise, draws.timestep)
        prediction = self.model.predict(noisy, draws.timestep, self._condition(batch, draws))
        target = schedule.target(batch.latents, draws.noise, draws.timestep)
        scale = self.strength(schedule.noise_level(draws.timestep), seeds.step)
        return self.loss(prediction, target, batch.motion.heat, self._generated(batch.motion.heat), scale)

    def _draw(self, latents: Tensor, seeds: ClipSeeds, image: Tensor | None = None) -> Draws:
        """``image`` is the latent that gets noise, if any: drawn last, so that everything else is drawn the same."""
        cells, rngs = latents[0, 0].numel(), seeds.generators()
        withheld, timesteps, noises = [], [], []
        for rng in rngs:
            withheld.append(torch.rand(2, generator=rng))
            timesteps.append(self.model.schedule.draw(cells, rng))
            noises.append(torch.randn(latents.shape[1:], generator=rng))
        shares = torch.stack(withheld).to(latents.device)
        timestep = torch.stack(timesteps).to(latents.device)
        return Draws(
            timestep,
            torch.stack(noises).to(latents),
            shares[:, 0] < self.text_dropout,
            shares[:, 1] < _PRIOR_DROPOUT,
            None if image is None else self._draw_image_noise(image, timestep, rngs),
        )

    def _draw_image_noise(self, image: Tensor, timestep: Tensor, rngs: list[Generator]) -> Tensor:
        shares, noises = [], []
        for rng in rngs:
            shares.append(torch.rand((), generator=rng))
            noises.append(torch.randn(image.shape[1:], generator=rng))
        level = self.model.schedule.noise_level(timestep) * torch.stack(shares).to(timestep.device)
        deviation = (self.image_noise * level.square()).view(-1, *[1] * (image.ndim - 1))
        return (deviation * torch.stack(noises).to(timestep.device)).to(image)

    def _condition(self, batch: EncodedBatch, draws: Draws) -> Condition:
        priors, image = self.model.priors, batch.image
        if draws.image_noise is not None:
            image = image | {"latent": image["latent"] + draws.image_noise}
        return Condition(
            image,
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


def require_image_latent(model: VideoModel, shape: ClipShape) -> None:
    """Raise ConfigError when what a model is told of an image has no latent, which ``image_noise`` could be put on."""
    told = model.blank(shape, 1).image
    if "latent" not in told:
        raise ConfigError(
            f"image_noise: this family is told of the image by {', '.join(told)} alone, and has no latent of it to put"
            " noise on; set image_noise=0, or an image condition with a latent"
        )


def _where(condition: Tensor, yes: Tensor | float, no: Tensor) -> Tensor:
    """``torch.where`` by clip."""
    return torch.where(condition.view(-1, *[1] * (no.ndim - 1)), yes, no)


def _motion_score(motion: MotionBatch, withheld: Tensor) -> Tensor:
    return _where(withheld, -1.0, motion.score)


def _motion_mask(motion: MotionBatch, withheld: Tensor) -> Tensor:
    """Where a clip moves at any time, for all of its frames: what a person can say of a clip that is yet to be made."""
    moves = (motion.heat.amax(dim=2, keepdim=True) > MOVING).to(motion.heat.dtype)
    return _where(withheld, 1.0, moves.expand_as(motion.heat))
