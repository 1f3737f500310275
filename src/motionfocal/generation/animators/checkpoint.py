"""Animate with a checkpoint of ours: a run, a model folder, or a converted checkpoint with its settings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import ConfigError, MediaError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.animators.weights import hash_pipeline
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.models.build import WEIGHTS, LoadedModel, ModelCard, best_device, load_card, load_model
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import MOTION_SCORE
from motionfocal.video import Clip, Frames, content_of

Picture = Callable[[BenchmarkItem, tuple[int, int]], Frames]
"""The picture of an item at a size (height, width)."""


def cropped(item: BenchmarkItem, size: tuple[int, int]) -> Frames:
    """The picture, scaled and cropped to the size."""
    return item.picture(size)


class CheckpointAnimator:
    """Samples as ``sample`` does, pictures brought to the model's size. The model is loaded when it is first needed.

    With ``batch_size`` 1 a clip is the same bit for bit whatever is animated beside it; with more, up to rounding.
    """

    steps: int
    group: int

    def __init__(
        self,
        card: ModelCard,
        load: Callable[[], LoadedModel],
        sampling: SamplingSettings,
        weights: str,
        *,
        batch_size: int = 1,
        fps: float | None = None,
        picture: Picture = cropped,
    ) -> None:
        """``weights`` is a hash of what ``load`` reads besides the base, ``fps`` the clips' rate (None: the card's).

        Raises:
            ConfigError: a motion score is given, and the model takes none.
        """
        self.card, self.name = card, card.name
        self.steps, self.group = sampling.steps, batch_size
        self._load, self._sampling, self._weights = load, sampling, weights
        self._fps, self._picture = fps or card.shape.fps, picture
        if sampling.motion_score is not None and not card.model.model_dump().get(MOTION_SCORE):
            raise ConfigError(f"{self.name} was not trained with a motion score; leave motion_score out")

    @classmethod
    def open(cls, folder: Path, sampling: SamplingSettings, *, batch_size: int = 1) -> "CheckpointAnimator":
        """The model of a model folder.

        Raises:
            CheckpointError: the folder holds no model.
        """
        card = load_card(folder)
        weights = content_of(folder / WEIGHTS)[:16]
        return cls(card, lambda: load_model(folder, best_device()), sampling, weights, batch_size=batch_size)

    @cached_property
    def settings(self) -> Mapping[str, object]:
        """See ``Animator``. Where the base lies is left out; what it holds is not."""
        card = self.card.model_dump(mode="json", exclude={"name", "guidance_scale"})
        if not card["seed"]:  # as in cards of before it was written down
            del card["seed"]
        base = card["model"].pop("weights", None)
        card["model"].pop("image_encoder", None)
        return {
            **card,
            "weights": self._weights,
            "base": None if base is None else hash_pipeline(PipelineFolder(base)),
            "sampling": self._sampling.model_dump(mode="json"),
            "fps": self._fps,
            "picture": self._picture.__name__,
        }

    @cached_property
    def _loaded(self) -> LoadedModel:
        return self._load()

    def animate(self, items: Sequence[BenchmarkItem], seeds: Sequence[int]) -> Iterator[Made | Failed]:
        """See ``Animator``: all items in one batch.

        Raises:
            CheckpointError: the weights are missing or do not fit.
        """
        size = (self.card.shape.height, self.card.shape.width)
        pictures, asked = [], []
        for item, seed in zip(items, seeds, strict=True):
            try:
                pictures.append(self._picture(item, size))
                asked.append((item, seed))
            except MediaError as error:
                yield Failed(item.id, str(error))
        if not asked:
            return
        texts, drawn = [item.text for item, _ in asked], [seed for _, seed in asked]
        clips = sample(self._loaded, np.stack(pictures), texts, drawn, self._sampling)
        for (item, seed), frames in zip(asked, clips, strict=True):
            yield Made(item.id, Clip(frames, self._fps, source=self.name), seed)


def model_folder(path: Path) -> Path:
    """The model of a run, or the folder itself."""
    return path / "model" if (path / "model").is_dir() else path
