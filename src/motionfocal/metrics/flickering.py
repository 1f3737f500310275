"""Temporal flickering as VBench measures it: to the digit, from frames as they come."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Observer, Output, Sample, Values


class TemporalFlickering:
    """1 - mean |f_t - f_{t+1}| / 255 over pixels, channels and pairs (VBench, Huang et al. 2024), in [0, 1].

    Made for clips that should stand still: of any other clip it says how little changes, and a still video has 1. The
    sums are VBench's own in float32, so that values agree with its to the last digit.
    """

    name, version, reads_text = "temporal_flickering", 1, False
    uses_network = False
    settings: Mapping[str, object] = {}
    outputs: Sequence[Output] = (
        Output("temporal_flickering", "neither", "1 less the mean change of a pixel; VBench's. A still video has 1."),
    )

    def begin(self, sample: Sample) -> Observer:
        """See ``Metric``."""
        return _Flickering()


class _Flickering:
    def __init__(self) -> None:
        self._changes: list[np.float32] = []

    def see(self, frame: Frame) -> None:
        if frame.previous is not None:
            self._changes.append(cv2.absdiff(frame.previous.rgb, frame.rgb).astype(np.float32).mean())

    def values(self) -> Values:
        if not self._changes:
            return {"temporal_flickering": None}
        return {"temporal_flickering": (255.0 - float(np.mean(self._changes))) / 255.0}
