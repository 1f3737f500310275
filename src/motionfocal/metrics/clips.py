"""Where the frames to measure come from: a file of a gallery, or a picture that is made to look like a clip."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.video import Frames, content_of, iter_frames

_PAN = 0.1
"""Way of the camera in ``PanOnly``, as a share of the width."""


class ClipFrames(Protocol):
    """Frames uint8 ``[H,W,3]``, one after the other, as often as they are asked for."""

    @property
    def content(self) -> str:
        """Tells the frames apart from all others: equal only where they are."""
        ...

    def frames(self) -> Iterator[Frames]:
        """All frames in order. Raises MediaError when one cannot be read."""
        ...


@dataclass(frozen=True)
class FileFrames:
    """The frames of a video file."""

    path: Path

    @cached_property
    def content(self) -> str:
        """SHA-256 of the file. Raises MediaError when it cannot be read."""
        return content_of(self.path)

    def frames(self) -> Iterator[Frames]:
        """See ``ClipFrames``."""
        return iter_frames(self.path)


@dataclass(frozen=True)
class StillFrames:
    """An item's picture, again and again."""

    item: BenchmarkItem
    size: tuple[int, int]
    count: int

    @property
    def content(self) -> str:
        """See ``ClipFrames``."""
        return f"still {self.item.content} {self.size} {self.count}"

    def frames(self) -> Iterator[Frames]:
        """See ``ClipFrames``."""
        picture = self.item.picture(self.size)
        for _ in range(self.count):
            yield picture


@dataclass(frozen=True)
class PanOnly:
    """A camera that moves to the right over an item's picture by a tenth of its width; nothing else moves."""

    item: BenchmarkItem
    size: tuple[int, int]
    count: int

    @property
    def content(self) -> str:
        """See ``ClipFrames``."""
        return f"pan {self.item.content} {self.size} {self.count}"

    def frames(self) -> Iterator[Frames]:
        """See ``ClipFrames``: windows into the picture, enlarged as much as the way needs; whole pixels."""
        height, width = self.size
        way = max(1, round(_PAN * width))
        wide = width + way
        tall = math.ceil(height * wide / width)
        picture = self.item.picture((tall, wide))
        top = (tall - height) // 2
        for left in np.linspace(0, way, self.count).round().astype(int):
            yield np.ascontiguousarray(picture[top : top + height, left : left + width])
