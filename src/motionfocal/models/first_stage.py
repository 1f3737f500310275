"""First stages: from pixels to latents and back."""

from typing import Protocol

import torch
from torch import Tensor

from motionfocal.errors import ShapeError


class FirstStage(Protocol):
    """Maps frames to latents, frame by frame, and back."""

    channels: int
    spatial: int

    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 ``[B,T,H,W,3]`` to latents ``[B,C,T,h,w]``."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``[B,C,T,h,w]`` to frames uint8 ``[B,T,H,W,3]``."""
        ...


class SpaceToDepth:
    """Folds each ``block`` x ``block`` square of pixels into channels: exactly invertible, nothing to train.

    Pixels 0..255 become -scale..scale. ``scale`` brings latents near unit variance, as diffusion schedules expect.
    """

    def __init__(self, block: int, scale: float = 1.6) -> None:
        self.spatial, self.scale = block, scale
        self.channels = 3 * block * block

    def encode(self, frames: Tensor) -> Tensor:
        """See ``FirstStage``. Raises ShapeError when a side is not a multiple of the block."""
        if frames.shape[2] % self.spatial or frames.shape[3] % self.spatial:
            raise ShapeError(f"frames {tuple(frames.shape)}: height and width must be multiples of {self.spatial}")
        pixels = (frames.float() / 127.5 - 1) * self.scale
        folded = pixels.unflatten(3, (-1, self.spatial)).unflatten(2, (-1, self.spatial))
        return folded.permute(0, 3, 5, 6, 1, 2, 4).flatten(1, 3)

    def decode(self, latents: Tensor) -> Tensor:
        """See ``FirstStage``. Values outside of the pixel range are clipped."""
        unfolded = latents.unflatten(1, (self.spatial, self.spatial, 3)).permute(0, 4, 5, 1, 6, 2, 3)
        pixels = unfolded.flatten(4, 5).flatten(2, 3) / self.scale
        return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
