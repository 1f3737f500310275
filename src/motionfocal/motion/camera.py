"""What the camera did: an affine motion for each pair of frames, fitted to the ground, and the flow without
it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ShapeError

# Gradient, in grey levels a pixel of the lightly blurred frame, below which a place is too plain to show
# motion.
_MIN_GRADIENT = 2.0
_MIN_SAMPLES = 12

# The guard. Half of all samples must follow the fit. The border falls into eight stretches by direction
# from the centre; half of them must have texture to tell by (in a quarter of their cells), and of those
# three quarters must mostly follow the fit too.
_MIN_SHARE = 0.5
_STRETCHES = 8
_MIN_TEXTURED = 0.25
_MIN_SEEN = 4
_MIN_FOLLOWING = 0.75


@dataclass(frozen=True)
class CameraMotion:
    """The camera's part of a clip's flow, pair by pair; P = T-1 pairs.

    residual: float32 [P,H,W,2], the flow less the camera's, or the flow itself where the guard refused the
    fit. affine: float64 [P,2,3], ground pixel (x, y) goes to affine @ (x, y, 1); the identity where
    refused. inlier_ratio: float64 [P], share of the samples that follow the fit. compensated: bool [P].
    reasons: why a pair was refused, "" for the others.
    """

    residual: NDArray[np.float32]
    affine: NDArray[np.float64]
    inlier_ratio: NDArray[np.float64]
    compensated: NDArray[np.bool_]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Fit:
    residual: NDArray[np.float32]
    affine: NDArray[np.float64]
    inlier_ratio: float
    reason: str = ""


def compensate_camera(flow: NDArray[np.float32], frames: NDArray[np.uint8] | None = None) -> CameraMotion:
    """Fit an affine camera motion to each pair's flow (float32 [P,H,W,2]) by RANSAC, and take it off.

    ``frames`` (uint8 [P or P+1,H,W,3], ``flow[l]`` starting from ``frames[l]``) let the fit look only where
    there is texture, at the largest gradient in each cell of a grid; without them every cell counts. A
    motion that the border does not share is an object's, or parallax, and that pair keeps its flow. Plain
    places tell nothing of the camera: there the residual is the smaller of the two, the flow or the flow
    less the camera's.

    Raises ShapeError when the frames do not fit the flow.
    """
    if frames is not None and (frames.shape[1:3] != flow.shape[1:3] or len(frames) - len(flow) not in (0, 1)):
        raise ShapeError(f"frames {list(frames.shape)} do not fit a flow {list(flow.shape)}")
    fits = [_fit(field, _gradient(field, None if frames is None else frames[pair])) for pair, field in enumerate(flow)]
    return CameraMotion(
        residual=np.stack([fit.residual for fit in fits]),
        affine=np.stack([fit.affine for fit in fits]),
        inlier_ratio=np.array([fit.inlier_ratio for fit in fits]),
        compensated=np.array([not fit.reason for fit in fits]),
        reasons=tuple(fit.reason for fit in fits),
    )


def _gradient(flow: NDArray[np.float32], frame: NDArray[np.uint8] | None) -> NDArray[np.float32]:
    """Grey gradient of a frame, root mean square over a few pixels, in grey levels a pixel: float32 [H,W].

    Without a frame it is infinite: everything counts as textured.
    """
    if frame is None:
        return np.full(flow.shape[:2], np.inf, np.float32)
    grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    dx = cv2.Scharr(grey, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(grey, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.sqrt(cv2.GaussianBlur(dx * dx + dy * dy, (0, 0), 1.5))


def _fit(flow: NDArray[np.float32], gradient: NDArray[np.float32]) -> _Fit:
    """The ground's affine motion in one flow field and the field without it, or the field and why there is
    none.
    """
    cells = _sample_points(gradient)
    textured = gradient[cells[:, 1], cells[:, 0]] >= _MIN_GRADIENT
    points = cells[textured]
    affine, follows = _ransac(points, flow)
    ratio = float(follows.mean()) if len(points) else 0.0
    reason = _refusal(cells, textured, follows, flow.shape[:2])
    if reason:
        return _Fit(flow, np.eye(2, 3), ratio, reason)
    return _Fit(_residual(flow, affine, gradient), affine, ratio)


def _sample_points(gradient: NDArray[np.float32]) -> NDArray[np.intp]:
    """The pixel (x, y) with the largest gradient in each cell of a grid, about 20 cells along the shorter
    side.
    """
    cell = max(3, min(gradient.shape) // 20)
    rows, columns = gradient.shape[0] // cell, gradient.shape[1] // cell
    cells = gradient[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).swapaxes(1, 2)
    best = cells.reshape(rows * columns, cell * cell).argmax(axis=1)
    corners = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2) * cell
    return corners + np.stack([best % cell, best // cell], axis=-1)


def _ransac(points: NDArray[np.intp], flow: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Affine motion that most of the points [N,2] share, and which of them do; nobody does when there is
    none.
    """
    nobody = np.eye(2, 3), np.zeros(len(points), bool)
    if len(points) < _MIN_SAMPLES:
        return nobody
    starts = points.astype(np.float32)
    ends = starts + flow[points[:, 1], points[:, 0]]
    tolerance = max(0.5, 0.002 * float(np.hypot(*flow.shape[:2])))
    # OpenCV seeds this search itself: the same flow always gives the same fit.
    affine, inliers = cv2.estimateAffine2D(starts, ends, method=cv2.RANSAC, ransacReprojThreshold=tolerance)
    return nobody if affine is None else (affine, inliers.ravel().astype(bool))


def _refusal(
    cells: NDArray[np.intp], textured: NDArray[np.bool_], follows: NDArray[np.bool_], size: tuple[int, ...]
) -> str:
    """Why the fit is not the camera's, or "" when it is. ``follows`` is about the textured cells, in their
    order.
    """
    if follows.size < _MIN_SAMPLES:
        return "the picture has too little texture to see the camera by"
    if follows.mean() < _MIN_SHARE:
        return f"only {follows.mean():.0%} of the samples follow one motion"
    offset = (cells + 0.5) / size[::-1] * 2 - 1  # the frame as the square [-1,1]^2
    border = np.abs(offset).max(axis=1) > 0.7
    angle = np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) + 0.5
    stretch = np.floor(angle * _STRETCHES).astype(int) % _STRETCHES
    stretches = [border & (stretch == k) for k in range(_STRETCHES)]
    seen = [part for part in stretches if part.any() and textured[part].mean() >= _MIN_TEXTURED]
    if len(seen) < _MIN_SEEN:
        return f"only {len(seen)} of {_STRETCHES} stretches of the border have texture to see the camera by"
    following = sum(follows[part[textured]].mean() >= _MIN_SHARE for part in seen)
    if following < _MIN_FOLLOWING * len(seen):
        return f"only {following} of {len(seen)} stretches of the border follow the motion of the rest"
    return ""


def _residual(
    flow: NDArray[np.float32], affine: NDArray[np.float64], gradient: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The flow less the camera's; in plain places the flow itself where that is smaller."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    (a, b, c), (d, e, f) = (affine - np.eye(2, 3)).astype(np.float32)
    residual = flow - np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)
    plain = gradient < _MIN_GRADIENT
    smaller = np.linalg.norm(flow, axis=-1) < np.linalg.norm(residual, axis=-1)
    return np.where((plain & smaller)[..., None], flow, residual)
