"""What the file of a clip is, measured by decoding it."""

from dataclasses import dataclass
from pathlib import Path

from motionfocal.video import iter_frames, probe


@dataclass(frozen=True, order=True)
class Form:
    """Height and width in pixels as displayed, frames, and frames a second."""

    height: int
    width: int
    frames: int
    fps: float

    def __str__(self) -> str:
        return f"{self.height}x{self.width}, {self.frames} frames at {self.fps:g} fps"


def form_of(path: Path, *, decode: bool) -> Form:
    """The form of a video.

    With ``decode`` every frame is decoded, which alone finds damage inside; without, the packets are counted and the
    first frame is decoded.

    Raises:
        MediaError: it is no video, or not a whole one; with ``decode`` also when a frame is damaged.
    """
    info = probe(path)
    if decode:
        for _ in iter_frames(path):
            pass
    return Form(info.height, info.width, info.frames, round(info.fps, 6))
