"""What the objects did, apart from what the camera did."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from motionfocal.metrics.displacement import displacement
from motionfocal.metrics.frame import FLOW, FLOW_SIDE, Frame
from motionfocal.metrics.metric import Observer, Output, Sample, Values
from motionfocal.motion import compensate_camera

_FLOOR = 0.5
"""Pixels a frame, at the flow's size, below which a place counts as standing still."""
_LEAST_AREA = 5e-4
"""Share of the frame that the largest moving region must have to count as an object."""
_CAMERA_MOVES = 0.02
"""Shift of the picture over the clip, as a share of its shorter side, from which on the camera counts as moving."""
_BORDER = 4
"""Pixels beside what leaves the frame that tell nothing, either."""
_REACH = 2.5
"""The search for an object goes so many times as far as its fastest pixels by the flow, which is pulled to zero."""
_SEEN = 0.5
"""Share of the pairs in which the camera must be told from the objects."""


class ObjectMotion:
    """An affine camera motion is fitted to each pair's flow by RANSAC (``compensate_camera``); the rest is objects.

    The object of a pair is the largest region where the rest is at least half a pixel a frame. Its displacement is
    found by ``displacement`` on frames whose camera motion is undone, so it is that in the scene, however the camera
    moves. A pair in which the camera cannot be told from the objects says nothing of either: the others stand for it, a
    path being as long as if all pairs were like them. Where less than half of the pairs are left, there is no value.
    """

    name, version, reads_text = "object_motion", 2, False
    uses_network = False
    settings: Mapping[str, object] = {"estimator": FLOW, "side": FLOW_SIDE}
    outputs: Sequence[Output] = (
        Output("camera_class", "neither", "static, pan left or right, tilt up or down, zoom in or out, roll."),
        Output("camera_motion", "neither", "Shift of the picture by the camera, per cent of the shorter side."),
        Output("object_share", "neither", "Pixels that move by themselves, per cent, mean over the pairs.", True),
        Output("object_path", "neither", "Length of the largest object's way, per cent of the shorter side.", True),
        Output("object_displacement", "neither", "From its first to its last place, per cent of the shorter side."),
    )

    def begin(self, sample: Sample) -> Observer:
        """See ``Metric``."""
        return _Objects()


class _Objects:
    def __init__(self) -> None:
        self._camera = np.eye(3)
        self._seen: list[bool] = []
        self._shares: list[float] = []
        self._steps: list[tuple[float, float]] = []
        self._shape = (1, 1)

    def see(self, frame: Frame) -> None:
        previous = frame.previous
        self._shape = frame.small.shape[:2]
        if previous is None:
            return
        motion = compensate_camera(frame.flow[None], previous.small[None])
        affine, rest = motion.affine[0], np.linalg.norm(motion.residual[0], axis=-1)
        self._camera = np.vstack([affine, [0, 0, 1]]) @ self._camera
        self._seen.append(bool(motion.compensated[0]))
        if not self._seen[-1]:  # the rest is all flow, the camera's too
            return
        moving = cv2.morphologyEx((rest >= _FLOOR).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        moving &= _in_sight(affine, self._shape)
        self._shares.append(float(moving.mean()))
        region = _largest(moving)
        if region is not None:
            reach = _REACH * float(np.percentile(rest[region], 95))
            self._steps.append(displacement(previous.grey, _undone(frame.grey, affine), region, reach))

    def values(self) -> Values:
        side = min(self._shape)
        if not self._seen or np.mean(self._seen) < _SEEN:
            return {output.name: None for output in ObjectMotion.outputs}
        steps = np.array(self._steps).reshape(-1, 2) * len(self._seen) / sum(self._seen)
        name, shift = camera_class(self._camera, self._shape)
        return {
            "camera_class": name,
            "camera_motion": 100 * shift,
            "object_share": 100 * float(np.mean(self._shares)),
            "object_path": 100 * float(np.linalg.norm(steps, axis=1).sum()) / side,
            "object_displacement": 100 * float(np.linalg.norm(steps.sum(axis=0))) / side,
        }


def camera_class(transform: NDArray[np.float64], shape: tuple[int, int]) -> tuple[str, float]:
    """What a camera did that moved the ground by an affine ``transform`` ``[3,3]``, and how far the picture shifted.

    The shift is the largest of four, as a share of the shorter side: that of the centre along each axis, and those of
    the middle of an edge by zoom and by roll. What shifts most names the class; below 2 % it is "static".
    """
    height, width = shape
    side, centre = min(shape), np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    across, down = (transform @ centre - centre)[:2] / side
    zoom = float(np.sqrt(abs(np.linalg.det(transform[:2, :2])))) - 1
    roll = float(np.arctan2(transform[1, 0] - transform[0, 1], transform[0, 0] + transform[1, 1]))
    shifts = {
        "pan left" if across > 0 else "pan right": abs(float(across)),  # the ground goes the other way
        "tilt up" if down > 0 else "tilt down": abs(float(down)),
        "zoom in" if zoom > 0 else "zoom out": abs(zoom) / 2,
        "roll": abs(roll) / 2,
    }
    name, shift = max(((name, round(shift, 9)) for name, shift in shifts.items()), key=lambda entry: entry[1])
    return (name if shift >= _CAMERA_MOVES else "static"), shift


def _largest(moving: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """The largest connected region, bool ``[h,w]``; None where there is none of some size."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(moving)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < _LEAST_AREA * moving.size:
        return None
    return np.asarray(labels == 1 + areas.argmax(), np.bool_)


def _in_sight(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """1 where the ground is still in the next frame, some pixels from its border; elsewhere no flow is to be had."""
    everywhere = np.ones(shape, np.uint8)
    seen = cv2.warpAffine(everywhere, affine, shape[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.erode(seen, np.ones((2 * _BORDER + 1,) * 2, np.uint8)), np.uint8)


def _undone(grey: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """A frame as a camera would have seen it that had not moved by ``affine``."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (grey.shape[1], grey.shape[0])
    return np.asarray(cv2.warpAffine(grey, affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)
