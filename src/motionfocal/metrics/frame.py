"""One decoded frame, and what several metrics derive from it, each computed once."""

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from motionfocal.motion import estimate_flow
from motionfocal.video import Frames

FLOW = "dis"
FLOW_SIDE = 256
"""Flow is estimated where the frame's shorter side has at most so many pixels."""


class Frame:
    """A frame uint8 ``[H,W,3]`` RGB with the one before it; the frame before that is let go."""

    def __init__(self, index: int, rgb: Frames, previous: "Frame | None") -> None:
        self.index, self.rgb, self.previous = index, rgb, previous
        if previous is not None:
            previous.previous = None

    @cached_property
    def scale(self) -> float:
        """The side of the small frame over the frame's, at most 1."""
        return min(1.0, FLOW_SIDE / min(self.rgb.shape[:2]))

    @cached_property
    def small(self) -> Frames:
        """The frame at the size that flow is estimated at."""
        if self.scale == 1:
            return self.rgb
        height, width = (max(1, round(side * self.scale)) for side in self.rgb.shape[:2])
        return np.asarray(cv2.resize(self.rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    @cached_property
    def grey(self) -> NDArray[np.float32]:
        """``small`` in grey levels, float32 ``[h,w]``."""
        return np.asarray(cv2.cvtColor(self.small, cv2.COLOR_RGB2GRAY), np.float32)

    @cached_property
    def flow(self) -> NDArray[np.float32]:
        """From the previous frame to this one: float32 ``[h,w,2]`` in pixels of ``small``, by DIS; not of frame 0."""
        if self.previous is None:
            raise IndexError("the first frame has no flow")
        return estimate_flow(np.stack([self.previous.small, self.small]), FLOW)[0]
