"""Decode videos: upright RGB frames on a uniform time grid, one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat, takewhile
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from motionfocal.errors import ConfigError, MediaError
from motionfocal.video.clip import Clip, Frames, resize_and_crop
from motionfocal.video.demux import open_video, packets
from motionfocal.video.survey import Survey, survey


@dataclass(frozen=True)
class VideoInfo:
    """What a video file is.

    ``width`` and ``height`` are as displayed, after the rotation; ``rotation`` is how far the coded
    picture is turned for that, in degrees counter-clockwise: 0, 90, 180 or 270. ``fps`` is the average
    rate, ``frames`` what the container promises, ``duration`` their time in seconds, and ``readable`` how many
    frames stand before the first damage.
    """

    width: int
    height: int
    fps: float
    frames: int
    readable: int
    duration: float
    rotation: int
    codec: str
    pixel_format: str


def probe(path: str | Path) -> VideoInfo:
    """Look at a video: one pass over its packets, and its first frame. Raises MediaError."""
    path = Path(path)
    plan = survey(path)
    frame = next(_decoded(path, plan), None)
    if frame is None:
        raise _broken(path, 0, plan, "none came out")
    quarter_turns = round(frame.rotation / 90) % 4
    size = (frame.width, frame.height)
    width, height = size[::-1] if quarter_turns % 2 else size
    return VideoInfo(
        width=width,
        height=height,
        fps=plan.fps,
        frames=plan.promised,
        readable=len(plan.shown),
        duration=plan.promised / plan.fps,
        rotation=90 * quarter_turns,
        codec=plan.codec,
        pixel_format=frame.format.name,
    )


def iter_frames(path: str | Path, *, stride: int = 1, start: int = 0) -> Iterator[Frames]:
    """Every ``stride``-th frame ``[H,W,3]`` from frame ``start`` on, one at a time.

    The grid of frames is uniform at the average rate (a variable rate repeats and skips frames; a
    constant one gives each frame once), upright, in a memory that does not depend on the length.
    Raises MediaError: at the first frame when the file is no video, where the decoding breaks, and
    after the last frame when the container promised more.
    """
    _require_sampling(stride, start)
    path = Path(path)
    plan = survey(path)
    yield from _images(path, plan, plan.shown[start::stride])
    _require_whole(path, plan)


def read_clip(
    path: str | Path,
    *,
    frames: int | None = None,
    stride: int = 1,
    start: int = 0,
    size: tuple[int, int] | None = None,
) -> Clip:
    """Every ``stride``-th frame from ``start`` on as a Clip, at ``size = (H, W)`` if given.

    With ``frames`` exactly that many, reading no further; without, the whole file, which must be
    whole. Frames are resized (``resize_and_crop``) as they come. Raises MediaError when there are too
    few, and then names the stride that fits; when the file is cut off or damaged; when it is no video.
    """
    _require_sampling(stride, start, frames)
    path = Path(path)
    plan = survey(path)
    if frames is None:
        _require_whole(path, plan)
    wanted = plan.shown[start::stride][:frames]
    if len(wanted) < (frames or 1):
        raise _too_few(path, plan, frames or 1, stride, start)
    images = _images(path, plan, wanted)
    if size is not None:
        images = (resize_and_crop(image, size) for image in images)
    return Clip(_stacked(images, len(wanted)), plan.fps / stride, stride, str(path))


def _stacked(images: Iterator[Frames], count: int) -> Frames:
    first = next(images)
    out = np.empty((count, *first.shape), np.uint8)
    for slot, image in zip(out, chain([first], images), strict=True):
        slot[:] = image
    return out


def _images(path: Path, plan: Survey, wanted: NDArray[np.int64]) -> Iterator[Frames]:
    """The decoded frames with the indices ``wanted`` (in order, some repeated), RGB and upright."""
    decoded = _decoded(path, plan)
    reformatter = VideoReformatter()  # one for all frames: each holds megabytes
    shape = None
    for index, times in enumerate(np.bincount(wanted).tolist()):
        frame = next(decoded, None)
        if frame is None or _is_late(frame, index, plan):
            raise _broken(path, index, plan, "the next one did not come out")
        if not times:
            continue
        try:
            image = _upright(_rgb(reformatter, frame), frame)
        except av.FFmpegError as error:  # a colour space that is not implemented
            raise _broken(path, index, plan, f"its colours: {error.strerror}") from error
        shape = shape or image.shape
        if image.shape != shape:
            raise MediaError(f"{path}: frame {index} is {image.shape[:2]}, those before {shape[:2]}; cut it there")
        yield from repeat(image, times)


def _decoded(path: Path, plan: Survey) -> Iterator[VideoFrame]:
    """Every frame in the order of display, up to the first damaged packet. Raises MediaError at damage."""
    done = 0
    with open_video(path) as (container, stream):
        intact = takewhile(lambda packet: not packet.is_corrupt, packets(container, stream))
        try:
            for packet in chain(intact, [None]):  # None asks for the frames that the decoder still holds
                for frame in stream.decode(packet):
                    if frame.is_corrupt:
                        raise _broken(path, done, plan, "the next one is damaged")
                    yield frame
                    done += 1
        except av.FFmpegError as error:
            raise _broken(path, done, plan, error.strerror) from error


def _rgb(reformatter: VideoReformatter, frame: VideoFrame) -> Frames:
    # The default conversion repeats chroma samples, so pixel art comes back as it was. It truncates:
    # colours come out a level darker, as in every reader built on FFmpeg.
    return reformatter.reformat(frame, format="rgb24").to_ndarray().astype(np.uint8, copy=False)


def _is_late(frame: VideoFrame, index: int, plan: Survey) -> bool:
    """Whether the decoder swallowed frame ``index`` and this is a later one."""
    return bool(len(plan.times)) and frame.pts is not None and frame.pts > int(plan.times[index])


def _upright(image: Frames, frame: VideoFrame) -> Frames:
    """Turn and mirror ``image`` as the frame's display matrix asks, to the nearest quarter turn.

    The matrix holds 3x3 fixed point numbers; ``x' = a x + c y`` and ``y' = b x + d y``, with y down.
    """
    matrix = cast("bytes | None", frame.side_data.get("DISPLAYMATRIX"))
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        image, across, down = image.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    image = image[:, ::-1] if across < 0 else image
    image = image[::-1] if down < 0 else image
    return np.ascontiguousarray(image)


def _require_sampling(stride: int, start: int, frames: int | None = None) -> None:
    if stride < 1:
        raise ConfigError(f"stride: must be at least 1, got {stride}")
    if start < 0:
        raise ConfigError(f"start: must be at least 0, got {start}")
    if frames is not None and frames < 1:
        raise ConfigError(f"frames: must be at least 1 (or None for all), got {frames}")


def _require_whole(path: Path, plan: Survey) -> None:
    if plan.missing:
        raise _broken(path, len(plan.shown), plan, "the file ends early, or is damaged there")


def _broken(path: Path, done: int, plan: Survey, why: str) -> MediaError:
    return MediaError(
        f"{path}: only {done} of {plan.promised} frames can be decoded ({why}); "
        "copy or download it again, or ask for frames that come before"
    )


def _too_few(path: Path, plan: Survey, frames: int, stride: int, start: int) -> MediaError:
    there = len(plan.shown)
    left = max(there - start, 0)
    fits = (left - 1) // (frames - 1) if frames > 1 else left
    advice = f"stride {fits} fits" if fits > 0 else f"at most {left} fit, so take fewer or start earlier"
    whole = f" of {plan.promised}" if plan.missing else ""
    return MediaError(
        f"{path}: {frames} frames at stride {stride} from frame {start} were asked for, "
        f"and it has {there}{whole}; {advice}"
    )
