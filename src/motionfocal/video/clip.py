"""The noun every room shares: a clip of RGB frames, and how frames are brought to a size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ConfigError, ShapeError

Frames = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames uint8 ``[T,H,W,3]`` RGB, and how fast they follow one another.

    ``fps`` is the rate of *these* frames: the source's rate over ``stride``. ``source`` is the path or
    a name. Raises ShapeError when the frames are of another type or rank.
    """

    frames: Frames
    fps: float
    stride: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        require_rgb(self.frames, rank=4)


def require_rgb(frames: Frames, rank: int | None = None) -> None:
    """Raise ShapeError unless ``frames`` is uint8 ``[...,H,W,3]``, with ``rank`` axes if given."""
    fits = frames.ndim >= 3 if rank is None else frames.ndim == rank
    if not fits or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        wanted = {3: "[H,W,3]", 4: "[T,H,W,3]"}.get(rank or 0, "[...,H,W,3]")
        raise ShapeError(f"expected uint8 RGB {wanted}, got {frames.dtype} {list(frames.shape)}")


def resize_and_crop(frames: Frames, size: tuple[int, int]) -> Frames:
    """Scale ``[...,H,W,3]`` until it covers ``size = (h, w)``, then keep the centre: ``[...,h,w,3]``.

    The aspect ratio stays. Shrinking averages areas, growing is cubic; a size that is there already
    returns the same array. Raises ShapeError for another type or rank, ConfigError for an empty size.
    """
    require_rgb(frames)
    h, w = size
    if min(h, w) < 1:
        raise ConfigError(f"size: height and width must be at least 1, got {size}")
    height, width = frames.shape[-3:-1]
    if (height, width) == (h, w):
        return frames
    scale = max(h / height, w / width)
    tall, wide = max(h, round(height * scale)), max(w, round(width * scale))
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    top, left = (tall - h) // 2, (wide - w) // 2
    images = frames.reshape(-1, height, width, 3)
    out = np.empty((len(images), h, w, 3), np.uint8)
    for image, target in zip(images, out, strict=True):
        scaled = cv2.resize(np.ascontiguousarray(image), (wide, tall), interpolation=kernel)
        target[:] = scaled[top : top + h, left : left + w]
    return out.reshape(*frames.shape[:-3], h, w, 3)
