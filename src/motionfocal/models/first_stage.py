"""First stages: from pixels to latents and back."""

from typing import Protocol

import torch
from torch import Tensor

from motionfocal.motion.latent import LatentSpec


class FirstStage(Protocol):
    """Maps frames to latents and back."""

    spec: LatentSpec

    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 ``[B,T,H,W,3]`` to latents ``[B,C,T,h,w]``."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``[B,C,T,h,w]`` to frames uint8 ``[B,T,H,W,3]``."""
        ...


class SpaceToDepth:
    """Folds each ``block`` x ``block`` square of pixels into channels: exactly invertible, nothing to train.

    Pixels 0..255 become -scale..scale. ``scale`` brings latents near unit variance, as diffusion schedules expect.
    With ``temporal`` r above 1, frames are folded as well, as causal video VAEs do: the first frame has a latent to
    itself, which holds it r times, and the next r frames have one together.
    """

    def __init__(self, block: int, temporal: int = 1, scale: float = 1.6) -> None:
        self.scale = scale
        self.spec = LatentSpec(3 * temporal * block * block, block, temporal, causal=temporal > 1)

    def encode(self, frames: Tensor) -> Tensor:
        """See ``FirstStage``. Raises ShapeError when a side or the length does not fit the folding."""
        self.spec.grid(*frames.shape[1:4])
        pixels = (frames.float() / 127.5 - 1) * self.scale
        if self.spec.causal:
            pixels = torch.cat([pixels[:, :1]] * (self.spec.temporal - 1) + [pixels], dim=1)
        block, temporal = self.spec.spatial, self.spec.temporal
        folded = pixels.unflatten(3, (-1, block)).unflatten(2, (-1, block)).unflatten(1, (-1, temporal))
        return folded.permute(0, 2, 4, 6, 7, 1, 3, 5).flatten(1, 4)

    def decode(self, latents: Tensor) -> Tensor:
        """See ``FirstStage``. Values outside of the pixel range are clipped; the first frame is its last copy."""
        block, temporal = self.spec.spatial, self.spec.temporal
        unfolded = latents.unflatten(1, (temporal, block, block, 3)).permute(0, 5, 1, 6, 2, 7, 3, 4)
        pixels = unfolded.flatten(5, 6).flatten(3, 4).flatten(1, 2) / self.scale
        frames = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return frames[:, temporal - 1 :] if self.spec.causal else frames
