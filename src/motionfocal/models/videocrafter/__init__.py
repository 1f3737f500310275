"""VideoCrafter's and DynamiCrafter's networks, from their own checkpoints and ready for fine-tuning."""

from motionfocal.models.videocrafter.extend import extend, widen_to_xcat
from motionfocal.models.videocrafter.projector import ImageProjector
from motionfocal.models.videocrafter.unet import VideoCrafterUNet
from motionfocal.models.videocrafter.weights import load_lvdm_unet, load_lvdm_vae, load_unet

__all__ = [
    "ImageProjector",
    "VideoCrafterUNet",
    "extend",
    "load_lvdm_unet",
    "load_lvdm_vae",
    "load_unet",
    "widen_to_xcat",
]
