"""VBench-I2V's dimensions that look at motion: smoothness, dynamic degree, camera motion.

Source of all formulas: Vchitect/VBench 45e79ec.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from motionfocal.errors import ShapeError
from motionfocal.metrics.backbones.backbone import Backbone
from motionfocal.metrics.backbones.motion import GRID, RAFT_SMALLEST, RAFT_STEPS
from motionfocal.metrics.backbones.recipes import as_pixels
from motionfocal.metrics.dynamics import moves, strongest_flow
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Output, Sample, Values
from motionfocal.video import Frames

SMOOTHNESS = "motion_smoothness"
DYNAMIC = "dynamic_degree"
CAMERA = "camera_motion"

DYNAMIC_FPS = 8
"""Dynamic degree looks at about so many frames a second."""

CAMERA_SHARE = 0.005
"""A point has moved if it did by more than this share of the shorter side, first frame to last."""


@dataclass(frozen=True)
class MotionSmoothness:
    """How well the frames between are predicted from their neighbours: AMT-S predicts frames 2, 4, .. (of 1..T).

    ``mean_k (255 - mean_px |f_k - g_k|) / 255`` with the prediction g cut down to 8 bits. None for fewer than three
    frames. VBench scales its input down when it is given a device as a string and memory is short; nothing is scaled
    here.
    """

    backbone: Backbone
    version: int = 1
    reads_text: bool = False
    uses_network: bool = True
    name: str = SMOOTHNESS

    @property
    def settings(self) -> Mapping[str, object]:
        """Weights and code. Raises UnavailableError without them."""
        return {**self.backbone.identity, "padding": 16}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One value a clip, 0..1; a still clip has about 0.998."""
        return (Output(SMOOTHNESS, "higher", "1 - error of AMT-S's frames between, 0..1"),)

    def begin(self, sample: Sample) -> "_Smoothness":
        """Loads the network. Raises UnavailableError, CheckpointError."""
        _ = self.backbone.network
        return _Smoothness(self.backbone)


class _Smoothness:
    """Holds the last frame of even index and the one after it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._even: Frames | None = None
        self._between: Frames | None = None
        self._errors: list[float] = []

    def see(self, frame: Frame) -> None:
        if frame.index % 2:
            self._between = frame.rgb
            return
        if self._even is not None and self._between is not None:
            pair = (as_pixels(image)[None] / 255 for image in (self._even, frame.rgb))
            middle = (self.backbone(*pair)[0] * 255).clamp(0, 255).to(torch.uint8)
            error = (middle.int() - as_pixels(self._between).int()).abs().double().mean()
            self._errors.append(float(error))
        self._even, self._between = frame.rgb, None

    def values(self) -> Values:
        smooth = (255 - float(np.mean(self._errors))) / 255 if self._errors else None
        return {SMOOTHNESS: smooth}


@dataclass(frozen=True)
class DynamicDegree:
    """Whether a clip moves, 1 or 0, by RAFT: the model's score is the share of its clips that do.

    Frames at about 8 a second; s_t is the mean of the largest 5 % of flow magnitudes of pair t, in pixels; the clip
    moves if ``s_t > 6 min(H,W)/256`` for at least ``round(4 T/16)`` pairs, T the frames looked at. VBench calls every
    clip with T = 2 moving (the count is 0) and stumbles over rates under 4; here T <= 2 is None and a step is at least
    one frame. A camera pan counts as motion, and a small object that moves fast may not: read it with object motion.
    """

    backbone: Backbone
    version: int = 1
    reads_text: bool = False
    uses_network: bool = True
    name: str = DYNAMIC

    @property
    def settings(self) -> Mapping[str, object]:
        """Weights, library and what is counted. Raises UnavailableError without the weights."""
        return {**self.backbone.identity, "steps": RAFT_STEPS, "padding": 8, "fps": DYNAMIC_FPS}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One value a clip, 1 or 0."""
        return (Output(DYNAMIC, "higher", "1 if the clip moves by VBench's rule, else 0; camera motion counts"),)

    def begin(self, sample: Sample) -> "_Dynamic":
        """Loads the network. Raises UnavailableError, CheckpointError."""
        _ = self.backbone.network
        return _Dynamic(self.backbone, step=max(1, round(sample.fps / DYNAMIC_FPS)))


class _Dynamic:
    """Holds the last frame that was looked at, and a number for each pair."""

    def __init__(self, backbone: Backbone, step: int) -> None:
        self.backbone, self.step = backbone, step
        self._last: Frames | None = None
        self._strengths: list[float] = []

    def see(self, frame: Frame) -> None:
        if frame.index % self.step:
            return
        if min(frame.rgb.shape[:2]) < RAFT_SMALLEST:
            raise ShapeError(
                f"{DYNAMIC}: frames {frame.rgb.shape[:2]} are too small for RAFT; both sides need {RAFT_SMALLEST}"
            )
        if self._last is not None:
            flow = self.backbone(as_pixels(self._last)[None], as_pixels(frame.rgb)[None])[0]
            self._strengths.append(strongest_flow(flow.norm(dim=0).numpy()))
        self._last = frame.rgb

    def values(self) -> Values:
        if self._last is None or len(self._strengths) < 2:
            return {DYNAMIC: None}
        return {DYNAMIC: float(moves(self._strengths, min(self._last.shape[:2])))}


@dataclass(frozen=True)
class CameraMotion:
    """Whether the camera moves as the text says, 1 or 0, by CoTracker2; None where the text names no camera motion.

    Four points at the middles of the edges of a 10×10 grid are followed from the first frame to the last; see
    ``camera_motions``. VBench reads the wanted motion from the file's name and stops at another name; here it is read
    from the text. The networks' input is held at the size that CoTracker itself scales to (2.4 MB a frame).
    """

    backbone: Backbone
    version: int = 1
    reads_text: bool = True
    uses_network: bool = True
    name: str = CAMERA

    @property
    def settings(self) -> Mapping[str, object]:
        """Weights, code and threshold. Raises UnavailableError without them."""
        return {**self.backbone.identity, "grid": GRID, "threshold": CAMERA_SHARE}

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One value a clip, 1 or 0."""
        return (Output(CAMERA, "higher", "1 if the camera moves as the text says, else 0"),)

    def begin(self, sample: Sample) -> "_Camera":
        """Loads the network. Raises UnavailableError, CheckpointError."""
        return _Camera(self.backbone, self.backbone.network, wanted_motion(sample.text))


class _Camera:
    """Holds the frames at the tracker's own size."""

    def __init__(self, backbone: Backbone, tracker: Any, wanted: str | None) -> None:  # noqa: ANN401 - GridTracks
        self.backbone, self.wanted = backbone, wanted
        self.shape: tuple[int, int] = tracker.shape
        self._size = (0, 0)
        self._frames: list[Tensor] = []

    def see(self, frame: Frame) -> None:
        if self.wanted is None:
            return
        self._size = (frame.rgb.shape[0], frame.rgb.shape[1])
        pixels = as_pixels(frame.rgb)[None]
        self._frames.append(F.interpolate(pixels, self.shape, mode="bilinear", align_corners=True)[0])

    def values(self) -> Values:
        if self.wanted is None or len(self._frames) < 2:
            return {CAMERA: None}
        tracks = self.backbone(torch.stack(self._frames)[None])[0]
        scale = torch.tensor([(side - 1) / (own - 1) for side, own in zip(self._size, self.shape, strict=True)])
        ends = (tracks[[0, -1]] * scale.flip(0)).long().numpy()
        return {CAMERA: float(self.wanted in camera_motions(ends[0], ends[1], min(self._size)))}


_WANTED = {
    "camera pans left": "pan_left",
    "camera pans right": "pan_right",
    "camera tilts up": "tilt_up",
    "camera tilts down": "tilt_down",
    "camera zooms in": "zoom_in",
    "camera zooms out": "zoom_out",
    "camera static": "static",
}


def wanted_motion(text: str) -> str | None:
    """The camera motion that a text of VBench-I2V asks for ("..., camera pans left"), None if it asks for none."""
    return next((motion for phrase, motion in _WANTED.items() if phrase in text), None)


_BOTH_WAYS = {
    ("left", "left"): "pan_right",
    ("right", "right"): "pan_left",
    ("down", "down"): "tilt_up",
    ("up", "up"): "tilt_down",
    ("static", "static"): "static",
}
_VERTICAL = {**_BOTH_WAYS, ("up", "down"): "zoom_in", ("down", "up"): "zoom_out"}
_HORIZONTAL = {**_BOTH_WAYS, ("left", "right"): "zoom_in", ("right", "left"): "zoom_out"}


def camera_motions(first: NDArray[np.int64], last: NDArray[np.int64], side: int) -> set[str]:
    """The camera motions that the grid's points ``[100,2]`` (x, y; whole pixels) show between two frames.

    Points at the middle of the top and bottom edge speak together, and so do left and right; each points in up to two
    directions, one an axis, where it moved by more than 0.005 of ``side`` pixels. "static" is what both pairs must say.
    """
    moved = (last - first).reshape(GRID, GRID, 2)
    middle, end = GRID // 2, GRID - 1
    top, bottom = (_directions(moved[row, middle], side) for row in (0, end))
    left, right = (_directions(moved[middle, column], side) for column in (0, end))
    pairs = (_agreed(top, bottom, _VERTICAL), _agreed(left, right, _HORIZONTAL))
    return (pairs[0] | pairs[1]) - {"static"} or (pairs[0] & pairs[1])


def _agreed(one: Sequence[str], other: Sequence[str], meaning: Mapping[tuple[str, str], str]) -> set[str]:
    return {meaning[a, b] for a in one for b in other if (a, b) in meaning}


def _directions(moved: NDArray[np.int64], side: int) -> list[str]:
    threshold = side * CAMERA_SHARE
    found = []
    for amount, (back, forth) in zip(moved, (("left", "right"), ("up", "down")), strict=True):
        if abs(amount) > threshold:
            found.append(forth if amount > 0 else back)
    return found or ["static"]
