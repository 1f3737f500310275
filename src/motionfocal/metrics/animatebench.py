"""AnimateBench's two scores (Zhang et al., PIA, CVPR 2024): how near the frames stay to the picture and to the text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from motionfocal.metrics.backbones import images
from motionfocal.metrics.backbones.backbone import Backbone, Stream
from motionfocal.metrics.backbones.images import ClipModel
from motionfocal.metrics.backbones.recipes import CLIP_PICTURE
from motionfocal.metrics.backbones.weights import BackboneSettings
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Metric, Output, Sample, Values
from motionfocal.metrics.vbench_images import picture_features
from motionfocal.settings import Settings

Scale = Literal["cosine", "clipscore", "shifted"]

SCALES: dict[Scale, Callable[[float], float]] = {
    "cosine": lambda cosine: cosine,
    "clipscore": lambda cosine: 2.5 * max(cosine, 0.0),
    "shifted": lambda cosine: (1 + cosine) / 2,
}


class AnimateBenchSettings(Settings):
    """Which CLIP, and on what scale.

    PIA's evaluation code was never published, and the scale of its numbers is open: a still clip's text score of
    0.6624 (MotiF, Table 4) is no plain cosine of any CLIP; it fits ``clipscore`` (2.5 cos, at a cosine of 0.265, as
    ViT-L/14 gives) and ``shifted`` ((1 + cos)/2, at 0.325, as ViT-B/32 gives). ``cosine`` claims nothing. Calibrate
    on the row of still clips (0.9929, 0.6624) before you compare with published numbers.
    """

    clip: Literal["ViT-B-32", "ViT-L-14"] = "ViT-L-14"
    scale: Scale = "cosine"
    backbones: BackboneSettings = BackboneSettings()


@dataclass(frozen=True)
class Alignment:
    """``mean_t cos(CLIP(f_t), CLIP(x))`` and ``mean_t cos(CLIP(f_t), CLIP(text))``, of one pass over the frames."""

    backbone: Backbone
    scale: Scale = "cosine"
    version: int = 1
    reads_text: bool = True
    uses_network: bool = True
    name: str = "animatebench"

    @property
    def settings(self) -> Mapping[str, object]:
        """The network's weights and library, preprocessing and scale. Raises UnavailableError without the weights."""
        return {**self.backbone.identity, "frames": CLIP_PICTURE.describe(), "scale": self.scale}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Two values a clip, on the settings' scale."""
        return (
            Output("image_alignment", "higher", f"CLIP: frames against the given picture ({self.scale})"),
            Output("text_alignment", "higher", f"CLIP: frames against the text ({self.scale})"),
        )

    def begin(self, sample: Sample) -> "_Alignment":
        """Loads the network. Raises UnavailableError, CheckpointError, ManifestError (a text that CLIP would cut)."""
        network: ClipModel = self.backbone.network  # type: ignore[assignment]
        return _Alignment(self, sample, network.texts([sample.text])[0])


class _Alignment:
    """Keeps the features of a clip's frames, its picture and its text."""

    def __init__(self, metric: Alignment, sample: Sample, text: Tensor) -> None:
        self.metric, self.sample, self.text = metric, sample, text
        self.stream = Stream(metric.backbone, CLIP_PICTURE)
        self._picture: Tensor | None = None

    def see(self, frame: Frame) -> None:
        if self._picture is None:
            self._picture = picture_features(self.metric.backbone, CLIP_PICTURE, self.sample, frame)
        self.stream.see(frame.rgb)

    def values(self) -> Values:
        if self._picture is None:
            return {"image_alignment": None, "text_alignment": None}
        rows, scale = self.stream.rows(), SCALES[self.metric.scale]
        return {
            "image_alignment": scale(mean_cosine(rows, self._picture)),
            "text_alignment": scale(mean_cosine(rows, self.text)),
        }


def mean_cosine(rows: Tensor, other: Tensor) -> float:
    """The mean cosine of rows ``[T,D]`` with one vector ``[D]``."""
    return float(F.cosine_similarity(rows.double(), other.double()[None], dim=-1).mean())


def animatebench(settings: AnimateBenchSettings | None = None) -> list[Metric]:
    """The two alignments as one metric, of one pass of CLIP over the frames."""
    settings = settings or AnimateBenchSettings()
    return [Alignment(images.openai_clip(settings.clip, settings.backbones), settings.scale)]
