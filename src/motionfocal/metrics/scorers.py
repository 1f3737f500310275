"""How well a clip fits each of several texts: the scorers that the sibling-prompt metric stands on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motionfocal.errors import ConfigError, MediaError
from motionfocal.metrics.backbones import images
from motionfocal.metrics.backbones.backbone import Backbone
from motionfocal.metrics.backbones.images import ClipModel
from motionfocal.metrics.backbones.recipes import CLIP_PICTURE, Recipe
from motionfocal.metrics.backbones.weights import BackboneSettings
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Sample
from motionfocal.video import Frames


class Scores(Protocol):
    """Watches one clip, and then scores texts."""

    def see(self, frame: Frame) -> None:
        """The next frame. Keep what you need of it, not the frame."""
        ...

    def scores(self, texts: Sequence[str]) -> list[float]:
        """How well the clip fits each text, in the order of the texts; higher fits better."""
        ...


class TextScorer(Protocol):
    """Scores how well clips fit texts."""

    @property
    def name(self) -> str:
        """Names the scorer in caches and reports."""
        ...

    @property
    def version(self) -> int:
        """Raised when the same clip and text get another score."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """All else that decides a score, JSON."""
        ...

    @property
    def uses_network(self) -> bool:
        """See ``Metric``."""
        ...

    def begin(self, sample: Sample) -> Scores:
        """Begin with a clip; a scorer may read its picture, and its name for messages. Raises UnavailableError."""
        ...


def name_of(sample: Sample) -> str:
    """How messages call a clip."""
    return f"{sample.model}, {sample.item.id}"


def spread(total: int, wanted: int) -> list[int]:
    """The indices of ``wanted`` of ``total`` frames, evenly spread, first and last among them; all if they are fewer.

    ``round(i (total - 1) / (wanted - 1))``, halves to the even number.
    """
    if total <= wanted:
        return list(range(total))
    return [round(step) for step in np.linspace(0, total - 1, wanted)]


@dataclass(frozen=True)
class ClipScorer:
    """``mean_t cos(CLIP(f_t), CLIP(text))`` over ``frames`` evenly spread frames, the first and the last among them.

    CLIP reads frames one by one: it tells what is in them, hardly what moves in which way. Chance on sibling texts of
    one picture is what a still clip gets; hold scores against it.
    """

    backbone: Backbone = field(default_factory=lambda: images.openai_clip("ViT-L-14", BackboneSettings()))
    recipe: Recipe = CLIP_PICTURE
    frames: int = 8
    version: int = 1
    uses_network: bool = True

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ConfigError(f"frames: at least 2, the first and the last, got {self.frames}")

    @property
    def name(self) -> str:
        """The network's."""
        return self.backbone.name

    @property
    def settings(self) -> Mapping[str, object]:
        """Weights, library, preprocessing and frames. Raises UnavailableError without the weights."""
        return {**self.backbone.identity, "preprocessing": self.recipe.describe(), "frames": self.frames}

    def begin(self, sample: Sample) -> "_ClipScores":
        """Loads the network. Raises UnavailableError, CheckpointError."""
        _ = self.backbone.network
        return _ClipScores(self, name_of(sample))


class _ClipScores:
    """Keeps prepared frames as 8 bits until it knows how many there are, then features."""

    def __init__(self, scorer: ClipScorer, clip: str) -> None:
        self.scorer, self.clip = scorer, clip
        self._prepare = replace(scorer.recipe, normal=_BYTES)
        self._last: Frames | None = None
        self._seen: list[Tensor] = []
        self._features: Tensor | None = None

    def see(self, frame: Frame) -> None:
        is_new = frame.rgb is not self._last  # a still video shows one picture again and again
        prepared = self._prepare(frame.rgb).round().clamp(0, 255).to(torch.uint8) if is_new else self._seen[-1]
        self._seen.append(prepared)
        self._last = frame.rgb

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Raises MediaError for a clip without frames, ManifestError for a text that CLIP would cut."""
        if not self._seen:
            raise MediaError(f"{self.clip}: no frames; generate it again")
        network: ClipModel = self.scorer.backbone.network  # type: ignore[assignment]
        words = F.normalize(network.texts(texts).double(), dim=-1)
        return [float(score) for score in (self._images() @ words.T).mean(dim=0)]

    def _images(self) -> Tensor:
        if self._features is None:
            chosen = torch.stack([self._seen[index] for index in spread(len(self._seen), self.scorer.frames)])
            mean, std = (torch.tensor(values)[:, None, None] for values in self.scorer.recipe.normal)
            rows = self.scorer.backbone((chosen / 255 - mean) / std)
            self._features = F.normalize(rows.double(), dim=-1)
        return self._features


_BYTES = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
"""As the mean and deviation of a recipe: leaves 0..255, whole numbers after Pillow's resizing."""
