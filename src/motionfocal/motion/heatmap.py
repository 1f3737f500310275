"""The motion heatmap of the paper: flow magnitude, scaled, through a steep sigmoid; a map a frame, in [0,1].

The paper does not say how the magnitude is scaled before the sigmoid, and that decides what the loss sees.
The scales here are our choice; ``robust`` is the default because it holds for small objects, still clips
and camera moves alike.

Two other sources of heat are there to be compared with: the difference of neighbouring frames, without any flow
(after LTD, arXiv 2601.20504), and the exact mask of what moves, which only a world knows (the paper's Table A1
compares flow with binary masks of objects).
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, field_validator, model_validator

from motionfocal.errors import ConfigError, ShapeError, UnknownNameError
from motionfocal.motion.camera import CameraMotion, compensate_camera
from motionfocal.motion.flow import NETWORKS, estimate_flow, known_estimators, require_pairs
from motionfocal.settings import Settings

Scale = Literal["robust", "clip_max", "diagonal"] | float
CameraMode = Literal["raw", "compensated"]
HeatSource = Literal["flow", "difference", "truth"]
Reach = Literal["frame", "clip"]

# ``robust`` divides by this percentile of the clip, but never by less than this many pixels, which puts
# the sigmoid's midpoint on the default floor: 0.05 * 10 = 0.5 pixels. Measured on discs of 0.3 % of the
# frame at 0.8 to 25 pixels a frame, on noise and on pans: minima of 1 to 10 light the same pixels, 16 loses
# slow discs (recall 0.81 to 0.23); percentiles 95 to 99.9 agree, while the maximum goes dark once 0.06 % of
# the flow is wrong.
ROBUST_PERCENTILE = 99.0
ROBUST_MINIMUM = 10.0

MOST_PIXELS = 250_000_000
"""Pixels of all frames of one clip: at about 40 bytes each for frames, flow both ways and heat, 10 GB."""

_DIFFERENCE_PERCENTILE = 99.0
"""The difference of frames at this percentile of a clip, and above, has heat 1."""


class CameraFallbackWarning(UserWarning):
    """Some pairs kept their raw flow, because no camera motion could be told from the objects' there."""


class HeatmapSettings(Settings):
    """How frames become a heatmap: its source, and the arguments of ``estimate_flow`` and ``motion_heatmap``."""

    source: HeatSource = Field(
        "flow",
        description="'difference' compares neighbouring frames, without any flow; 'truth' is the exact mask of what"
        " moves, which only a world knows. The settings of the flow have no effect on either.",
    )
    estimator: str = Field(
        "farneback", description="Optical flow: farneback, dis, raft_large, raft_small, or your own."
    )
    scale: Literal["robust", "clip_max", "diagonal"] | PositiveFloat = Field(
        "robust", description="What motion is divided by before the sigmoid: a named scale or a number of pixels."
    )
    camera: CameraMode = Field("raw", description="'compensated' subtracts the camera's motion first.")
    reach: Reach = Field(
        "frame",
        description="'frame' lights what moves in each frame; 'clip' lights in all frames what moves in any, so also"
        " what something has left, or is yet to reach.",
    )
    midpoint: float = Field(0.05, gt=0, description="Where the sigmoid is one half.")
    steepness: float = Field(100.0, gt=0, description="Slope of the sigmoid.")
    floor: float = Field(0.5, ge=0, description="Motion below this many pixels a frame pair counts as none.")

    @property
    def uses_network(self) -> bool:
        """Whether its flow is computed on a GPU where there is one."""
        return self.source == "flow" and self.estimator in NETWORKS

    @property
    def version(self) -> int:
        """Raised when the same frames get another heatmap by the same settings: caches then make theirs anew."""
        return 3 if self.uses_network else 2

    @field_validator("estimator")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in known_estimators():
            raise ValueError(str(UnknownNameError("flow estimator", name, known_estimators())))
        return name

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> "HeatmapSettings":
        if self.source != "flow":
            fields = type(self).model_fields.items()
            used = ("source", "reach")
            idle = [name for name, field in fields if name not in used and getattr(self, name) != field.default]
            if idle:
                raise ValueError(
                    f"{', '.join(idle)}: no effect with source={self.source!r}, which looks at no flow; leave out all"
                    " but source and reach"
                )
        return self


@dataclass(frozen=True)
class ClipMotion:
    """How a clip moves: ``heat`` float32 [T,H,W] in [0,1], and ``score``, the mean length of its flow, pixels a frame.

    The score is that of the raw flow, the camera's motion included. Where the source of the heat is not the flow, it is
    the mean of the heat, in [0,1].
    """

    heat: NDArray[np.float32]
    score: float


def heatmap_of(
    frames: NDArray[np.uint8], settings: HeatmapSettings | None = None, moving: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Heatmap float32 [T,H,W] in [0,1] of uint8 RGB frames [T,H,W,3], by the default settings if none are given.

    This is what training sees. See ``motion_of`` for ``moving`` and the errors.
    """
    return motion_of(frames, settings or HeatmapSettings(), moving).heat


def motion_of(
    frames: NDArray[np.uint8], settings: HeatmapSettings, moving: NDArray[np.bool_] | None = None
) -> ClipMotion:
    """Heatmap and motion score of uint8 RGB frames [T,H,W,3], by default from flow in both directions.

    ``moving``, bool [T,H,W], is what truly moves, for a source that is the truth; the others do not look at it.

    Raises what ``estimate_flow``, ``motion_heatmap`` and ``difference_heatmap`` raise; for the truth, ConfigError when
    nothing is known of it, and ShapeError when it does not fit the frames.
    """
    if settings.source != "flow":
        heat = difference_heatmap(frames) if settings.source == "difference" else _truth(frames, moving)
        return ClipMotion(_reaching(heat, settings.reach), float(heat.mean()))
    flow = estimate_flow(frames, settings.estimator)
    heat = motion_heatmap(
        flow,
        settings.scale,
        settings.camera,
        backward=estimate_flow(frames, settings.estimator, backward=True),
        frames=frames,
        midpoint=settings.midpoint,
        steepness=settings.steepness,
        floor=settings.floor,
    )
    return ClipMotion(_reaching(heat, settings.reach), float(_length(flow).mean()))


def _reaching(heat: NDArray[np.float32], reach: Reach) -> NDArray[np.float32]:
    """A heatmap [T,H,W] as it is, or in every frame its maximum over all of them."""
    return heat if reach == "frame" else np.repeat(heat.max(axis=0, keepdims=True), len(heat), axis=0)


def motion_heatmap(
    flow: NDArray[np.float32],
    scale: Scale = "robust",
    camera: CameraMode = "raw",
    *,
    backward: NDArray[np.float32] | None = None,
    frames: NDArray[np.uint8] | None = None,
    midpoint: float = 0.05,
    steepness: float = 100.0,
    floor: float = 0.5,
) -> NDArray[np.float32]:
    """Heatmap float32 [T,H,W] in [0,1] of a clip's forward flow, float32 [T-1,H,W,2] in pixels a pair.

    A pair lights both of its frames: frame l takes the larger of the motion towards l+1 and of the motion
    from l-1. The latter is the ``backward`` flow (shape of ``flow``, at the pixels of the later frame),
    else the forward one. Motion below ``floor`` pixels is none. The rest is divided by ``scale`` and goes
    through ``sigma``:

    - "robust": the 99th percentile of the clip's motion, at least 10 pixels. Whatever moves half a pixel is
      lit, unless a hundredth of the clip moves so fast that a twentieth of its speed is more than that;
    - "clip_max": the clip's largest motion; "diagonal": the length of the frame's diagonal; or a number of
      pixels.

    ``camera="compensated"`` first takes the camera's motion off; give ``frames`` (uint8 [T,H,W,3]) as well,
    so that the fit looks at texture. Pairs without a fit stay raw, and a CameraFallbackWarning names them.

    Raises ShapeError when the arrays do not fit together, ConfigError for an unknown scale or camera.
    """
    if flow.ndim != 4 or flow.shape[-1] != 2 or len(flow) < 1:
        raise ShapeError(f"a heatmap needs a flow [T-1>=1,H,W,2], got {list(flow.shape)}")
    if backward is not None and backward.shape != flow.shape:
        raise ShapeError(f"backward flow {list(backward.shape)} does not fit forward flow {list(flow.shape)}")
    if camera == "compensated":
        flow, backward = _without_camera(flow, backward, frames)
    elif camera != "raw":
        raise ConfigError(f'camera must be "raw" or "compensated", got {camera!r}')
    motion = _motion_per_frame(flow, flow if backward is None else backward)
    motion[motion < floor] = 0.0
    motion /= _pixels(scale, motion)
    return sigma(motion, midpoint=midpoint, steepness=steepness)


def difference_heatmap(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Heatmap float32 [T,H,W] in [0,1] of uint8 RGB frames [T,H,W,3] from their differences: no flow is computed.

    d is the mean absolute difference of a pixel's channels in neighbouring frames, in grey levels of 255. A pair lights
    both of its frames: frame l takes the larger of the differences to frames l-1 and l+1. Then

        heat = min(log(1 + d) / log(1 + q), 1), q the 99th percentile of d over the clip,

    and 0 where nothing changes. When less than a hundredth of a clip changes at all, q is 0: every change has heat 1.

    Raises ShapeError when the frames are not uint8 [T>=2,H,W,3].
    """
    require_pairs(frames)
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=-1, dtype=np.float32)
    change = _larger_of_both(change, change)
    scale = np.log1p(np.percentile(change, _DIFFERENCE_PERCENTILE))
    heat = np.log1p(change) / scale if scale else change > 0
    return np.minimum(heat, 1).astype(np.float32)


def _truth(frames: NDArray[np.uint8], moving: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """The mask of what truly moves as a heatmap: 0 or 1."""
    if moving is None:
        raise ConfigError(
            "motion.source is 'truth', which only a world knows, and nothing is known of this clip;"
            " set motion.source to flow or difference"
        )
    if moving.shape != frames.shape[:3]:
        raise ShapeError(f"what moves {list(moving.shape)} does not fit frames {list(frames.shape)}")
    return moving.astype(np.float32)


def sigma(x: NDArray[np.float32], *, midpoint: float = 0.05, steepness: float = 100.0) -> NDArray[np.float32]:
    """The paper's polarising curve 1 / (1 + exp(steepness * (midpoint - x))); 0.0067 at rest, by default."""
    curve = np.subtract(midpoint, x)
    curve *= steepness
    with np.errstate(over="ignore"):  # far below the midpoint: 1 / inf
        np.exp(curve, out=curve)
    curve += 1
    return np.reciprocal(curve, out=curve)


def moving_share(heat: NDArray[np.float32]) -> float:
    """Share of the pixels of a heatmap that are lit: heat > 0.5."""
    return np.count_nonzero(heat > 0.5) / heat.size


def _motion_per_frame(forward: NDArray[np.float32], backward: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude [T,H,W]: the larger of the motion to the next frame and of that from the frame before."""
    return _larger_of_both(_length(forward), _length(backward))


def _length(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """[...] of [...,2]; as complex numbers: ``np.linalg.norm`` takes fifteen times as long over a short last axis."""
    return np.abs(np.ascontiguousarray(flow, np.float32).view(np.complex64))[..., 0]


def _larger_of_both(to_next: NDArray[np.float32], from_last: NDArray[np.float32]) -> NDArray[np.float32]:
    """[T,H,W] from what each pair of frames has, [T-1,H,W]: the larger of a frame's two pairs."""
    larger = np.empty((len(to_next) + 1, *to_next.shape[1:]), np.float32)
    larger[0], larger[-1] = to_next[0], from_last[-1]
    np.maximum(to_next[1:], from_last[:-1], out=larger[1:-1])
    return larger


def _pixels(scale: Scale, motion: NDArray[np.float32]) -> float:
    """A scale in pixels; never zero, so that a clip at rest stays at sigma(0)."""
    if scale == "robust":
        faster = np.count_nonzero(motion > ROBUST_MINIMUM)
        if faster < (1 - ROBUST_PERCENTILE / 100) * motion.size - 1:  # so is the percentile, and nothing is sorted
            return ROBUST_MINIMUM
        return max(float(np.percentile(motion, ROBUST_PERCENTILE)), ROBUST_MINIMUM)
    if scale == "clip_max":
        return float(motion.max()) or 1.0
    if scale == "diagonal":
        return float(np.hypot(*motion.shape[1:]))
    if isinstance(scale, str) or scale <= 0:
        raise ConfigError(f'scale must be "robust", "clip_max", "diagonal" or pixels above 0, got {scale!r}')
    return float(scale)


def _without_camera(
    flow: NDArray[np.float32], backward: NDArray[np.float32] | None, frames: NDArray[np.uint8] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Both flows less the camera's motion, in the pairs where it was found in every direction asked for."""
    forth = compensate_camera(flow, frames)
    if backward is None:
        _warn_of_fallbacks(forth, forth)
        return forth.residual, None
    back = compensate_camera(backward, None if frames is None else frames[1:])
    _warn_of_fallbacks(forth, back)
    both = (forth.compensated & back.compensated)[:, None, None, None]
    return np.where(both, forth.residual, flow), np.where(both, back.residual, backward)


def _warn_of_fallbacks(forth: CameraMotion, back: CameraMotion) -> None:
    pairs_by_reason: dict[str, list[str]] = {}
    for index, (there, here) in enumerate(zip(forth.reasons, back.reasons, strict=True)):
        if there or here:
            pairs_by_reason.setdefault(there or here, []).append(f"{index}-{index + 1}")
    if pairs_by_reason:
        causes = "; ".join(f"{', '.join(pairs)} ({reason})" for reason, pairs in pairs_by_reason.items())
        text = f"camera motion stays in the flow of frames {causes}"
        warnings.warn(text, CameraFallbackWarning, stacklevel=4)
