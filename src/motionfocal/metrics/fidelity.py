"""First-frame fidelity: whether a clip begins with the picture that it was to animate."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Observer, Output, Sample, Values
from motionfocal.video import Frames

_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class FirstFrameFidelity:
    """Structural similarity and peak signal-to-noise ratio of the first frame and the item's picture.

    The picture is scaled until it covers the frame and cropped around its centre, as models are given it.
    """

    name, version, reads_text = "first_frame", 2, False
    uses_network = False
    settings: Mapping[str, object] = {}
    outputs: Sequence[Output] = (
        Output("first_frame_ssim", "higher", "Structural similarity of the first frame and the picture; 1 is equal."),
        Output("first_frame_psnr", "higher", "Their peak signal-to-noise ratio in dB, at most 60."),
    )

    def begin(self, sample: Sample) -> Observer:
        """See ``Metric``."""
        return _FirstFrame(sample)


class _FirstFrame:
    def __init__(self, sample: Sample) -> None:
        self._item = sample.item
        self._values: Values = {}

    def see(self, frame: Frame) -> None:
        if frame.index == 0:
            height, width = frame.rgb.shape[:2]
            picture = self._item.picture((height, width))
            self._values = {"first_frame_ssim": ssim(frame.rgb, picture), "first_frame_psnr": psnr(frame.rgb, picture)}

    def values(self) -> Values:
        return self._values


def psnr(a: Frames, b: Frames) -> float:
    """Peak signal-to-noise ratio of two pictures uint8 of one shape, in dB; 60 where they agree better than that."""
    error = float(np.square(a.astype(np.float32) - b).mean())
    return min(60.0, 10 * np.log10(255**2 / error)) if error else 60.0


def ssim(a: Frames, b: Frames) -> float:
    """Mean structural similarity of two pictures uint8 ``[H,W,3]``, in [-1, 1] (Wang et al. 2004).

    Gaussian windows of standard deviation 1.5 and 11 pixels, K = (0.01, 0.03), on the mean over the channels; a border
    of 5 pixels, whose windows reach over the edge, is left out.
    """
    inner = slice(_RADIUS, -_RADIUS) if min(a.shape[:2]) > 2 * _RADIUS else slice(None)
    maps = (_similarity(x, y)[inner, inner] for x, y in zip(cv2.split(a), cv2.split(b), strict=True))
    return float(np.mean([found.mean() for found in maps]))


def _similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each window of one channel."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    variances = _blurred(x * x) + _blurred(y * y) - mean_x**2 - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return np.asarray(alike / ((mean_x**2 + mean_y**2 + _C1) * (variances + _C2)), np.float64)


def _blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    size = 2 * _RADIUS + 1
    return np.asarray(cv2.GaussianBlur(image, (size, size), _SIGMA, borderType=cv2.BORDER_REFLECT), np.float64)
