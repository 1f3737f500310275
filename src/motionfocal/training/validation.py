"""Samples while it trains: clips to look at and, where a world can tell, how many texts were followed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.generation.generate import item_seed
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.generation.world import upscale_of
from motionfocal.training.config import ValidationSettings
from motionfocal.training.loop import Trainer
from motionfocal.training.records import VALIDATION, RunRecords
from motionfocal.video import write_clip, write_image

_ROWS = 8
"""Clips that are kept."""
_COLUMNS = 16
"""Frames of a clip in the picture, at most."""
_LOW, _HIGH = 96, 192
"""Height of a frame in the picture."""

Judge = Callable[[BenchmarkItem, NDArray[np.uint8]], bool]


@dataclass(frozen=True)
class Outcome:
    """What became of an item: whether it was followed, as far as somebody can tell, and its clip where it is kept."""

    place: int
    followed: bool | None
    clip: NDArray[np.uint8] | None


class Validation:
    """A callback that samples items with the averaged weights: held-out ones of a world, or first frames of clips.

    Several processes sample an equal share each, as sharded ones must, and the first one writes.
    """

    def __init__(
        self, settings: ValidationSettings, items: Sequence[BenchmarkItem], run: Path, followed: Judge | None
    ) -> None:
        """``followed`` tells whether a clip uint8 ``[T,H,W,3]`` does what its item asks; None where nothing can."""
        self._settings, self._items, self._run, self._followed = settings, items, run, followed

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``."""
        from accelerate.utils import gather_object
        from accelerate.utils.memory import clear_device_cache

        if step % self._settings.every and step != trainer.config.steps:
            return
        outcomes = {outcome.place: outcome for outcome in gather_object(self._sample(trainer))}
        clear_device_cache(garbage_collection=True)  # what sampling took, the next step needs
        if trainer.processes.is_main_process:
            self._write(step, [outcomes[place] for place in sorted(outcomes)], trainer.card.shape.fps)
        if self._followed is not None:
            verdicts = [outcome.followed for outcome in outcomes.values()]
            records.add(VALIDATION, step, {"followed": float(np.mean(verdicts)), "items": len(verdicts)})

    def _sample(self, trainer: Trainer) -> list[Outcome]:
        """Sample this process's share of the items; the last one comes again where they cannot be shared equally."""
        settings = SamplingSettings(steps=self._settings.steps, guidance_scale=self._settings.guidance_scale)
        processes, mine = trainer.processes.num_processes, trainer.processes.process_index
        share, together = math.ceil(len(self._items) / processes), len(trainer.split.clips(0))
        places = [min(place, len(self._items) - 1) for place in range(mine * share, (mine + 1) * share)]
        outcomes = []
        with trainer.averaged() as loaded:
            for start in range(0, share, together):
                group = [self._items[place] for place in places[start : start + together]]
                pictures = np.stack([item.picture() for item in group])
                seeds = [item_seed(self._settings.seed, item.id) for item in group]
                clips = sample(loaded, pictures, [item.text for item in group], seeds, settings)
                outcomes += [self._outcome(*pair) for pair in zip(places[start:], clips, strict=False)]
        return outcomes

    def _outcome(self, place: int, clip: NDArray[np.uint8]) -> Outcome:
        followed = None if self._followed is None else self._followed(self._items[place], clip)
        return Outcome(place, followed, clip if place < _ROWS else None)

    def _write(self, step: int, outcomes: Sequence[Outcome], fps: float) -> None:
        clips = [outcome.clip for outcome in outcomes if outcome.clip is not None]
        folder = self._run / "samples" / f"step-{step:06d}"
        write_image(folder.with_suffix(".png"), filmstrip(clips))
        for outcome, clip in zip(outcomes, clips, strict=False):
            write_clip(folder / f"{outcome.place:02d}.mp4", clip, fps, upscale=upscale_of(clip.shape[1]))


def filmstrip(clips: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Clips uint8 ``[T,H,W,3]`` below each other, their frames beside each other; whole pixels repeated or left out."""
    frames, height = clips[0].shape[:2]
    shown = np.linspace(0, frames - 1, min(frames, _COLUMNS)).round().astype(int)
    picture = np.concatenate([np.concatenate(list(clip[shown]), axis=1) for clip in clips])
    less, more = math.ceil(height / _HIGH), max(1, _LOW // height)
    return picture[::less, ::less].repeat(more, axis=0).repeat(more, axis=1)
