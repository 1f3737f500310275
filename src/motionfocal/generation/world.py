"""Galleries of a world's benchmark: its questions in the form that every model is asked in."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import GalleryError
from motionfocal.generation.animators.checkpoint import CheckpointAnimator, model_folder
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.generate import generate
from motionfocal.generation.origin import Origin, save_origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.video import Frames, resize_and_crop
from motionfocal.worlds import SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark

_SHOWN_SIDE = 256
"""Small models' pixels are repeated until a clip has about this height: people can see it, and H.264 keeps it."""


_TOGETHER = 8
"""Clips of a world are small: so many are sampled at a time."""


@dataclass(frozen=True, eq=False)
class DrawnItem(BenchmarkItem):
    """An item whose picture, ``pixels`` uint8 ``[H,W,3]``, is in memory; its ``file`` is none."""

    pixels: Frames = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))

    def picture(self, size: tuple[int, int] | None = None) -> Frames:
        """See ``BenchmarkItem``; at a whole multiple of its size each pixel is repeated, as in small clips."""
        if size is None:
            return self.pixels
        height, width = self.pixels.shape[:2]
        times = max(1, size[0] // height)
        if size == (times * height, times * width):
            return self.pixels.repeat(times, axis=0).repeat(times, axis=1)
        return resize_and_crop(self.pixels, size)

    @cached_property
    def content(self) -> str:
        """See ``BenchmarkItem``."""
        return hashlib.sha256(repr(self.pixels.shape).encode() + self.pixels.tobytes()).hexdigest()


def drawn(id: str, image: str, pixels: Frames, text: str) -> DrawnItem:  # noqa: A002 - the field's name
    """An item of a picture uint8 ``[H,W,3]`` that is no file."""
    return DrawnItem(id, image, Path(), text, pixels=pixels)


def world_items(benchmark: SpritesBenchmark) -> list[BenchmarkItem]:
    """The questions of a benchmark; items of one scene share their image."""
    world = SpritesWorld(benchmark.world)
    return [
        drawn(item.id, item.id.split("_")[0], world.first_frame(item.scene), item.text) for item in benchmark.items()
    ]


def animate_world(
    run: Path,
    folder: Path,
    benchmark: SpritesBenchmark,
    sampling: SamplingSettings,
    seed: int = 0,
    progress: Callable[[int], None] = lambda clips: None,
) -> Gallery:
    """Animate a benchmark with the model of a run; a gallery that was begun before goes on, see ``generate``."""
    animator = CheckpointAnimator.open(model_folder(run), sampling, batch_size=_TOGETHER)
    relative = Path(os.path.relpath(run, folder))
    save_origin(folder, Origin(benchmark=benchmark, sampling=sampling, seed=seed, run=relative))
    upscale = upscale_of(animator.card.shape.height)
    made = generate(animator, world_items(benchmark), folder, seed=seed, upscale=upscale, progress=progress)
    if made.failed:
        raise GalleryError(f"{len(made.failed)} items failed, first {made.failed[0].id}: {made.failed[0].reason}")
    return made.gallery


def upscale_of(height: int) -> int:
    """How often each pixel is repeated in files of a model of this height."""
    return max(1, _SHOWN_SIDE // height)
