"""When each frame of a video is shown, at what rate, and what is missing, told before any is decoded.

One pass over the packets costs microseconds a frame and settles what no header tells reliably: the
true average rate, whether the rate varies, and whether the file is as long as it claims.
"""

import re
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from motionfocal.errors import MediaError
from motionfocal.video.demux import open_video, packets

_NO_TIME = -(2**63)
_AVI = "avi"  # holds no timestamps; what FFmpeg makes up is in the order of storage
_MATROSKA_DURATION = re.compile(r"(\d+):(\d\d):(\d\d\.\d+)", re.ASCII)


@dataclass(frozen=True, eq=False)
class Survey:
    """The uniform grid of a video: at time ``k / fps`` the decoded frame ``shown[k]`` is on display.

    The grid has as many ticks as the file has frames. ``times`` are the timestamps that the decoded
    frames must bear, in order (empty: unknown). ``missing`` counts the frames that the container
    promises beyond those that are there, and is 0 for a whole file.
    """

    shown: NDArray[np.int64]
    times: NDArray[np.int64]
    fps: float
    missing: int
    codec: str

    @property
    def promised(self) -> int:
        """How many frames the whole file would have."""
        return len(self.shown) + self.missing


@dataclass(frozen=True, eq=False)
class _Timeline:
    """Times of display in order (empty when they are useless) and durations, in ticks of ``tick`` seconds.

    Every frame up to ``complete`` is there; later ones may lack a neighbour, as a B-frame is stored
    after the frame that it precedes. ``damaged``: a broken packet ended the reading.
    """

    times: NDArray[np.int64]
    durations: NDArray[np.int64]
    tick: float
    complete: int
    damaged: bool

    @property
    def end(self) -> float:
        """When the last frame ends, in seconds."""
        return float(self.times[-1] + self.durations[-1]) * self.tick if len(self.times) else 0.0

    def without_gaps(self) -> "_Timeline":
        """Up to the last frame before which nothing is lost."""
        if not len(self.times):
            return self
        count = max(1, int(np.searchsorted(self.times, self.complete, side="right")))
        return replace(self, times=self.times[:count], durations=self.durations[:count])


def survey(path: Path) -> Survey:
    """Read every packet of a video once, decode none. Raises MediaError when it holds no frame."""
    with open_video(path) as (container, stream):
        try:
            line = _timeline(container, stream)
        except (av.FFmpegError, IndexError) as error:
            # PyAV knows the streams that it found at first; a later one is an index error.
            why = "a stream begins on the way" if isinstance(error, IndexError) else error.strerror
            raise MediaError(f"{path}: cannot be read ({why}); convert it to MP4 or copy it again") from error
        if not len(line.durations):
            raise MediaError(f"{path}: no frame of its video can be decoded; make or download it again")
        promised_end = _promised_end(container, stream, line)
        cut_off = line.damaged or _falls_short(line, promised_end)
        line = line.without_gaps() if cut_off else line
        fps = _frame_rate(line, stream)
        return Survey(
            shown=_grid(line, fps),
            times=line.times[:0] if container.format.name == _AVI else line.times,
            fps=fps,
            missing=max(1, round((promised_end - line.end) * fps)) if cut_off else 0,
            codec=stream.codec_context.name,
        )


def _timeline(container: InputContainer, stream: VideoStream) -> _Timeline:
    stamps, durations = array("q"), array("q")
    complete, damaged = _NO_TIME, False
    for packet in packets(container, stream):
        if packet.is_corrupt:
            damaged = True
            break
        if packet.is_discard:  # an edit list keeps some frames only because others need them
            continue
        stamps.append(_NO_TIME if packet.pts is None else packet.pts)
        durations.append(packet.duration or 0)
        complete = complete if packet.dts is None else packet.dts
    times = np.sort(np.array(stamps, np.int64))
    useful = _NO_TIME not in times and bool(np.all(np.diff(times) > 0))
    return _Timeline(
        times=times if useful else times[:0],
        durations=np.array(durations, np.int64),
        tick=float(stream.time_base or 0),
        complete=complete,
        damaged=damaged,
    )


def _frame_rate(line: _Timeline, stream: VideoStream) -> float:
    """The average rate: the header's if it agrees with the timestamps to a tick, else what they say.

    Headers of variable rates lie, and so do those whose last frame stays for another time than the rest.
    """
    header = float(stream.average_rate or 0)
    if len(line.times) < 2:
        shown_for = float(line.durations[0]) * line.tick
        alone = 1 / shown_for if shown_for else float(stream.guessed_rate or 1)
        # A bare stream has no timestamps, and FFmpeg's average of it is a default.
        return header if header and len(line.times) else alone
    steps = len(line.times) - 1
    span = float(line.times[-1] - line.times[0]) * line.tick
    return header if abs(header * span - steps) <= header * line.tick else steps / span


def _grid(line: _Timeline, fps: float) -> NDArray[np.int64]:
    """For each tick of the grid, the last frame that began by then, with half a tick to spare.

    The half tick absorbs the rounding of timestamps: at a constant rate each frame comes once.
    """
    ticks = np.arange(len(line.durations))
    if not len(line.times):
        return ticks
    latest = line.times[0] + (ticks + 0.5) / (fps * line.tick)
    return np.searchsorted(line.times, latest, side="right") - 1


def _promised_end(container: InputContainer, stream: VideoStream, line: _Timeline) -> float:
    """When the last frame ends on the file's clock, in seconds, as the container says; 0 when it does not."""
    if container.format.name == _AVI:  # FFmpeg guesses its duration from the size of the file
        return stream.frames * line.tick
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * line.tick
    if clock := _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return 0.0


def _falls_short(line: _Timeline, promised_end: float) -> bool:
    """Whether the video ends before its time, by clearly more than any step between frames: headers round."""
    steps = np.append(np.diff(line.times), line.durations[-1])
    return bool(len(line.times) and steps.max() and promised_end - line.end > 1.5 * steps.max() * line.tick)
