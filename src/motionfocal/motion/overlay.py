"""Heatmaps to look at: drawn over the frames, as a clip or as one picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ShapeError

# Full heat leaves this much of the frame visible under the colour.
_OPACITY = 0.65


def overlay(frames: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw heat (float32 [T,H,W] in [0,1]) over frames (uint8 RGB [T,H,W,3]); uint8 RGB of the frames' shape.

    Colours run from dark violet to pale yellow (inferno). The colour's opacity is the heat itself, so still
    pixels keep their own look. Raises ShapeError when the two do not fit.
    """
    if frames.shape[:3] != heat.shape:
        raise ShapeError(f"heat {list(heat.shape)} does not fit frames {list(frames.shape)}")
    return np.stack([_overlay_frame(frame, lit) for frame, lit in zip(frames, heat, strict=True)])


def filmstrip(frames: NDArray[np.uint8], heat: NDArray[np.float32], columns: int = 6) -> NDArray[np.uint8]:
    """One picture, uint8 RGB [2H,columns*W,3]: frames spread over the clip above, the same with heat below.

    A clip shorter than ``columns`` shows each of its frames once.
    """
    shown = np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)
    rows = (frames[shown], overlay(frames[shown], heat[shown]))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def _overlay_frame(frame: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.rint(heat * 255).astype(np.uint8)
    colour = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = _OPACITY * heat[..., None]
    return np.rint(frame * (1 - opacity) + colour * opacity).astype(np.uint8)
