"""The paper's UNet at a small size, from scratch: diffusers' UNet3DConditionModel with x-cat and fps embedding.

It shares the first stage and text encoder of the worlds, so that it trains on a CPU. VideoCrafter2 is ``videocrafter``.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.models.family import FamilySettings
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, ClipShape, VideoModel
from motionfocal.models.schedule import DiffusionSettings, ScheduleSettings
from motionfocal.models.text import LENGTH, WordEncoder
from motionfocal.models.xcat import XCatModel, XCatNetwork


class Family(FamilySettings):
    """Settings of the small UNet."""

    encoder_fields: ClassVar = ("block",)
    words: ClassVar = LENGTH

    family: Literal["unet3d"] = "unet3d"
    block: int = Field(2, ge=1, description="Side of the pixel squares that the first stage folds into channels.")
    widths: tuple[int, ...] = Field((32, 64), min_length=2, description="Channels at each scale; multiples of 32.")
    head_width: int = Field(16, ge=4, description="Width of an attention head.")
    layers: int = Field(1, ge=1, description="Residual blocks a scale.")
    text_width: int = Field(64, ge=16, multiple_of=16, description="Width of the text encoder.")
    motion_score: bool = Field(False, description="Tell the network how much moves (mean flow), embedded like fps.")
    motion_mask: bool = Field(False, description="Tell the network where something may move, as an input channel.")
    schedule: ScheduleSettings = Field(default_factory=DiffusionSettings)

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``."""
        first_stage = SpaceToDepth(self.block)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # layers draw their weights from the global generator; there is no other door
            network = XCatNetwork(WordEncoder(self.text_width), self._denoiser(first_stage.spec.channels))
        cell = self.block * 2 ** (len(self.widths) - 1)
        priors = frozenset(name for name in (MOTION_SCORE, MOTION_MASK) if getattr(self, name))
        return XCatModel(first_stage, network, self.schedule.build(), cell, priors)

    def _denoiser(self, channels: int) -> "UNetDenoiser":
        from motionfocal.models.videocrafter import VideoCrafterUNet

        unet = VideoCrafterUNet(
            in_channels=2 * channels,
            out_channels=channels,
            block_out_channels=self.widths,
            attention_levels=(True,) * (len(self.widths) - 1) + (False,),
            layers_per_block=self.layers,
            cross_attention_dim=self.text_width,
            attention_head_dim=self.head_width,
            motion_score=self.motion_score,
            motion_mask=self.motion_mask,
        )
        return UNetDenoiser(unet)


class UNetDenoiser(nn.Module):
    """The UNet as a ``Denoiser``: image latents beside the noisy ones, fps as a whole number."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

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
        return self.unet(sample, timestep, text, fps.round(), None, motion_score, motion_mask)
