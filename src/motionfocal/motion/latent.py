"""A video VAE's latent grid: its size for a clip, pooling a heatmap onto it, and the layouts of models."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from motionfocal.errors import ConfigError, ShapeError

Layout = Literal["bcthw", "btchw", "bthwc", "tokens"]
Grid = tuple[int, int, int]

# The p of ``space="pnorm"``: between mean (1) and max (infinity).
_P = 4.0


@dataclass(frozen=True)
class LatentSpec:
    """The latent of a video VAE, as its diffusion model takes it.

    channels: latent channels. spatial, temporal: pixels and frames a latent cell spans along each axis.
    causal: pixel frame 0 has latent 0 to itself, and frames rk-r+1..rk are latent k for temporal factor r.
    layout: order of the axes in the model; "tokens" is [B, T*h*w, C], time slowest.
    lead: copies of latent frame 0 in front of it, which span no pixels of their own (CogVideoX1.5 has one).

    Raises ConfigError for an unknown layout, a length below 1 or a lead below 0.
    """

    channels: int
    spatial: int
    temporal: int = 1
    causal: bool = False
    layout: Layout = "bcthw"
    lead: int = 0

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise ConfigError(f"layout is {self.layout!r}; choose one of {', '.join(get_args(Layout))}")
        for name, least in (("channels", 1), ("spatial", 1), ("temporal", 1), ("lead", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; a latent's is {least} or more")

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip; ShapeError when its length does not fit, with the lengths that do."""
        alone = int(self.causal)
        groups, left = divmod(frames - alone, self.temporal)
        if frames < 1 or left:
            below = self.pixel_frames(self.lead + groups + alone)
            near = " or ".join(str(length) for length in (below, below + self.temporal) if length > 0)
            rule = f"{self.temporal} * k" + (" + 1" if self.causal else "")
            raise ShapeError(f"{frames} frames do not fit the latent: lengths are {rule}, such as {near}")
        return self.lead + groups + alone

    def pixel_frames(self, latent_frames: int) -> int:
        """Frames of the clip that ``latent_frames`` latents decode to."""
        alone = int(self.causal)
        return (latent_frames - self.lead - alone) * self.temporal + alone

    def grid(self, frames: int, height: int, width: int) -> Grid:
        """Latent frames, rows and columns of a clip in pixels; ShapeError when it does not fit."""
        if height % self.spatial or width % self.spatial:
            raise ShapeError(f"frames of {height}x{width} do not fit the latent: sides are multiples of {self.spatial}")
        return self.latent_frames(frames), height // self.spatial, width // self.spatial


def pool_to_latent(
    heat: NDArray[np.float32] | Tensor,
    spec: LatentSpec,
    time: Literal["max", "mean"] = "max",
    space: Literal["mean", "max", "pnorm"] = "mean",
) -> Tensor:
    """Pool a heatmap [T,H,W] onto a latent grid: torch.float32 [T',h,w].

    Time comes first: each latent frame takes the ``time`` of exactly the frames it spans (a causal VAE's
    first frame stands alone, and so do its copies), pixel by pixel. Then each cell takes the ``space`` of its
    pixels; "pnorm" is the power mean with p = 4. Resampling across latents would leak motion into neighbours,
    and mean over time dims small, fast objects.

    Raises ShapeError when the clip does not fit the grid, ConfigError for an unknown pooling.
    """
    if heat.ndim != 3:
        raise ShapeError(f"a heatmap is [T,H,W], got {list(heat.shape)}")
    spec.grid(*heat.shape)
    frames = torch.as_tensor(heat, dtype=torch.float32)
    return _over_space(_over_time(frames, spec, time), spec.spatial, space)


def _over_time(frames: Tensor, spec: LatentSpec, how: str) -> Tensor:
    """[T,H,W] to [T',H,W]."""
    if how not in ("max", "mean"):
        raise ConfigError(f'time must be "max" or "mean", got {how!r}')
    if spec.temporal > 1:
        alone, rest = frames[: int(spec.causal)], frames[int(spec.causal) :]
        groups = rest.unflatten(0, (-1, spec.temporal)) if len(rest) else rest[:, None]
        frames = torch.cat([alone, groups.amax(1) if how == "max" else groups.mean(1)])
    return torch.cat([frames[:1].expand(spec.lead, -1, -1), frames]) if spec.lead else frames


def _over_space(frames: Tensor, cell: int, how: str) -> Tensor:
    """[T,H,W] to [T,H/cell,W/cell]."""
    if how == "max":
        return F.max_pool2d(frames[None], cell)[0]
    if how == "mean":
        return F.avg_pool2d(frames[None], cell)[0]
    if how == "pnorm":
        return F.avg_pool2d(frames[None] ** _P, cell)[0] ** (1 / _P)
    raise ConfigError(f'space must be "mean", "max" or "pnorm", got {how!r}')


def to_layout(x: Tensor, spec: LatentSpec) -> Tensor:
    """[B,C,T,h,w] in the model's layout: [B,C,T,h,w], [B,T,C,h,w], [B,T,h,w,C] or tokens [B,T*h*w,C].

    C may be the latent's channels or 1, so that a weight travels with the latent it belongs to. Raises ShapeError for
    another rank.
    """
    if x.ndim != 5:
        raise ShapeError(f"latents are [B,C,T,h,w], got {list(x.shape)}")
    if spec.layout == "bcthw":
        return x
    if spec.layout == "btchw":
        return x.transpose(1, 2)
    last = x.movedim(1, -1)
    return last if spec.layout == "bthwc" else last.flatten(1, 3)


def from_layout(x: Tensor, spec: LatentSpec, grid: Grid) -> Tensor:
    """The inverse of ``to_layout``: [B,C,T,h,w] from the model's layout, ``grid`` being (T,h,w).

    Raises ShapeError when ``x`` is not of that grid.
    """
    if x.ndim != (3 if spec.layout == "tokens" else 5):
        raise ShapeError(f'{list(x.shape)} is not in the layout "{spec.layout}"')
    if spec.layout == "tokens":
        if x.shape[1] != grid[0] * grid[1] * grid[2]:
            raise ShapeError(f"{x.shape[1]} tokens do not make a grid {list(grid)}")
        x = x.unflatten(1, grid)
    if spec.layout == "btchw":
        x = x.transpose(1, 2)
    elif spec.layout in ("bthwc", "tokens"):
        x = x.movedim(-1, 1)
    if tuple(x.shape[2:]) != tuple(grid):
        raise ShapeError(f"latents [B,C,T,h,w] of {list(x.shape)} do not have the grid {list(grid)}")
    return x
