"""Dense optical flow between neighbouring frames: one protocol, a registry, two estimators for the CPU."""

from collections.abc import Callable
from functools import cache, partial
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from motionfocal.errors import ShapeError, UnknownNameError
from motionfocal.motion.raft import LARGEST_SIDE, Raft

Frames = NDArray[np.uint8]
Flow = NDArray[np.float32]


class FlowEstimator(Protocol):
    """Anything that finds where pixels went. It is given all pairs at once, so that a network may batch."""

    def __call__(self, frames_from: Frames, frames_to: Frames) -> Flow:
        """Flow float32 [N,H,W,2], (dx, dy) in pixels, for N pairs of uint8 RGB frames [N,H,W,3].

        What is at pixel p of ``frames_from[n]`` is at p + flow[n, p] in ``frames_to[n]``.
        """
        ...


def estimate_flow(
    frames: Frames, estimator: str | FlowEstimator = "farneback", backward: bool = False
) -> NDArray[np.float32]:
    """Optical flow of a clip's neighbouring frames: float32 [T-1,H,W,2], (dx, dy) in pixels a pair.

    ``frames`` is uint8 RGB [T,H,W,3]. Entry l leads from frame l to frame l+1, at the pixels of frame l;
    ``backward``, from frame l+1 to frame l, at the pixels of frame l+1. ``estimator`` is a registered name
    or an estimator itself.

    Raises ShapeError when the frames are not uint8 [T>=2,H,W,3] or the estimator answers in another shape,
    and UnknownNameError when no estimator has that name.
    """
    require_pairs(frames)
    estimate = _made(estimator) if isinstance(estimator, str) else estimator
    earlier, later = frames[:-1], frames[1:]
    flow = estimate(later, earlier) if backward else estimate(earlier, later)
    expected = (*earlier.shape[:3], 2)
    if flow.shape != expected:
        raise ShapeError(f"the flow estimator answered {list(flow.shape)}, expected {list(expected)}")
    return flow.astype(np.float32, copy=False)


def require_pairs(frames: Frames) -> None:
    """Raise ShapeError unless ``frames`` is uint8 RGB [T>=2,H,W,3]: motion is between frames."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) < 2:
        raise ShapeError(f"motion needs uint8 frames [T>=2,H,W,3], got {frames.dtype} {list(frames.shape)}")


def register_estimator(name: str, factory: Callable[[], FlowEstimator]) -> None:
    """Make an estimator known by ``name``, or replace the one of that name; the factory runs at first use."""
    _FACTORIES[name] = factory
    _made.cache_clear()


def run_networks_on(device: torch.device) -> None:
    """Have the estimators that are networks compute on the CPU, or else on the process's GPU, from now on."""
    Raft.usual_device = "cuda" if device.type == "cuda" else "cpu"
    _made.cache_clear()


def known_estimators() -> list[str]:
    """The names that ``estimate_flow`` accepts, sorted."""
    return sorted(_FACTORIES)


@cache
def _made(name: str) -> FlowEstimator:
    if name not in _FACTORIES:
        raise UnknownNameError("flow estimator", name, known_estimators())
    return _FACTORIES[name]()


class Farneback:
    """Polynomial-expansion flow (Farneback, SCIA 2003): calm where the picture has no texture.

    Frames whose shorter side is below 256 pixels are doubled: an object five pixels wide is then seen by
    two levels of the pyramid. Those whose shorter side is above 480 are reduced to it. The window is 17 pixels
    wide. Where even the doubled frame is no more than 96 pixels high that is a fifth of it or more, and blurs an
    object's motion over its surroundings: the window is then 9, provided that most of the picture stays the same
    to the digit. A narrow window takes sensor noise for motion.
    """

    def __call__(self, frames_from: Frames, frames_to: Frames) -> Flow:
        """Flow of every pair, one after the other; shapes as in FlowEstimator."""
        return _pair_by_pair(frames_from, frames_to, self._search, enlarge=2)

    @staticmethod
    def _search(grey_from: Frames, grey_to: Frames) -> Flow:
        start = np.zeros((*grey_from.shape, 2), np.float32)
        small = min(grey_from.shape) <= 96
        window = 9 if small and np.median(cv2.absdiff(grey_from, grey_to)) == 0 else 17
        gaussian = cv2.OPTFLOW_FARNEBACK_GAUSSIAN
        return cv2.calcOpticalFlowFarneback(grey_from, grey_to, start, 0.5, 5, window, 3, 5, 1.1, gaussian)


class Dis:
    """Dense inverse search, medium preset (Kroeger et al., ECCV 2016): sharp edges, for textured pictures.

    On a plain ground it spreads an object's flow over everything, and sensor noise there becomes motion.
    Frames whose shorter side is below 256 pixels are enlarged up to four times, to fit its patches of 8; those whose
    shorter side is above 480 are reduced to it.
    """

    def __call__(self, frames_from: Frames, frames_to: Frames) -> Flow:
        """Flow of every pair, one after the other; shapes as in FlowEstimator."""
        return _pair_by_pair(frames_from, frames_to, self._search, enlarge=4)

    @staticmethod
    def _search(grey_from: Frames, grey_to: Frames) -> Flow:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return search.calc(grey_from, grey_to, np.zeros((*grey_from.shape, 2), np.float32))


_SEEN_AT = 256
"""Shorter side in pixels towards which small frames are enlarged."""


def _pair_by_pair(
    frames_from: Frames, frames_to: Frames, search: Callable[[Frames, Frames], Flow], *, enlarge: int
) -> Flow:
    """Flow [N,H,W,2] by a search on grey frames, enlarged up to so many times, or reduced."""
    height, width = frames_from.shape[1:3]
    shorter = min(height, width)
    factor = min(enlarge, -(-_SEEN_AT // shorter)) if shorter < _SEEN_AT else min(1.0, LARGEST_SIDE / shorter)
    size = round(width * factor), round(height * factor)
    there, back = (cv2.INTER_CUBIC, cv2.INTER_AREA) if factor >= 1 else (cv2.INTER_AREA, cv2.INTER_LINEAR)

    def prepared(frame: Frames) -> Frames:
        grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=there)
        return cv2.GaussianBlur(grey, (0, 0), 1.0)  # keeps a sensor's noise below half a pixel of flow

    flows = [search(prepared(a), prepared(b)) for a, b in zip(frames_from, frames_to, strict=True)]
    at_size = np.stack([cv2.resize(flow, (width, height), interpolation=back) for flow in flows])
    at_size /= np.array([size[0] / width, size[1] / height], np.float32)
    return at_size


NETWORKS = ("raft_large", "raft_small")
"""The estimators that compute on a GPU where there is one."""

_FACTORIES: dict[str, Callable[[], FlowEstimator]] = {
    "farneback": Farneback,
    "dis": Dis,
    "raft_large": partial(Raft, "large"),
    "raft_small": partial(Raft, "small"),
}
