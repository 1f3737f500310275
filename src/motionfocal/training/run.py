"""From a config to a trained model: open the data, choose what to validate on, train."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.data.cache import CacheSource, CacheSpec
from motionfocal.data.held_out import Part
from motionfocal.data.manifest import Caption
from motionfocal.data.sources import (
    ClipSource,
    FolderData,
    FolderSource,
    Rejected,
    SpritesData,
    SpritesSource,
    load_folder,
    look_at,
    read_window,
    shot_of,
)
from motionfocal.data.windows import rng_of
from motionfocal.errors import ConfigError, ManifestError, MediaError
from motionfocal.generation.world import drawn, world_items
from motionfocal.models.build import best_device, build_model
from motionfocal.models.protocol import ClipShape, VideoModel
from motionfocal.training.config import TrainingConfig, ValidationSettings
from motionfocal.training.held_out import HeldOutClips, HeldOutLoss
from motionfocal.training.loop import Callback, train
from motionfocal.training.validation import Judge, Validation
from motionfocal.worlds import SpritesWorld, WorldItem
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import SpritesOracle

_TEXTS_PER_IMAGE = 2
"""Default of ``validation.texts`` for a world."""


@dataclass(frozen=True)
class OpenedData:
    """A source of clips, the clips that it could not use, and what else there is to know of it.

    ``held_out`` are clips that are not trained on, where the config holds some out for its validation.
    """

    source: ClipSource | CacheSource
    rejected: list[Rejected]
    notes: list[str]
    held_out: HeldOutClips | None = None


def open_data(config: TrainingConfig, track: Callable[[list[Caption]], Iterable[Caption]] = iter) -> OpenedData:
    """Open the data that a config names, or its cache; ``track`` wraps the list of clips to show progress.

    Raises:
        CheckpointError: the cache lacks something.
        ManifestError: the table or the shards are wrong, or not a single clip can be used.
    """
    if isinstance(config.data, SpritesData):
        return OpenedData(SpritesSource(config.data, config.seed), [], [])
    source, rejected = _clips(config, config.data, "training", config.seed, track)
    opened = OpenedData(source, rejected, config.model.notes_on(source.texts))
    if not config.data.held_out or config.validation is None:
        return opened
    try:
        held_out, others = _clips(config, config.data, "held-out", config.validation.seed, track)
    except ManifestError as error:  # what trains can be read: a run that has begun goes on
        return replace(opened, notes=[*opened.notes, f"{error}; their loss is not measured"])
    return replace(opened, rejected=rejected + others, held_out=held_out)


def _clips(
    config: TrainingConfig,
    data: FolderData,
    part: Part,
    seed: int,
    track: Callable[[list[Caption]], Iterable[Caption]],
) -> tuple[FolderSource | CacheSource, list[Rejected]]:
    """A part of the clips, from the cache where there is one, and those that cannot be used."""
    if data.cache is None:
        return load_folder(data, seed, track, part)
    cached = CacheSource(cache_spec(config, data), seed, part)
    return cached, cached.rejected


def cache_spec(config: TrainingConfig, data: FolderData) -> CacheSpec:
    """What the cache of a config holds; of the model, the settings and the folder's configs alone are read."""
    model = build_model(config.model, largest_shape(data), config.seed)
    return CacheSpec(data, config.motion, model.spec, config.model.encoder_fingerprint())


def frozen_model(config: TrainingConfig, data: FolderData) -> VideoModel:
    """The model of a config with its frozen parts on the device that the config names, to fill the cache with."""
    model = build_model(config.model, largest_shape(data), config.seed)
    model.device = best_device(config.device)
    return model


def largest_shape(data: FolderData) -> ClipShape:
    """The longest clips of the largest size; the rate, which no file has told yet, is 1."""
    height, width = max(data.sampling.sizes, key=math.prod)
    return ClipShape(frames=max(data.sampling.lengths), height=height, width=width, fps=1)


def run_training(config: TrainingConfig, data: OpenedData, run: Path, callbacks: Sequence[Callback] = ()) -> None:
    """Train as the config says, with validation if it asks for it; see ``training.loop.train``."""
    found: list[Callback] = []
    if config.validation is not None:
        if validation := _validation(config, config.validation, data.source.shape, run):
            found.append(validation)
        if data.held_out is not None:
            found.append(HeldOutLoss(config.validation, data.held_out, data.source.shapes))
    train(config, data.source, run, [*found, *callbacks])


def benchmark_of(config: TrainingConfig, images: int, texts: int) -> SpritesBenchmark:
    """Held-out questions of the world that a run trains on.

    Raises:
        ConfigError: it trains on clips.
    """
    if not isinstance(config.data, SpritesData):
        raise ConfigError(f"{config.name} was trained on clips, not on a world: it has no questions of its own")
    return SpritesBenchmark(world=config.data.world, images=images, texts=texts)


def _validation(config: TrainingConfig, settings: ValidationSettings, shape: ClipShape, run: Path) -> Validation | None:
    """None where no clip to look at can be read."""
    if isinstance(config.data, SpritesData):
        benchmark = SpritesBenchmark(
            world=config.data.world,
            images=settings.images,
            texts=settings.texts or _TEXTS_PER_IMAGE,
            seed=settings.seed,
        )
        return Validation(settings, world_items(benchmark), run, _oracle(benchmark))
    for part in ("held-out", "training"):
        if items := list(islice(_first_frames(config.data, part, shape, settings.seed), settings.images)):
            return Validation(settings, items, run, None)
    return None


def _oracle(benchmark: SpritesBenchmark) -> Judge:
    oracle = SpritesOracle(SpritesWorld(benchmark.world))
    truth: dict[str, WorldItem] = {item.id: item for item in benchmark.items()}

    def followed(item: BenchmarkItem, clip: NDArray[np.uint8]) -> bool:
        return oracle.measure(clip, truth[item.id]).followed

    return followed


def _first_frames(data: FolderData, part: Part, shape: ClipShape, seed: int) -> Iterator[BenchmarkItem]:
    """Clips of a part to look at, of the most common shape: the first frames that training may see, and their texts."""
    for caption in data.clips(part):
        try:
            shot = shot_of(caption, look_at(caption.video), data.sampling)
            if tuple(shot.bucket) == (shape.frames, shape.height, shape.width):
                window = data.sampling.window(shot.footage, rng_of("validation", seed, caption.id))
                yield drawn(caption.id, caption.id, read_window(caption.video, window).frames[0], caption.text)
        except MediaError:
            continue  # named once, when the data was opened
