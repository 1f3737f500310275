"""Take out of a clip what tells how it was made: tags, other streams, and the encoder's message about itself."""

from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from motionfocal.errors import MediaError
from motionfocal.video.demux import open_video
from motionfocal.video.files import replacing

_WITHOUT_SEI = "filter_units=remove_types=6"  # x264 writes its version and all of its options there
_OPTIONS = {"movflags": "+faststart", "fflags": "+bitexact"}  # bitexact: no name of the muxer


def remove_traces(path: Path) -> None:
    """Rewrite an H.264 MP4 as its video stream alone, without tags, for faststart; no frame is encoded anew.

    Raises:
        MediaError: it is no video, or its stream is not H.264.
    """
    with open_video(path) as (source, stream), replacing(path) as partial:
        if stream.codec_context.name != "h264":
            raise MediaError(f"{path}: is {stream.codec_context.name}, expected H.264; write it with write_clip")
        try:
            with av.open(str(partial.absolute()), "w", format="mp4", options=_OPTIONS) as target:
                copy = target.add_stream_from_template(stream)
                bare = BitStreamFilterContext(_WITHOUT_SEI, stream, copy)
                for packet in source.demux(stream):
                    for kept in bare.filter(packet if packet.dts is not None else None):
                        kept.stream = copy
                        target.mux(kept)
        except av.FFmpegError as error:
            raise MediaError(f"{path}: cannot be rewritten ({error.strerror}); write it again") from error
