"""Encode clips as H.264 that every browser plays."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from motionfocal.errors import ConfigError, MediaError, ShapeError
from motionfocal.video.clip import Frames, require_rgb
from motionfocal.video.files import replacing

# H.264's code for the BT.601 matrix (SMPTE 170M): what a reader that ignores the tag assumes.
_BT601 = 6

# x264's fast code for "mbtree" reads memory that nothing wrote: up to half of a clip's copies differed in a few bytes.
_SAME_BYTES = {"x264-params": "cpu-independent=1"}


def write_clip(
    path: str | Path, frames: Frames | Iterable[Frames], fps: float, *, crf: int = 16, upscale: int = 1
) -> None:
    """Write RGB frames, uint8 ``[T,H,W,3]`` or any iterable of ``[H,W,3]``, as H.264 yuv420p faststart MP4.

    ``upscale=k`` repeats each pixel k x k, so that small pictures survive the halved chroma. An odd side
    is padded to even by repeating its last row or column. ``crf`` is x264's quality, 0 (best) to 51.
    The frames stream through; the file appears, whole, when the last one is written. Makes the
    folder. Raises MediaError when there are no frames or the file cannot be written, ShapeError for a
    frame that is not uint8 RGB of the first one's size, ConfigError for a bad fps or upscale.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise MediaError(f"{path}: clips are written as MP4; end the name in .mp4")
    if not 0 < fps < float("inf"):
        raise ConfigError(f"fps: must be a positive number, got {fps}")
    if upscale < 1:
        raise ConfigError(f"upscale: must be at least 1, got {upscale}")
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise MediaError(f"{path}: there are no frames to write; give at least one")
    drawn = (_drawn(image, first, upscale) for image in chain([first], images))
    with replacing(path) as partial:
        try:
            _encode(partial, drawn, fps, crf)
        except av.FFmpegError as error:
            raise MediaError(f"{path}: cannot be encoded ({error.strerror}); check its size and crf") from error


def _drawn(image: Frames, first: Frames, upscale: int) -> Frames:
    """``image`` upscaled and padded to even sides."""
    require_rgb(image, rank=3)
    if image.shape != first.shape:
        raise ShapeError(f"a frame is {list(image.shape)}, the first was {list(first.shape)}")
    image = image.repeat(upscale, axis=0).repeat(upscale, axis=1)
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _encode(path: Path, images: Iterator[Frames], fps: float, crf: int) -> None:
    rate = Fraction(fps).limit_denominator(1001)  # 29.97 as 30000/1001
    reformatter = VideoReformatter()
    with av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)} | _SAME_BYTES)
        for index, image in enumerate(images):
            if index == 0:
                _describe(stream, image)
            frame = _yuv420(reformatter, image)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _describe(stream: VideoStream, image: Frames) -> None:
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace = _BT601
    stream.codec_context.color_range = ColorRange.MPEG


def _yuv420(reformatter: VideoReformatter, image: Frames) -> VideoFrame:
    # Each chroma sample is the mean of its four pixels, which repeating it undoes best.
    return reformatter.reformat(
        VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
        format="yuv420p",
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.AREA,
    )
