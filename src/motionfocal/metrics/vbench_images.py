"""VBench-I2V's dimensions that look at single frames: consistency, aesthetics, imaging, and nearness to the picture.

Source of all formulas: Vchitect/VBench 45e79ec. Frames f_1..f_T, given picture x, cos⁺ = max(0, cos).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from motionfocal.metrics.backbones.backbone import Backbone, Stream
from motionfocal.metrics.backbones.recipes import Recipe, cut_to_shape
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Output, Sample, Values

Formula = Callable[[Tensor], float | None]
"""From the network's rows ``[T,...]`` of a clip to its value, None where it has none."""


def consistency(features: Tensor) -> float | None:
    """Mean over t = 2..T of ``(cos⁺(d_1, d_t) + cos⁺(d_{t-1}, d_t)) / 2`` of features ``[T,D]``; None if T < 2."""
    if len(features) < 2:
        return None
    unit = F.normalize(features.double(), dim=-1)
    to_first = (unit[1:] @ unit[0]).clamp(min=0)
    to_previous = (unit[1:] * unit[:-1]).sum(dim=-1).clamp(min=0)
    return float((to_first + to_previous).mean() / 2)


def conformity(features: Tensor, picture: Tensor) -> float | None:
    """``0.4 max_t cos⁺(x, d_t) + 0.3 mean_t cos⁺(d_{t-1}, d_t) + 0.3 min_t cos⁺(d_{t-1}, d_t)``; None if T < 2.

    ``features`` ``[T,D]`` of the frames, ``picture`` ``[D]``. A clip that leaves the picture at once keeps the first
    term: frame 1 alone decides it.
    """
    if len(features) < 2:
        return None
    unit = F.normalize(features.double(), dim=-1)
    to_picture = (unit @ F.normalize(picture.double(), dim=-1)).clamp(min=0)
    to_previous = (unit[1:] * unit[:-1]).sum(dim=-1).clamp(min=0)
    return float(0.4 * to_picture.max() + 0.3 * to_previous.mean() + 0.3 * to_previous.min())


@dataclass(frozen=True)
class MeanScore:
    """The mean of the frames' scores ``[T,1]`` over a scale: ``mean_t s_t / over``."""

    over: float

    def __call__(self, scores: Tensor) -> float:
        """The clip's value."""
        return float(scores.double().mean() / self.over)


@dataclass(frozen=True)
class FrameMetric:
    """A dimension that is a formula over the rows that a backbone gives for the frames."""

    name: str
    description: str
    backbone: Backbone
    recipe: Recipe
    formula: Formula
    version: int = 1
    reads_text: bool = False
    uses_network: bool = True

    @property
    def settings(self) -> Mapping[str, object]:
        """The network's weights and library, and the preprocessing. Raises UnavailableError without the weights."""
        return {**self.backbone.identity, "frames": self.recipe.describe()}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One value a clip."""
        return (Output(self.name, "higher", self.description),)

    def begin(self, sample: Sample) -> "FrameObserver":
        """Loads the network. Raises UnavailableError, CheckpointError."""
        _ = self.backbone.network
        return FrameObserver(self)


class FrameObserver:
    """Keeps the rows of a clip's frames."""

    def __init__(self, metric: FrameMetric) -> None:
        self.metric, self.stream = metric, Stream(metric.backbone, metric.recipe)

    def see(self, frame: Frame) -> None:
        """The next frame."""
        self.stream.see(frame.rgb)

    def values(self) -> Values:
        """The formula's value."""
        return {self.metric.name: self.metric.formula(self.stream.rows())}


@dataclass(frozen=True)
class PictureMetric:
    """A dimension that holds the frames against the given picture, cut to the clip's aspect ratio."""

    name: str
    description: str
    backbone: Backbone
    frames: Recipe
    picture: Recipe
    version: int = 1
    reads_text: bool = False
    uses_network: bool = True

    @property
    def settings(self) -> Mapping[str, object]:
        """The network's weights and library, and both preprocessings. Raises UnavailableError without the weights."""
        recipes = {"frames": self.frames.describe(), "picture": self.picture.describe()}
        return {**self.backbone.identity, **recipes}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One value a clip."""
        return (Output(self.name, "higher", self.description),)

    def begin(self, sample: Sample) -> "PictureObserver":
        """Loads the network. Raises UnavailableError, CheckpointError."""
        _ = self.backbone.network
        return PictureObserver(self, sample)


class PictureObserver:
    """Keeps the features of a clip's frames and of its picture."""

    def __init__(self, metric: PictureMetric, sample: Sample) -> None:
        self.metric, self.sample = metric, sample
        self.stream = Stream(metric.backbone, metric.frames)
        self._picture: Tensor | None = None

    def see(self, frame: Frame) -> None:
        """The next frame; with the first, the picture. Raises MediaError if the picture cannot be read."""
        if self._picture is None:
            self._picture = picture_features(self.metric.backbone, self.metric.picture, self.sample, frame)
        self.stream.see(frame.rgb)

    def values(self) -> Values:
        """The conformity of the clip with its picture."""
        if self._picture is None:
            return {self.metric.name: None}
        return {self.metric.name: conformity(self.stream.rows(), self._picture)}


def picture_features(backbone: Backbone, recipe: Recipe, sample: Sample, frame: Frame) -> Tensor:
    """Features ``[D]`` of the sample's picture, its centre cut to the frame's aspect ratio.

    VBench cuts its own pictures by hand to a few ratios; a picture of the clip's ratio is the same in both.
    """
    picture = cut_to_shape(sample.item.picture(), *frame.rgb.shape[:2])
    return torch.atleast_2d(backbone(recipe(picture)[None]))[0]
