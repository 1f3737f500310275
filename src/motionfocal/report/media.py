"""Clips and pictures in the folder of a page: named by their content, small, and playable in any browser."""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import MediaError
from motionfocal.generation.world import upscale_of
from motionfocal.motion import HeatmapSettings, heatmap_of, overlay
from motionfocal.motion.heatmap import MOST_PIXELS
from motionfocal.video import (
    Frames,
    VideoInfo,
    content_of,
    iter_frames,
    probe,
    read_clip,
    resize_and_crop,
    write_clip,
    write_image,
)
from motionfocal.video.files import replacing, require_file
from motionfocal.video.survey import survey

POSTER_SIDE, PICTURE_SIDE = 240, 640
"""Pixels of the longer side."""

_PLAYABLE = {".mp4": {"h264", "vp9", "av1"}, ".webm": {"vp8", "vp9", "av1"}}
_PIXELS = {"yuv420p", "yuvj420p"}


@dataclass(frozen=True)
class ShownClip:
    """A clip as the page knows it; names are relative to the folder of media, ``heat`` is "" without an overlay."""

    video: str
    poster: str
    heat: str
    width: int
    height: int
    frames: int
    fps: float


class MediaFolder:
    """Brings files into a folder. What is there already is kept: names are hashes of content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pictures: dict[str, tuple[str, int, int]] = {}

    def clip(self, source: Path) -> ShownClip:
        """A clip by a hard link, or a copy on another disk; one that browsers do not play is encoded anew.

        Raises MediaError when it is missing, cut off, or no video.
        """
        require_file(source)
        if survey(source).missing:
            raise MediaError(f"{source}: the file ends early or is damaged; make or copy it again")
        info = probe(source)
        digest = content_of(source)[:20]
        playable = info.codec in _PLAYABLE.get(source.suffix.lower(), ()) and info.pixel_format in _PIXELS
        video = f"{digest}{source.suffix.lower() if playable else '.mp4'}"
        if not (self.folder / video).is_file():
            if playable:
                _link(source, self.folder / video)
            else:
                write_clip(self.folder / video, iter_frames(source), info.fps)
        poster = f"{digest}.jpg"
        if not (self.folder / poster).is_file():
            write_image(self.folder / poster, _within(next(iter_frames(source)), POSTER_SIDE), quality=80)
        heat = _heat_name(digest)
        return ShownClip(
            video=video,
            poster=poster,
            heat=heat if (self.folder / heat).is_file() else "",
            width=info.width,
            height=info.height,
            frames=info.frames,
            fps=info.fps,
        )

    def heat(self, source: Path) -> str:
        """The name of the clip's overlay by the default heatmap, made unless it is there.

        Raises MediaError when the clip cannot be read, or does not fit in memory.
        """
        path = self.folder / _heat_name(content_of(source)[:20])
        if not path.is_file():
            _require_room(source, probe(source))
            clip = read_clip(source)
            write_clip(path, overlay(clip.frames, heatmap_of(clip.frames)), clip.fps, crf=22)
        return path.name

    def picture(self, item: BenchmarkItem) -> tuple[str, int, int]:
        """A small JPEG of an item's picture: its name, width and height. Siblings' is made once. Raises MediaError."""
        if item.image not in self._pictures:
            pixels = item.picture()
            times = upscale_of(min(pixels.shape[:2]))  # pixel art stays sharp, as in the clips
            pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
            height, width = pixels.shape[:2]
            name = f"{item.content[:20]}-picture.jpg"
            if not (self.folder / name).is_file():
                write_image(self.folder / name, _within(pixels, PICTURE_SIDE), quality=85)
            self._pictures[item.image] = name, width, height
        return self._pictures[item.image]


def _heat_name(digest: str) -> str:
    told = json.dumps([digest, HeatmapSettings().model_dump(mode="json")], sort_keys=True)
    return f"{hashlib.sha256(told.encode()).hexdigest()[:20]}-heat.mp4"


def _link(source: Path, target: Path) -> None:
    """Hard links appear whole, as ``replacing`` does it for copies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # another disk, or one without links
        os.link(source.resolve(), target)
        return
    with replacing(target) as partial:
        shutil.copyfile(source, partial)


def _within(image: Frames, side: int) -> Frames:
    """Scaled down until the longer side fits."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    return (
        image if scale >= 1 else resize_and_crop(image, (max(1, round(height * scale)), max(1, round(width * scale))))
    )


def _require_room(path: Path, info: VideoInfo) -> None:
    pixels = info.frames * info.width * info.height
    if pixels > MOST_PIXELS:
        raise MediaError(f"{path}: {info.frames} frames of {info.width}x{info.height} are too many for a heatmap")
