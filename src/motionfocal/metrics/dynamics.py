"""How much moves, camera and objects together, by a flow that needs no weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from motionfocal.metrics.frame import FLOW, FLOW_SIDE, Frame
from motionfocal.metrics.metric import Observer, Output, Sample, Values
from motionfocal.motion import estimate_flow
from motionfocal.video import Frames

_RATE = 8.0
"""Frames a second that are looked at, as in VBench."""
_TOP = 0.05
"""Of a pair, the fastest share of its pixels."""


class FlowDynamics:
    """VBench's dynamic degree by DIS instead of RAFT, and the mean length of the flow.

    At about 8 frames a second, a pair's speed is the mean of its fastest 5 % of pixels; a clip is dynamic when
    round(4 T / 16) of its T frames' pairs are faster than 6 pixels per 256 of the shorter side. A camera that pans is
    dynamic, too: ``ObjectMotion`` tells the two apart. A clip of fewer than 3 frames has no dynamic degree.
    """

    name, version, reads_text = "flow_dynamics", 1, False
    settings: Mapping[str, object] = {"estimator": FLOW, "side": FLOW_SIDE}
    outputs: Sequence[Output] = (
        Output("dynamic_degree_dis", "neither", "1 where much moves, by VBench's rule with DIS flow; else 0."),
        Output("flow_magnitude", "neither", "Mean length of the flow at 8 frames a second, per cent of the side."),
    )

    def begin(self, sample: Sample) -> Observer:
        """See ``Metric``."""
        return _Dynamics(interval=max(1, round(sample.fps / _RATE)))


class _Dynamics:
    def __init__(self, interval: int) -> None:
        self._interval, self._frames = interval, 0
        self._last: Frames | None = None
        self._top: list[float] = []
        self._mean: list[float] = []
        self._side = 0

    def see(self, frame: Frame) -> None:
        if frame.index % self._interval:
            return
        self._frames += 1
        self._side = min(frame.small.shape[:2])
        if frame.index:
            length = np.linalg.norm(self._flow(frame), axis=-1).ravel()
            count = max(1, round(_TOP * length.size))
            self._top.append(float(np.partition(length, -count)[-count:].mean()))
            self._mean.append(float(length.mean()))
        self._last = frame.small if self._interval > 1 else None

    def _flow(self, frame: Frame) -> NDArray[np.float32]:
        if self._last is None:
            return frame.flow
        return estimate_flow(np.stack([self._last, frame.small]), FLOW)[0]

    def values(self) -> Values:
        if self._frames < 2:
            return {"dynamic_degree_dis": None, "flow_magnitude": None}
        fast = sum(speed > 6 * self._side / 256 for speed in self._top)
        dynamic = None if self._frames < 3 else float(fast >= round(4 * self._frames / 16))
        return {"dynamic_degree_dis": dynamic, "flow_magnitude": 100 * float(np.mean(self._mean)) / self._side}
