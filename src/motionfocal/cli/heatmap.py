"""``motionfocal heatmap``: see what the loss will look at."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from rich.table import Table

from motionfocal.cli.console import console, finish, list_notes, progress_bar
from motionfocal.errors import ConfigError, ManifestError, MediaError, MotionFocalError
from motionfocal.motion import HeatmapSettings, filmstrip, heatmap_of, moving_share, overlay
from motionfocal.motion.heatmap import MOST_PIXELS
from motionfocal.video import Clip, probe, read_clip, write_clip, write_image
from motionfocal.video.files import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from motionfocal.data.sources import FolderData


@dataclass(frozen=True)
class Look:
    """How clips are looked at: the frames that are taken of a file, and how they become a heatmap."""

    read: Callable[[Path], Clip]
    motion: HeatmapSettings


def look_of(options: Mapping[str, object], frames: int | None, stride: int) -> Look:
    """By single options of the heatmap, None for a default. Raises ConfigError, which names the one that is wrong."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        motion = HeatmapSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name, said = first["loc"][0], first["msg"].removeprefix("Value error, ")
        if name == "scale":
            said = f"{given['scale']}: should be robust, clip_max, diagonal, or a number of pixels above 0"
        raise ConfigError(f"--{name}: {said}") from error
    return Look(partial(_as_it_is, frames=frames, stride=stride), motion)


def look_by(config: str) -> Look:
    """As a training by a config looks at its clips: the same frames, stride, size and motion settings.

    Raises ConfigError when it trains on a world, whose clips are in no file.
    """
    from motionfocal.data.sources import FolderData
    from motionfocal.training.config import load_config, recipe

    found = load_config(recipe(config))
    if not isinstance(found.data, FolderData):
        raise ConfigError(f"--config {config}: trains on the sprites world, not on clips; leave --config out")
    return Look(partial(_as_trained, data=found.data), found.motion)


def run(clips: Sequence[Path], out: Path, look: Look) -> None:
    """Write ``<clip>.mp4`` and ``<clip>.png`` for every clip, print its moving share, list what failed."""
    paths = list(_videos(clips))
    _require_different_names(paths)
    table = Table("clip", "frames", "size", "fps", "moving share")
    notes: list[str] = []
    failures: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("heatmaps", total=len(paths), note="")
        for path in paths:
            try:
                cells, warned = _one(path, out, look)
                table.add_row(path.name, *cells)
                notes += [f"{path.name}: {text}" for text in warned]
            except MotionFocalError as error:
                failures.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            progress.advance(task)
    console.print(table)
    list_notes(notes)
    console.print(f"overlays in {out}")
    finish("clips", failures)


def _one(path: Path, out: Path, look: Look) -> tuple[list[str], list[str]]:
    """Heat up one clip; the cells of its row, and what there was to warn of."""
    clip = look.read(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        heat = heatmap_of(clip.frames, look.motion)
    write_clip(out / f"{path.stem}.mp4", overlay(clip.frames, heat), clip.fps)
    write_image(out / f"{path.stem}.png", filmstrip(clip.frames, heat))
    count, height, width = heat.shape
    cells = [str(count), f"{width}x{height}", f"{clip.fps:g}", f"{100 * moving_share(heat):.1f} %"]
    return cells, [str(warning.message) for warning in caught]


def _as_it_is(path: Path, frames: int | None, stride: int) -> Clip:
    """A clip at its own size."""
    _require_room(path, frames, stride)
    return read_clip(path, frames=frames, stride=stride)


def _as_trained(path: Path, data: "FolderData") -> Clip:
    """The window of a clip that training takes; where it draws windows, one of them."""
    from motionfocal.data.files import VideoFile
    from motionfocal.data.sources import look_at, read_window
    from motionfocal.data.windows import rng_of

    video = VideoFile(path)
    return read_window(video, data.sampling.window(look_at(video), rng_of("heatmap", path.name)))


def _require_room(path: Path, frames: int | None, stride: int) -> None:
    """Refuse a clip that would not fit in memory: its scale is a figure of all frames, so they are held at once."""
    info = probe(path)
    count = frames or -(-info.frames // stride)
    most = MOST_PIXELS // (info.width * info.height)
    if count > most:
        raise MediaError(
            f"{path}: {count} frames of {info.width}x{info.height} are too many to hold at once; take --frames {most}"
            " or a larger --stride"
        )


def _require_different_names(paths: Sequence[Path]) -> None:
    """Refuse clips whose overlays would overwrite one another."""
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise ManifestError(
                f"{by_stem[path.stem]} and {path} have the same name; run once for each, with another --out"
            )
        by_stem[path.stem] = path


def _videos(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and the videos of the folders."""
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
            if not found:
                raise ManifestError(f"{path}: no video in this folder")
            yield from found
        else:
            yield path
