"""The x-cat family: the first frame's latent stands beside every noisy frame, the text enters by cross-attention.

This is the paper's own image condition. A family of this kind differs in its first stage, its text encoder and its
denoiser alone; this adapter joins the three.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from motionfocal.models.first_stage import FirstStage
from motionfocal.models.protocol import Condition
from motionfocal.motion.latent import LatentSpec


class Denoiser(Protocol):
    """A network ``(noisy [B,C,T,h,w], timestep [B], image [B,C,T,h,w], text [B,L,D], fps [B]) -> [B,C,T,h,w]``."""

    def __call__(self, noisy: Tensor, timestep: Tensor, image: Tensor, text: Tensor, fps: Tensor) -> Tensor:
        """Predict the target."""
        ...


class XCatModel:
    """A ``VideoModel`` from a first stage, a text encoder and a denoiser."""

    given_frames = 0

    def __init__(self, first_stage: FirstStage, text_encoder: nn.Module, denoiser: nn.Module) -> None:
        self.first_stage = first_stage
        self.spec = LatentSpec(channels=first_stage.channels, spatial=first_stage.spatial)
        self._network = nn.ModuleDict({"text_encoder": text_encoder, "denoiser": denoiser})

    @property
    def network(self) -> nn.Module:
        """The text encoder and the denoiser."""
        return self._network

    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``."""
        return self.first_stage.encode(frames)

    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``."""
        return self.first_stage.decode(latents)

    def condition(self, images: Tensor, texts: Sequence[str], fps: Tensor) -> Condition:
        """See ``VideoModel``."""
        return Condition(self.encode(images[:, None]), self._network["text_encoder"](texts), fps)

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``. The image latent is repeated over the frames, as DynamiCrafter does."""
        image = condition.image.expand_as(noisy)
        return self._network["denoiser"](noisy, timestep, image, condition.text, condition.fps)
