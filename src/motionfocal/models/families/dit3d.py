"""A small diffusion transformer for the worlds: Wan's, with latents compressed in time and flow matching."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.models.compact import sinusoid, zero
from motionfocal.models.family import FamilySettings
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import NO_PRIORS, ClipShape, VideoModel
from motionfocal.models.schedule import FlowSettings, ScheduleSettings
from motionfocal.models.text import LENGTH, WordEncoder
from motionfocal.models.xcat import XCatModel, XCatNetwork

_PATCH = 2
"""Side of the squares of latent cells that are a token."""
_TIME = 64
"""Width of the noise level's embedding for the shortcut."""


class Family(FamilySettings):
    """Settings of the small transformer."""

    encoder_fields: ClassVar = ("block", "temporal")
    words: ClassVar = LENGTH

    family: Literal["dit3d"] = "dit3d"
    block: int = Field(2, ge=1, description="Side of the pixel squares that the first stage folds into channels.")
    temporal: int = Field(
        4,
        ge=1,
        description="Frames that the first stage folds into a latent frame, the first one alone: clips have"
        " temporal * k + 1 frames where it is above 1, as those of causal video VAEs do.",
    )
    heads: int = Field(4, ge=1, description="Attention heads.")
    head_width: int = Field(32, ge=12, multiple_of=2, description="Width of an attention head.")
    layers: int = Field(4, ge=1, description="Transformer blocks.")
    text_width: int = Field(64, ge=16, multiple_of=16, description="Width of the text encoder.")
    schedule: ScheduleSettings = Field(default_factory=FlowSettings)

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``."""
        first_stage = SpaceToDepth(self.block, self.temporal)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # layers draw their weights from the global generator; there is no other door
            denoiser = WanDenoiser(self._transformer(first_stage.spec.channels), first_stage.spec.channels)
            network = XCatNetwork(WordEncoder(self.text_width), denoiser)
        return XCatModel(first_stage, network, self.schedule.build(), _PATCH * self.block, NO_PRIORS)

    def _transformer(self, channels: int) -> nn.Module:
        from diffusers import WanTransformer3DModel

        width = self.heads * self.head_width
        return WanTransformer3DModel(
            patch_size=(1, _PATCH, _PATCH),
            num_attention_heads=self.heads,
            attention_head_dim=self.head_width,
            in_channels=2 * channels,
            out_channels=channels,
            text_dim=self.text_width,
            ffn_dim=4 * width,
            num_layers=self.layers,
        )


class WanDenoiser(nn.Module):
    """Wan's transformer as a ``Denoiser``: the image's latent stands beside the noisy ones; it is not told the fps.

    Noisy latents and image also go straight to the output, scaled by an embedding of the noise level. What is predicted
    holds all of the noise, and a token of a small transformer is narrower than the noise that it would have to pass on.
    """

    def __init__(self, transformer: nn.Module, channels: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.time = nn.Sequential(nn.Linear(_TIME, _TIME), nn.SiLU())
        self.shortcut = zero(nn.Linear(_TIME, 2 * channels))

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        image: Tensor,
        text: Tensor,
        fps: Tensor,
        motion_score: Tensor | None,
        motion_mask: Tensor | None,
    ) -> Tensor:
        """See ``Denoiser``."""
        sample = torch.cat([noisy, image], dim=1)
        prediction: Tensor = self.transformer(sample, timestep, text, return_dict=False)[0]
        scales = self.shortcut(self.time(sinusoid(timestep, _TIME)))[..., None, None, None].chunk(2, dim=1)
        return prediction + scales[0] * noisy + scales[1] * image
