"""The worlds' own family: a denoiser small enough to learn on one CPU core.

It has a learned embedding for each frame and each place, and so takes clips that are no longer, higher or wider than
those that it is built for.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from motionfocal.models.compact import CompactUNet
from motionfocal.models.family import FamilySettings
from motionfocal.models.first_stage import SpaceToDepth
from motionfocal.models.protocol import MOTION_MASK, MOTION_SCORE, ClipShape, ImageCondition, VideoModel
from motionfocal.models.schedule import DiffusionSettings, ScheduleSettings
from motionfocal.models.text import LENGTH, WordEncoder
from motionfocal.models.xcat import XCatModel, XCatNetwork


class Family(FamilySettings):
    """Settings of the compact family."""

    encoder_fields: ClassVar = ("block", "temporal")
    words: ClassVar = LENGTH

    family: Literal["compact"] = "compact"
    block: int = Field(2, ge=1, description="Side of the pixel squares that the first stage folds into channels.")
    temporal: int = Field(
        1,
        ge=1,
        description="Frames that the first stage folds into a latent frame, the first one alone: clips have"
        " temporal * k + 1 frames where it is above 1, as those of causal video VAEs do.",
    )
    width: int = Field(
        48, ge=16, multiple_of=16, description="Channels at the fine scale; the coarse one has twice as many."
    )
    text_width: int = Field(64, ge=16, multiple_of=16, description="Width of the text encoder.")
    image_condition: ImageCondition = Field(
        "xcat",
        description="How the image enters: beside the noisy latents (xcat, the paper's), as tokens in cross-attention,"
        " or both (dual).",
    )
    motion_score: bool = Field(False, description="Tell the network how much moves (mean flow), embedded like fps.")
    motion_mask: bool = Field(False, description="Tell the network where something may move, as an input channel.")
    schedule: ScheduleSettings = Field(default_factory=DiffusionSettings)

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``."""
        first_stage = SpaceToDepth(self.block, self.temporal)
        priors = {name for name in (MOTION_SCORE, MOTION_MASK) if getattr(self, name)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # layers draw their weights from the global generator; there is no other door
            network = XCatNetwork(WordEncoder(self.text_width), self._denoiser(first_stage.spec.channels, shape))
        return XCatModel(first_stage, network, self.schedule.build(), 2 * self.block, frozenset(priors), largest=shape)

    def _denoiser(self, channels: int, shape: ClipShape) -> CompactUNet:
        place = 2 * self.block
        return CompactUNet(
            channels,
            self.width,
            self.text_width,
            max_frames=shape.frames,
            grid=(shape.height // place, shape.width // place),
            xcat=self.image_condition != "cross_attention",
            image_attention=self.image_condition != "xcat",
            motion_score=self.motion_score,
            motion_mask=self.motion_mask,
        )
