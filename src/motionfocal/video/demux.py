"""Open a video and hand out its packets, undecoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from motionfocal.errors import MediaError
from motionfocal.video.files import require_file

# A tag that is not UTF-8 must not hide a good video. From 19 on PyAV never raises and has no switch.
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

MOST_PIXELS = 8192 * 8192
"""Of a frame: twice 8K. A header may claim any size, and a file of 100 kB may hold frames of gigabytes."""

_HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions (ISO/IEC 23091-2) whose values are not those of a screen: read as they are, pictures are flat."""


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream. Raises MediaError when there is none to decode."""
    require_file(path)
    try:
        # An absolute path cannot be taken for a protocol ("a:b.mp4").
        container = av.open(str(path.absolute()), **_LENIENT)
    except av.FFmpegError as error:
        raise MediaError(
            f"{path}: cannot be opened as a video ({error.strerror}): it is something else, "
            "or it was cut off before its index was written; play it, or copy it again"
        ) from error
    with container:
        yield container, _video_stream(path, container)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    # The cover picture of a song is a video stream too.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams} - {"video"})) or "nothing"
        raise MediaError(f"{path}: holds no video stream, only {kinds}; give a file with pictures")
    stream = streams[0]
    if stream.codec_context is None:
        raise MediaError(f"{path}: no decoder here for its codec; convert it to H.264")
    _require_sane(path, stream)
    # Slices of one frame at a time: no frames wait in threads, and damage shows at the same frame each time.
    stream.thread_type = "SLICE"
    return stream


def _require_sane(path: Path, stream: VideoStream) -> None:
    """Raise MediaError for frames of an absurd size, and for colours that would come out wrong."""
    context = stream.codec_context
    if context.width * context.height > MOST_PIXELS:
        raise MediaError(
            f"{path}: its frames are said to have {context.width}x{context.height} pixels, more than is taken for a"
            " clip; scale it down first"
        )
    context.options = {"max_pixels": str(MOST_PIXELS)}  # a later header may say otherwise
    if name := _HDR.get(int(context.color_trc or 0)):
        raise MediaError(
            f"{path}: its colours are HDR ({name}) and would come out flat; convert it to SDR first, as FFmpeg does"
            " with its filters zscale and tonemap"
        )


def packets(container: InputContainer, stream: VideoStream) -> Iterator["Packet[VideoStream]"]:
    """The packets with data in decoding order, without those that nothing decodes when a cut opens the file.

    Those come before the first key frame, or follow it and lead up to it (B-frames of an open group).
    """
    arriving = container.demux(stream)
    key = next((packet for packet in arriving if packet.is_keyframe and not packet.is_corrupt), None)
    if key is None:
        return
    yield key
    leading = True
    for packet in arriving:
        leading = leading and packet.pts is not None and key.pts is not None and packet.pts < key.pts
        if packet.size and not leading:
            yield packet
