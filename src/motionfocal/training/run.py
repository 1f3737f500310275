"""From a config to a trained model: open the data, choose what to validate on, train."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motionfocal.data.manifest import Caption
from motionfocal.data.sources import ClipSource, Rejected, SpritesData, SpritesSource, load_folder
from motionfocal.errors import ConfigError
from motionfocal.generation.gallery import Item
from motionfocal.generation.world import world_items
from motionfocal.training.config import TrainingConfig, ValidationSettings
from motionfocal.training.loop import Callback, train
from motionfocal.training.validation import Judge, Validation
from motionfocal.worlds import SpritesWorld, WorldItem
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import SpritesOracle


@dataclass(frozen=True)
class OpenedData:
    """A source of clips, and the clips that it could not use."""

    source: ClipSource
    rejected: list[Rejected]


def open_data(config: TrainingConfig, track: Callable[[list[Caption]], Iterable[Caption]] = iter) -> OpenedData:
    """Open the data that a config names; ``track`` wraps the list of clips to show progress."""
    if isinstance(config.data, SpritesData):
        return OpenedData(SpritesSource(config.data, config.seed), [])
    return OpenedData(*load_folder(config.data, config.seed, track))


def run_training(config: TrainingConfig, data: OpenedData, run: Path, callbacks: Sequence[Callback] = ()) -> None:
    """Train as the config says, with validation if it asks for it; see ``training.loop.train``."""
    found: list[Callback] = list(callbacks)
    if config.validation is not None:
        found.insert(0, _validation(config, config.validation, data.source, run))
    train(config, data.source, run, found)


def benchmark_of(config: TrainingConfig, images: int, texts: int) -> SpritesBenchmark:
    """Held-out questions of the world that a run trains on.

    Raises:
        ConfigError: it trains on clips.
    """
    if not isinstance(config.data, SpritesData):
        raise ConfigError(f"{config.name} was trained on clips, not on a world: it has no questions of its own")
    return SpritesBenchmark(world=config.data.world, images=images, texts=texts)


def _validation(config: TrainingConfig, settings: ValidationSettings, source: ClipSource, run: Path) -> Validation:
    if isinstance(config.data, SpritesData):
        benchmark = SpritesBenchmark(
            world=config.data.world, images=settings.images, texts=settings.texts, seed=settings.seed
        )
        return Validation(settings, world_items(benchmark), run, _oracle(benchmark))
    return Validation(settings, _first_frames(source, settings.images), run, None)


def _oracle(benchmark: SpritesBenchmark) -> Judge:
    oracle = SpritesOracle(SpritesWorld(benchmark.world))
    truth: dict[str, WorldItem] = {item.id: item for item in benchmark.items()}

    def followed(item: Item, clip: NDArray[np.uint8]) -> bool:
        return oracle.measure(clip, truth[item.id]).followed

    return followed


def _first_frames(source: ClipSource, count: int) -> list[Item]:
    """Training clips to look at: their first frames and texts."""
    examples = {str(example.key): example for example in (source[n] for n in range(count))}
    return [Item(key, key, example.frames[0], example.text) for key, example in examples.items()]
