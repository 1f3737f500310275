"""What a video model family offers to training and sampling. One family, one adapter file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from motionfocal.motion.latent import LatentSpec


@dataclass(frozen=True)
class Condition:
    """What a prediction depends on besides the noisy latents; made by ``VideoModel.condition``.

    ``image`` is the latent of the first frame ``[B,C,1,h,w]``, ``text`` the token embeddings ``[B,L,D]``,
    ``fps`` the frames a second of the clip ``[B]``.
    """

    image: Tensor
    text: Tensor
    fps: Tensor


class VideoModel(Protocol):
    """A text-image-to-video model in latent space.

    Latents are ``[B,C,T,h,w]`` unless ``spec.layout`` says otherwise. ``given_frames`` is the number of leading latent
    frames that the model is given rather than generates; training keeps them out of the loss.
    """

    spec: LatentSpec
    given_frames: int

    @property
    def network(self) -> nn.Module:
        """Everything that is trained, saved and averaged."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """Frames uint8 ``[B,T,H,W,3]`` to latents. Deterministic."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to frames uint8 ``[B,T,H,W,3]``."""
        ...

    def condition(self, images: Tensor, texts: Sequence[str], fps: Tensor) -> Condition:
        """First frames uint8 ``[B,H,W,3]``, texts and fps ``[B]`` to a condition. The text "" is unconditional."""
        ...

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """The network's output for noisy latents at integer timesteps ``[B]``, shaped like the latents."""
        ...
