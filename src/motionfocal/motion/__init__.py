"""From frames to motion weights: flow, camera compensation, heatmaps, pooling onto a latent grid."""

from motionfocal.motion.camera import CameraMotion, compensate_camera
from motionfocal.motion.flow import (
    FlowEstimator,
    estimate_flow,
    known_estimators,
    register_estimator,
    run_networks_on,
)
from motionfocal.motion.heatmap import (
    CameraFallbackWarning,
    ClipMotion,
    HeatmapSettings,
    heatmap_of,
    motion_heatmap,
    motion_of,
    moving_share,
)
from motionfocal.motion.latent import LatentSpec, from_layout, pool_to_latent, to_layout
from motionfocal.motion.overlay import filmstrip, overlay

__all__ = [
    "CameraFallbackWarning",
    "CameraMotion",
    "ClipMotion",
    "FlowEstimator",
    "HeatmapSettings",
    "LatentSpec",
    "compensate_camera",
    "estimate_flow",
    "filmstrip",
    "from_layout",
    "heatmap_of",
    "known_estimators",
    "motion_heatmap",
    "motion_of",
    "moving_share",
    "overlay",
    "pool_to_latent",
    "register_estimator",
    "run_networks_on",
    "to_layout",
]
