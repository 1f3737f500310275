"""Galleries of a world's benchmark: its questions in the form that every model is asked in."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from motionfocal.generation.gallery import Gallery
from motionfocal.generation.generate import Item, generate
from motionfocal.generation.origin import Origin, save_origin
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.models.build import WEIGHTS, best_device, load_model
from motionfocal.worlds import SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark

_SHOWN_SIDE = 256
"""Small models' pixels are repeated until a clip has about this height: people can see it, and H.264 keeps it."""


def world_items(benchmark: SpritesBenchmark) -> list[Item]:
    """The questions of a benchmark; items of one scene share their image."""
    world = SpritesWorld(benchmark.world)
    return [
        Item(item.id, item.id.split("_")[0], world.first_frame(item.scene), item.text) for item in benchmark.items()
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
    model = model_folder(run)
    loaded = load_model(model, best_device())
    save_origin(folder, Origin(benchmark=benchmark, sampling=sampling, run=Path(os.path.relpath(run, folder))))
    return generate(
        loaded,
        world_items(benchmark),
        folder,
        sampling,
        weights=hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest()[:16],
        seed=seed,
        upscale=upscale_of(loaded.card.shape.height),
        progress=progress,
    )


def model_folder(path: Path) -> Path:
    """The model of a run, or the folder itself."""
    return path / "model" if (path / "model").is_dir() else path


def upscale_of(height: int) -> int:
    """How often each pixel is repeated in files of a model of this height."""
    return max(1, _SHOWN_SIDE // height)
