"""VideoCrafter's and DynamiCrafter's networks, from their own checkpoints and ready for fine-tuning."""

from motionfocal.models.videocrafter.extend import extend
from motionfocal.models.videocrafter.projector import ImageProjector
from motionfocal.models.videocrafter.unet import VideoCrafterUNet

__all__ = [
    "ImageProjector",
    "VideoCrafterUNet",
    "extend",
]
