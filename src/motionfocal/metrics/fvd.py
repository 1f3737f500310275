"""Fréchet video distance (Unterthiner et al., 2018): between two sets of clips, by Gaussians fitted to features.

A number about sets: it grows as sets shrink, so compare only sets of one size, and say the size. With the 400 logits of
I3D a covariance has full rank from 401 clips on; TI2V-Bench has 320 and no reference videos at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from motionfocal.errors import ConfigError, MediaError, ShapeError
from motionfocal.metrics.backbones import motion
from motionfocal.metrics.backbones.backbone import Backbone
from motionfocal.metrics.backbones.recipes import as_pixels
from motionfocal.metrics.backbones.weights import BackboneSettings
from motionfocal.metrics.frame import Frame
from motionfocal.metrics.metric import Sample

Array = NDArray[np.float64]

I3D_SIDE = 224
I3D_LEAST_FRAMES = 10
"""I3D's temporal strides leave nothing of fewer frames."""


def frechet_distance(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians, means ``[D]`` and covariances ``[D,D]``.

    ``|μ_a - μ_b|² + Tr(Σ_a + Σ_b - 2 (Σ_a^½ Σ_b Σ_a^½)^½)`` (Dowson and Landau, 1982). The last trace is the sum of
    the singular values of ``Σ_a^½ Σ_b^½``, so that singular covariances need no small number added, nothing can turn
    complex, and equal Gaussians have 0 up to rounding.

    Raises:
        ShapeError: the shapes do not fit. ConfigError: a covariance is not symmetric, has an eigenvalue below zero by
            more than rounding, or a value is not finite.
    """
    means = [np.asarray(mean, np.float64) for mean in (mean_a, mean_b)]
    covs = [np.asarray(cov, np.float64) for cov in (cov_a, cov_b)]
    size = len(means[0]) if means[0].ndim else 0
    if any(mean.shape != (size,) for mean in means) or any(cov.shape != (size, size) for cov in covs):
        shapes = ", ".join(str(list(array.shape)) for array in (means[0], covs[0], means[1], covs[1]))
        raise ShapeError(f"means must be [D] and covariances [D,D] of one D, got {shapes}")
    root_a, root_b = (_square_root(cov) for cov in covs)
    shared = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    between = np.square(means[0] - means[1]).sum()
    return float(max(0.0, between + np.trace(covs[0]) + np.trace(covs[1]) - 2 * shared))


def fvd(features_a: Array, features_b: Array, *, least: int | None = None) -> float:
    """The Fréchet distance of Gaussians fitted to features ``[N_a,D]`` and ``[N_b,D]``, a row a clip.

    Covariances divide by N - 1, as ``np.cov`` and most published code; StyleGAN-V divides by N. No set is resampled.
    ``least`` is how many clips each set must have; without it D + 1, from where on covariances have full rank. Give
    a smaller number only to compare sets of that one size with each other.

    Raises:
        ShapeError: the ranks or D differ. ConfigError: a set is smaller than ``least``, ``least`` is under 2, or a
            value is not finite.
    """
    sets = [np.asarray(features, np.float64) for features in (features_a, features_b)]
    if any(rows.ndim != 2 for rows in sets) or sets[0].shape[1] != sets[1].shape[1]:
        raise ShapeError(f"features must be [N,D] of one D, got {list(sets[0].shape)} and {list(sets[1].shape)}")
    wanted = sets[0].shape[1] + 1 if least is None else least
    if wanted < 2:
        raise ConfigError(f"least: a covariance needs 2 clips, got {wanted}")
    smallest = min(map(len, sets))
    if smallest < wanted:
        raise ConfigError(
            f"FVD of a set of {smallest} clips, but {wanted} are needed; add clips, or give least={smallest} and"
            " compare only with sets of that size"
        )
    gaussians = [(rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False))) for rows in sets]
    return frechet_distance(*gaussians[0], *gaussians[1])


def _square_root(cov: Array) -> Array:
    """The symmetric square root of a symmetric matrix without eigenvalues under zero."""
    if not np.isfinite(cov).all():
        raise ConfigError("a covariance has values that are not finite; look for them in the features")
    largest = float(np.abs(cov).max(initial=0.0))
    if not np.allclose(cov, cov.T, rtol=0, atol=1e-8 * largest):
        raise ConfigError(f"a covariance is not symmetric (by up to {np.abs(cov - cov.T).max():.3g})")
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    if values[0] < -1e-8 * max(float(values[-1]), largest):
        raise ConfigError(f"a covariance has the eigenvalue {values[0]:.3g}, below zero; it is none")
    return np.asarray((vectors * np.sqrt(values.clip(min=0))) @ vectors.T)


@dataclass(frozen=True)
class I3dFeatures:
    """What FVD needs of a clip: I3D's 400 Kinetics logits of its first ``frames`` frames (None: of all).

    Frames are scaled so that the shorter side is 224 (bilinear, no antialiasing), their centre is cut, and values go
    to -1..1. Use one number of frames for all clips of a comparison.
    """

    backbone: Backbone
    frames: int | None = 16

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < I3D_LEAST_FRAMES:
            raise ConfigError(f"frames: I3D needs at least {I3D_LEAST_FRAMES}, got {self.frames}")

    @property
    def settings(self) -> Mapping[str, object]:
        """The hash of the weights, and the preprocessing. Raises UnavailableError without the weights."""
        return {**self.backbone.identity, "frames": self.frames, "side": I3D_SIDE, "range": [-1, 1]}

    def begin(self, sample: Sample) -> "I3dObserver":
        """Begin with a clip. Raises UnavailableError."""
        _ = self.backbone.network
        return I3dObserver(self, f"{sample.model}, {sample.item.id}")


class I3dObserver:
    """Keeps a clip's frames at 224×224."""

    def __init__(self, extractor: I3dFeatures, name: str) -> None:
        self.extractor, self.name = extractor, name
        self._frames: list[Tensor] = []

    def see(self, frame: Frame) -> None:
        """The next frame."""
        wanted = self.extractor.frames
        if wanted is None or len(self._frames) < wanted:
            self._frames.append(i3d_frame(frame))

    def features(self) -> Array:
        """Logits ``[400]``. Raises MediaError when the clip has too few frames."""
        wanted = self.extractor.frames or I3D_LEAST_FRAMES
        if len(self._frames) < wanted:
            raise MediaError(f"{self.name}: {len(self._frames)} frames, but FVD needs {wanted}")
        video = torch.stack(self._frames, dim=1)[None]
        return self.extractor.backbone(video)[0].double().numpy()


def i3d_frame(frame: Frame) -> Tensor:
    """A frame as I3D takes it: float32 ``[3,224,224]`` in -1..1."""
    height, width = frame.rgb.shape[:2]
    scale = I3D_SIDE / min(height, width)
    size = [I3D_SIDE if side == min(height, width) else int(np.ceil(side * scale)) for side in (height, width)]
    pixels = F.interpolate(as_pixels(frame.rgb)[None], size, mode="bilinear", align_corners=False)[0]
    top, left = ((side - I3D_SIDE) // 2 for side in pixels.shape[-2:])
    return pixels[:, top : top + I3D_SIDE, left : left + I3D_SIDE] / 127.5 - 1


def i3d_features(settings: BackboneSettings | None = None, *, frames: int | None = 16) -> I3dFeatures:
    """The extractor on the I3D that the user put at ``i3d_model/i3d_torchscript.pt`` in the folder of weights."""
    return I3dFeatures(motion.i3d(settings or BackboneSettings()), frames)
