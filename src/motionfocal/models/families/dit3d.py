"""A small diffusion transformer for the worlds: Wan's, with latents compressed in time and flow matching."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.models.family import FamilySettings
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import NO_PRIORS, ClipShape, VideoModel
from motionfocal.models.schedule import FlowSettings, ScheduleSettings
from motionfocal.models.text import LENGTH, WordEncoder
from motionfocal.models.xcat import XCatModel, XCatNetwork

_PATCH = 2
"""Side of the squares of latent cells that are a token."""


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
            network = XCatNetwork(WordEncoder(self.text_width), self._denoiser(first_stage.spec.channels))
        return XCatModel(first_stage, network, self.schedule.build(), _PATCH * self.block, NO_PRIORS)

    def _denoiser(self, channels: int) -> "WanDenoiser":
        from diffusers import WanTransformer3DModel

        width = self.heads * self.head_width
        transformer = WanTransformer3DModel(
            patch_size=(1, _PATCH, _PATCH),
            num_attention_heads=self.heads,
            attention_head_dim=self.head_width,
            in_channels=2 * channels,
            out_channels=channels,
            text_dim=self.text_width,
            ffn_dim=4 * width,
            num_layers=self.layers,
        )
        return WanDenoiser(transformer)


class WanDenoiser(nn.Module):
    """Wan's transformer as a ``Denoiser``: the image's latent stands beside the noisy ones; it is not told the fps."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

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
        return prediction
