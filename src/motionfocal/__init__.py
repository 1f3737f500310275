"""MotionFocal: motion heatmaps and the motion focal loss for text-image-to-video models.

The names below are the stable doors for other trainers; they load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motionfocal.loss import MotionFocalLoss, StrengthSchedule
    from motionfocal.motion import (
        HeatmapSettings,
        LatentSpec,
        estimate_flow,
        from_layout,
        heatmap_of,
        motion_heatmap,
        pool_to_latent,
        register_estimator,
        to_layout,
    )
    from motionfocal.video import Clip, read_clip, write_clip

__version__ = "0.1.0"

_HOMES = {
    "Clip": "motionfocal.video",
    "HeatmapSettings": "motionfocal.motion",
    "LatentSpec": "motionfocal.motion",
    "MotionFocalLoss": "motionfocal.loss",
    "StrengthSchedule": "motionfocal.loss",
    "estimate_flow": "motionfocal.motion",
    "from_layout": "motionfocal.motion",
    "heatmap_of": "motionfocal.motion",
    "motion_heatmap": "motionfocal.motion",
    "pool_to_latent": "motionfocal.motion",
    "read_clip": "motionfocal.video",
    "register_estimator": "motionfocal.motion",
    "to_layout": "motionfocal.motion",
    "write_clip": "motionfocal.video",
}

__all__ = [
    "Clip",
    "HeatmapSettings",
    "LatentSpec",
    "MotionFocalLoss",
    "StrengthSchedule",
    "__version__",
    "estimate_flow",
    "from_layout",
    "heatmap_of",
    "motion_heatmap",
    "pool_to_latent",
    "read_clip",
    "register_estimator",
    "to_layout",
    "write_clip",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'motionfocal' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
