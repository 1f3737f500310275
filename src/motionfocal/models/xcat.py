"""The x-cat family: the first frame's latent stands beside every noisy frame, the text enters by cross-attention.

This is the paper's own image condition; a denoiser can attend to the latent instead. A family of this kind differs in
its first stage, its text encoder and its denoiser alone; this adapter joins the three.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from motionfocal.errors import ShapeError
from motionfocal.models.first_stage import FirstStage
from motionfocal.models.protocol import ClipShape, Condition, Schedule, Tensors
from motionfocal.models.text import LENGTH, WordEncoder, tokenize


class Denoiser(Protocol):
    """A network on ``noisy`` and ``image`` ``[B,C,T,h,w]``, ``timestep`` and ``fps`` ``[B]``, ``text`` ``[B,L,D]``.

    ``image`` is the latent of the first frame, the same for every frame.
    """

    def __call__(
        self,
        noisy: Tensor,
        timestep: Tensor,
        image: Tensor,
        text: Tensor,
        fps: Tensor,
        motion_score: Tensor | None,
        motion_mask: Tensor | None,
    ) -> Tensor:
        """Predict the target, shaped like ``noisy``. The motion priors are those of ``Condition``."""
        ...


class XCatNetwork(nn.Module):
    """A text encoder and a denoiser that learn together."""

    def __init__(self, text_encoder: WordEncoder, denoiser: nn.Module) -> None:
        super().__init__()
        self.text_encoder, self.denoiser = text_encoder, denoiser

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        image: Tensor,
        tokens: Tensor,
        fps: Tensor,
        motion_score: Tensor | None,
        motion_mask: Tensor | None,
    ) -> Tensor:
        """As ``Denoiser``, from the tokens of the texts ``[B,L]``."""
        return self.denoiser(noisy, timestep, image, self.text_encoder(tokens), fps, motion_score, motion_mask)


class XCatModel:
    """A ``VideoModel`` from a first stage and a network. The image latent is repeated over the frames."""

    given_frames = 0
    pipeline_class = None
    fresh: frozenset[str] = frozenset()

    def __init__(
        self,
        first_stage: FirstStage,
        network: nn.Module,
        schedule: Schedule,
        cell: int,
        priors: frozenset[str],
        largest: ClipShape | None = None,
    ) -> None:
        """A model of clips up to the ``largest``; None: of any.

        ``cell`` is the side of the pixel squares that frames are made of: the first stage's and the network's.
        """
        self._first_stage, self._cell, self._largest = first_stage, cell, largest
        self.network, self.schedule, self.priors = network, schedule, priors
        self.device = torch.device("cpu")  # nothing frozen has weights: what is encoded stays where the frames are
        self.spec = first_stage.spec

    @property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``."""
        return {"network": self.network}

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``."""
        if shape.height % self._cell or shape.width % self._cell:
            raise ShapeError(
                f"frames of {shape.height}x{shape.width} do not fit the model:"
                f" height and width must be multiples of {self._cell}"
            )
        self.spec.latent_frames(shape.frames)
        if self._largest is not None:
            _refuse_larger(shape, self._largest)

    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``."""
        return self._first_stage.encode(frames)

    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``."""
        return self._first_stage.decode(latents)

    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: the image's latent ``[B,C,1,h,w]``."""
        return {"latent": self.encode(images[:, None])}

    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: word numbers ``[B,L]``; their embeddings are trained."""
        return {"tokens": tokenize(texts)}

    def blank(self, shape: ClipShape, clips: int) -> Condition:
        """See ``VideoModel``."""
        _, height, width = self.spec.grid(shape.frames, shape.height, shape.width)
        latent = torch.zeros(clips, self.spec.channels, 1, height, width)
        tokens = torch.zeros(clips, LENGTH, dtype=torch.long)
        return Condition({"latent": latent}, {"tokens": tokens}, torch.zeros(clips))

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        image = condition.image["latent"].expand_as(noisy)
        return self.network(
            noisy,
            timestep,
            image,
            condition.text["tokens"],
            condition.fps,
            condition.motion_score,
            condition.motion_mask,
        )

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        return latents


def _refuse_larger(shape: ClipShape, largest: ClipShape) -> None:
    """Raise ShapeError when clips are longer, higher or wider than the network has embeddings for."""
    if shape.frames > largest.frames or shape.height > largest.height or shape.width > largest.width:
        asked, built = (f"{one.frames}x{one.height}x{one.width}" for one in (shape, largest))
        raise ShapeError(
            f"clips of {asked} do not fit this model: it has a place for each frame and cell of the most common shape,"
            f" {built}, and no more; keep to one shape, or take a family without such places (unet3d, dit3d)"
        )


def mask_channel(mask: Tensor | None, noisy: Tensor) -> Tensor:
    """The motion mask as a channel ``[B,1,T,h,w]`` beside noisy latents; ones where nothing was said."""
    return torch.ones_like(noisy[:, :1]) if mask is None else mask.expand_as(noisy[:, :1])


def score_or_unsaid(score: Tensor | None, fps: Tensor) -> Tensor:
    """The motion score ``[B]``; -1 where nothing was said."""
    return torch.full_like(fps, -1) if score is None else score
