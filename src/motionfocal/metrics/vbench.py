"""VBench-I2V's ten dimensions (Huang et al., CVPR 2024; Vchitect/VBench 45e79ec) as metrics of single clips.

Values are 0..1, as VBench reports a model; docs/metrics.md tells each dimension's network, weights and known defects.
"""

from collections.abc import Callable
from typing import Literal, get_args

from motionfocal.metrics.backbones import images, motion, recipes
from motionfocal.metrics.backbones.weights import BackboneSettings
from motionfocal.metrics.metric import Metric
from motionfocal.metrics.vbench_images import FrameMetric, MeanScore, PictureMetric, consistency
from motionfocal.metrics.vbench_motion import CameraMotion, DynamicDegree, MotionSmoothness
from motionfocal.metrics.vbench_totals import Totals, vbench_totals
from motionfocal.settings import Settings

__all__ = ["DIMENSIONS", "Dimension", "Totals", "VBenchSettings", "vbench_i2v", "vbench_totals"]

Dimension = Literal[
    "subject_consistency",
    "background_consistency",
    "temporal_flickering",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
    "i2v_subject",
    "i2v_background",
    "camera_motion",
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
"""In the order of the paper's Table A3."""


class VBenchSettings(Settings):
    """Which dimensions, and the networks.

    ``i2v_antialias`` is how frames are resized for ``i2v_subject`` and ``i2v_background``: VBench leaves it to
    torchvision, whose default was False before 0.17 (the published numbers, VBench issue 131) and is True since.
    """

    dimensions: tuple[Dimension, ...] = DIMENSIONS
    i2v_antialias: bool = False
    backbones: BackboneSettings = BackboneSettings()


def vbench_i2v(settings: VBenchSettings | None = None) -> list[Metric]:
    """The metrics of the settings' dimensions, in order; no network is loaded yet.

    A dimension whose network, weights or checkout are missing says so at ``settings`` and ``begin`` (UnavailableError).
    """
    settings = settings or VBenchSettings()
    return [_MAKERS[dimension](settings) for dimension in settings.dimensions]


def _subject_consistency(settings: VBenchSettings) -> Metric:
    text = "DINO features of each frame against the first and the one before, 0..1"
    backbone = images.dino(settings.backbones)
    return FrameMetric("subject_consistency", text, backbone, recipes.SUBJECT, consistency)


def _background_consistency(settings: VBenchSettings) -> Metric:
    text = "CLIP features of each whole frame against the first and the one before, 0..1"
    backbone = images.openai_clip("ViT-B-32", settings.backbones)
    return FrameMetric("background_consistency", text, backbone, recipes.CLIP_FRAME, consistency)


def _aesthetic_quality(settings: VBenchSettings) -> Metric:
    text = "LAION's aesthetic score of the frames over 10, about 0..1"
    return FrameMetric(
        "aesthetic_quality", text, images.aesthetic(settings.backbones), recipes.CLIP_FRAME, MeanScore(10)
    )


def _imaging_quality(settings: VBenchSettings) -> Metric:
    text = "MUSIQ's score of the frames over 100, 0..1"
    return FrameMetric("imaging_quality", text, images.musiq(settings.backbones), recipes.MUSIQ, MeanScore(100))


def _i2v_subject(settings: VBenchSettings) -> Metric:
    frames, picture = recipes.i2v_subject(antialias=settings.i2v_antialias)
    text = "DINO features of the frames against the given picture and each other, 0..1"
    return PictureMetric("i2v_subject", text, images.dino(settings.backbones), frames, picture)


def _i2v_background(settings: VBenchSettings) -> Metric:
    frames, picture = recipes.i2v_background(antialias=settings.i2v_antialias)
    text = "DreamSim features of the whole frames against the given picture and each other, 0..1"
    return PictureMetric("i2v_background", text, images.dreamsim(settings.backbones), frames, picture)


def _temporal_flickering(settings: VBenchSettings) -> Metric:
    from motionfocal.metrics.flickering import TemporalFlickering

    return TemporalFlickering()


_MAKERS: dict[Dimension, Callable[[VBenchSettings], Metric]] = {
    "subject_consistency": _subject_consistency,
    "background_consistency": _background_consistency,
    "temporal_flickering": _temporal_flickering,
    "motion_smoothness": lambda settings: MotionSmoothness(motion.amt(settings.backbones)),
    "dynamic_degree": lambda settings: DynamicDegree(motion.raft(settings.backbones)),
    "aesthetic_quality": _aesthetic_quality,
    "imaging_quality": _imaging_quality,
    "i2v_subject": _i2v_subject,
    "i2v_background": _i2v_background,
    "camera_motion": lambda settings: CameraMotion(motion.cotracker(settings.backbones)),
}
