"""``motionfocal heatmap``: see what the loss will look at."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from motionfocal.cli.console import console, finish, list_notes, progress_bar
from motionfocal.data.files import VideoFile
from motionfocal.errors import ConfigError, ManifestError, MediaError, MotionFocalError
from motionfocal.motion import HeatmapSettings, filmstrip, heatmap_of, moving_share, overlay
from motionfocal.motion.heatmap import MOST_PIXELS
from motionfocal.video import Clip, probe, read_clip, write_clip, write_image
from motionfocal.video.files import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from motionfocal.data.sources import FolderData


@dataclass(frozen=True)
class NamedClip:
    """A clip to look at. Its overlays are ``<name>.mp4`` and ``<name>.png``; a ``/`` in the name is a subfolder."""

    name: str
    video: VideoFile

    def __str__(self) -> str:
        return f"{self.name}{Path(self.video.member or self.video.path).suffix}"


@dataclass(frozen=True)
class Look:
    """How clips are looked at: the frames that are taken of a file, and how they become a heatmap."""

    read: Callable[[VideoFile], Clip]
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
    data, motion = _trained_on(config)
    return Look(partial(_as_trained, data=data), motion)


def clips_at(paths: Sequence[Path]) -> list[NamedClip]:
    """The files, and the videos of the folders, named as the files are. Raises ManifestError for a folder without."""
    return [NamedClip(path.stem, VideoFile(path)) for path in _videos(paths)]


def clips_of(config: str) -> list[NamedClip]:
    """The clips of a config's data set, held out or not, named by their ids; one that several rows name comes once.

    Raises:
        ConfigError: it trains on a world, whose clips are in no file.
        ManifestError: the data set's table or shards are wrong.
    """
    data, _ = _trained_on(config)
    ids: dict[VideoFile, str] = {}
    for caption in data.clips():
        ids.setdefault(caption.video, caption.id)
    return [NamedClip(_place_of(clip_id), video) for video, clip_id in ids.items()]


def run(clips: Sequence[NamedClip], out: Path, look: Look, limit: int | None = None) -> None:
    """Write the overlays of every clip, or of ``limit`` of them; print their moving shares, list what failed."""
    clips = _spread(clips, limit)
    _require_different_names(clips)
    table = Table("clip", "frames", "size", "fps", "moving share")
    notes: list[str] = []
    failures: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("heatmaps", total=len(clips), note="")
        for clip in clips:
            try:
                cells, warned = _one(clip, out, look)
                table.add_row(escape(str(clip)), *cells)
                notes += [f"{clip}: {text}" for text in warned]
            except MotionFocalError as error:
                failures.append(str(error) if str(clip.video) in str(error) else f"{clip.video}: {error}")
            progress.advance(task)
    console.print(table)
    list_notes(notes)
    console.print(f"overlays in {out}")
    finish("clips", failures)


def _one(named: NamedClip, out: Path, look: Look) -> tuple[list[str], list[str]]:
    """Heat up one clip; the cells of its row, and what there was to warn of."""
    if (out / f"{named.name}.mp4").resolve() == named.video.path.resolve():
        raise ManifestError(f"{named.video}: its overlay would take its place; choose another --out")
    clip = look.read(named.video)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        heat = heatmap_of(clip.frames, look.motion)
    write_clip(out / f"{named.name}.mp4", overlay(clip.frames, heat), clip.fps)
    write_image(out / f"{named.name}.png", filmstrip(clip.frames, heat))
    count, height, width = heat.shape
    cells = [str(count), f"{width}x{height}", f"{clip.fps:g}", f"{100 * moving_share(heat):.1f} %"]
    return cells, [str(warning.message) for warning in caught]


def _trained_on(config: str) -> tuple["FolderData", HeatmapSettings]:
    """A config's clips, and how it looks at motion. Raises ConfigError when it trains on a world."""
    from motionfocal.data.sources import FolderData
    from motionfocal.training.config import load_config, recipe

    found = load_config(recipe(config))
    if not isinstance(found.data, FolderData):
        raise ConfigError(
            f"--config {config}: trains on the sprites world, not on clips; name clips, and leave --config out"
        )
    return found.data, found.motion


def _as_it_is(video: VideoFile, frames: int | None, stride: int) -> Clip:
    """A clip at its own size."""
    with video.opened() as path:
        _require_room(path, frames, stride)
        return read_clip(path, frames=frames, stride=stride)


def _as_trained(video: VideoFile, data: "FolderData") -> Clip:
    """The window of a clip that training takes; where it draws windows, one of them, whoever names the clip."""
    from motionfocal.data.sources import look_at, read_window
    from motionfocal.data.windows import rng_of

    name = Path(video.member or video.path).name
    return read_window(video, data.sampling.window(look_at(video), rng_of("heatmap", name)))


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


def _spread(clips: Sequence[NamedClip], limit: int | None) -> Sequence[NamedClip]:
    """``limit`` of the clips, evenly spread from the first one on; all of them if they are fewer."""
    count = min(len(clips), limit or len(clips))
    return [clips[n * len(clips) // count] for n in range(count)]


def _require_different_names(clips: Sequence[NamedClip]) -> None:
    """Refuse clips whose overlays would overwrite one another."""
    by_name: dict[str, VideoFile] = {}
    for clip in clips:
        if clip.name in by_name:
            raise ManifestError(
                f"{by_name[clip.name]} and {clip.video} have the same name; run once for each, with another --out"
            )
        by_name[clip.name] = clip.video


def _place_of(clip_id: str) -> str:
    """An id as a path that leads out of no folder; each id has its own. What no path can hold is written as %NN."""
    parts = clip_id.replace("%", "%25").replace("\0", "%00").split("/")
    return "/".join(f"%{part}" if part in ("", ".", "..") else part for part in parts)


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
