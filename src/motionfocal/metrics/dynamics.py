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


def strongest_flow(lengths: NDArray[np.float32]) -> float:
    """Mean of the largest 5 % of a pair's flow ``lengths``, of any shape, in its pixels: rounded down, at least one.

    This and ``moves`` are VBench's rule of dynamic degree (Vchitect/VBench 45e79ec), whatever gives the flow.
    """
    count = max(1, int(_TOP * lengths.size))
    return float(np.partition(lengths.ravel(), -count)[-count:].mean(dtype=np.float64))


def moves(strengths: Sequence[float], side: int) -> bool:
    """Whether a clip is dynamic, by the strengths of its T - 1 pairs of frames of shorter side ``side``, T > 2.

    It is when ``round(4 T/16)`` pairs are faster than 6 pixels per 256 of the side.
    """
    threshold, wanted = 6.0 * side / 256, round(4 * (len(strengths) + 1) / 16)
    return sum(strength > threshold for strength in strengths) >= wanted


class FlowDynamics:
    """VBench's dynamic degree by DIS instead of RAFT, and the mean length of the flow.

    At about 8 frames a second, a pair's speed is the mean of its fastest 5 % of pixels; a clip is dynamic when
    round(4 T / 16) of its T frames' pairs are faster than 6 pixels per 256 of the shorter side. A camera that pans is
    dynamic, too: ``ObjectMotion`` tells the two apart. A clip of fewer than 3 frames has no dynamic degree.
    """

    name, version, reads_text = "flow_dynamics", 2, False
    uses_network = False
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
        self._interval = interval
        self._last: Frames | None = None
        self._strengths: list[float] = []
        self._mean: list[float] = []
        self._side = 0

    def see(self, frame: Frame) -> None:
        if frame.index % self._interval:
            return
        self._side = min(frame.small.shape[:2])
        if frame.index:
            lengths = np.linalg.norm(self._flow(frame), axis=-1)
            self._strengths.append(strongest_flow(lengths))
            self._mean.append(float(lengths.mean()))
        self._last = frame.small if self._interval > 1 else None

    def _flow(self, frame: Frame) -> NDArray[np.float32]:
        if self._last is None:
            return frame.flow
        return estimate_flow(np.stack([self._last, frame.small]), FLOW)[0]

    def values(self) -> Values:
        if not self._strengths:
            return {"dynamic_degree_dis": None, "flow_magnitude": None}
        dynamic = None if len(self._strengths) < 2 else float(moves(self._strengths, self._side))
        return {"dynamic_degree_dis": dynamic, "flow_magnitude": 100 * float(np.mean(self._mean)) / self._side}
