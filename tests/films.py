"""Real video files whose frames tell their own number, made for the tests of reading and writing."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8  # a frame's number in binary, as black and white stripes from left (lowest bit) to right


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    stripe = np.arange(width) * BITS // width
    return np.repeat((255 * (number >> stripe & 1)).astype(np.uint8)[None, :, None], height, axis=0).repeat(3, 2)


def number(image: np.ndarray) -> int:
    """The number that ``picture`` drew, whatever the codec, the size or the colours' rounding did to it."""
    centres = (np.arange(BITS) * 2 + 1) * image.shape[1] // (2 * BITS)
    return int(((image[:, centres].mean(axis=(0, 2)) > 128) << np.arange(BITS)).sum())


def numbers(images: np.ndarray | Iterator[np.ndarray]) -> list[int]:
    return [number(image) for image in images]


def film(
    path: Path,
    count: int = 30,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 30,
    size: tuple[int, int] = (48, 64),
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    movflags: str = "",
    pictures: Sequence[np.ndarray] | None = None,
    transfer: int | None = None,
) -> Path:
    """Write ``count`` numbered frames; frame k is shown at ``times[k] / rate``, by default k."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        if transfer is not None:
            stream.codec_context.color_trc = transfer
        for k in range(count):
            image = picture(k, *size) if pictures is None else pictures[k]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = k if times is None else times[k], 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remux(source: Path, target: Path, shift: int) -> Path:
    """The same packets ``shift`` ticks later; below 0, an MP4 gets an edit list that hides the first ones."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = reading.streams.video[0]
        copy = writing.add_stream_from_template(stream)
        for packet in reading.demux(stream):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copy
                writing.mux(packet)
    return target


def cut(source: Path, target: Path, start: float, end: float) -> Path:
    """The bytes of ``source`` between two shares of its length."""
    data = source.read_bytes()
    target.write_bytes(data[int(start * len(data)) : int(end * len(data))])
    return target


def sound(path: Path, *, cover: bool = False) -> Path:
    """A tenth of a second of silence, with a cover picture or without."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        if cover:
            art = container.add_stream("mjpeg", rate=1)
            art.height, art.width, art.pix_fmt = 48, 64, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic.value
            container.mux(art.encode(av.VideoFrame.from_ndarray(picture(5), format="rgb24")))
            container.mux(art.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
