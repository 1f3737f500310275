"""Samples while it trains: a picture to look at and, where a world can tell, how many texts were followed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionfocal.generation.gallery import Item, item_seed
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.training.config import ValidationSettings
from motionfocal.training.loop import Trainer
from motionfocal.training.records import VALIDATION, RunRecords
from motionfocal.video import write_image

_BATCH = 8
_ROWS = 8
"""Clips in the picture."""

Judge = Callable[[Item, NDArray[np.uint8]], bool]


class Validation:
    """A callback that samples held-out items with the averaged weights."""

    def __init__(self, settings: ValidationSettings, items: Sequence[Item], run: Path, followed: Judge | None) -> None:
        """``followed`` tells whether a clip uint8 ``[T,H,W,3]`` does what its item asks; None where nothing can."""
        self._settings, self._items, self._run, self._followed = settings, items, run, followed

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``."""
        if step % self._settings.every and step != trainer.config.steps:
            return
        clips = self._sample(trainer)
        write_image(self._run / "samples" / f"step-{step:06d}.png", filmstrip(clips[:_ROWS]))
        if self._followed is not None:
            verdicts = [self._followed(item, clip) for item, clip in zip(self._items, clips, strict=True)]
            records.add(VALIDATION, step, {"followed": float(np.mean(verdicts)), "items": len(verdicts)})

    def _sample(self, trainer: Trainer) -> list[NDArray[np.uint8]]:
        settings = SamplingSettings(steps=self._settings.steps, guidance_scale=self._settings.guidance_scale)
        clips: list[NDArray[np.uint8]] = []
        with trainer.averaged() as loaded:
            for start in range(0, len(self._items), _BATCH):
                group = self._items[start : start + _BATCH]
                pictures = np.stack([item.picture for item in group])
                seeds = [item_seed(self._settings.seed, item.id) for item in group]
                clips += list(sample(loaded, pictures, [item.text for item in group], seeds, settings))
        return clips


def filmstrip(clips: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Clips uint8 ``[T,H,W,3]`` below each other, frames beside each other, small ones enlarged."""
    picture = np.concatenate([np.concatenate(list(clip), axis=1) for clip in clips])
    factor = max(1, 96 // clips[0].shape[1])
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
