"""The paper's UNet at a small size, from scratch: diffusers' UNet3DConditionModel with x-cat and fps embedding.

It shares the worlds' first stage and text encoder, so that it trains on a CPU. VideoCrafter2 itself is ``videocrafter``.
"""

from typing import Literal

import torch
from pydantic import Field

from motionfocal.models.family import FamilySettings
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import NO_PRIORS, ClipShape, VideoModel
from motionfocal.models.schedule import DiffusionSettings, ScheduleSettings
from motionfocal.models.text import WordEncoder
from motionfocal.models.xcat import XCatModel, XCatNetwork


class Family(FamilySettings):
    """Settings of the small UNet."""

    family: Literal["unet3d"] = "unet3d"
    block: int = Field(2, ge=1, description="Side of the pixel squares that the first stage folds into channels.")
    widths: tuple[int, ...] = Field((32, 64), min_length=2, description="Channels at each scale; multiples of 32.")
    head_width: int = Field(16, ge=4, description="Width of an attention head.")
    layers: int = Field(1, ge=1, description="Residual blocks a scale.")
    text_width: int = Field(64, ge=16, multiple_of=16, description="Width of the text encoder.")
    schedule: ScheduleSettings = Field(default_factory=DiffusionSettings)

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``."""
        from motionfocal.models.videocrafter import VideoCrafterUNet

        first_stage = SpaceToDepth(self.block)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # layers draw their weights from the global generator; there is no other door
            text_encoder = WordEncoder(self.text_width)
            denoiser = VideoCrafterUNet(
                first_stage.channels, self.widths, self.text_width, self.head_width, self.layers
            )
        cell = self.block * 2 ** (len(self.widths) - 1)
        return XCatModel(first_stage, XCatNetwork(text_encoder, denoiser), self.schedule.build(), cell, NO_PRIORS)
