"""The motion focal loss: a diffusion loss that counts moving latent cells more (MotiF, arXiv 2412.16153).

With e = prediction - target and m' in [0, 1] the motion heatmap at the latent grid, the paper's objective is

    L = mean(e^2) + strength * mean((m' e)^2),

so that the weight on a cell's squared error is 1 + strength * m'^2. It holds for any target (epsilon, v, flow)
and any layout; nothing here knows about models.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from motionfocal.errors import ConfigError, ShapeError

Weighting = Literal["paper", "inverse", "none", "motionfocal"]
WEIGHTINGS: tuple[Weighting, ...] = ("paper", "inverse", "none", "motionfocal")

MOVING = 0.5
"""A latent cell counts as moving when its heat is above this; used by the statistics alone."""

OverNoise = Literal["constant", "rising"]
"""How the strength follows the noise level: not at all, or in proportion to it."""

OverTraining = Literal["constant", "fading"]
"""How the strength follows the training: not at all, or falling from all at the first step to none after the last."""

_CHANNEL_AXES = {5: (1, 2, 4), 4: (1, 3), 3: (1, 2)}
"""Where a layout may keep its channels, by rank: the one axis on which a weight may have length 1."""


@dataclass(frozen=True)
class LossStats:
    """What the loss saw, detached. A figure over moving cells is NaN when no cell moves."""

    mean_weight: Tensor
    """Mean weight on the squared error over all cells."""
    moving_share: Tensor
    """Share of cells with heat above ``MOVING``."""
    moving_loss: Tensor
    """Mean squared error over the moving cells."""
    loss_ratio: Tensor
    """``moving_loss`` over the mean squared error of all cells: the paper's Figure 6."""


@dataclass(frozen=True)
class LossOutput:
    """The objective (``total``), its two parts, and what was seen. All are float32 scalars."""

    total: Tensor
    diffusion: Tensor
    motif: Tensor
    stats: LossStats


@dataclass(frozen=True)
class MotionFocalLoss:
    """Weigh a diffusion loss by a motion heatmap. Each weighting is a weight on the squared error:

    - ``paper``: 1 + strength m'^2. Its total is diffusion + strength * motif.
    - ``inverse``: the same with 1 - m' for m' (our reading of the paper's ablation): still cells count more.
    - ``none``: 1. The plain diffusion loss; the motion part is still reported.
    - ``motionfocal``: 1 + strength m'^2 / mean(m'^2), the mean over the clip. Its motion part is the mean error of what
      moves, however little of the clip that is: an object of 1 % of the area gets as much as one of 10 %, and the loss
      of a clip without motion is as large as that of a clip with it. m'^2 / mean(m'^2) is capped at ``max_weight``,
      without which an object of 0.3 % of the area would weigh hundreds.

    Weights that depend on what happens pull the prediction towards motion wherever the noise leaves it open whether
    anything moves. That is why ``motionfocal`` is meant to be used with a strength that rises with the noise and fades
    over the training; see ``StrengthSchedule``.

    Means over a clip are taken clip by clip, never over the batch: a clip's weight does not depend on its neighbours,
    nor on how a batch is split over steps or processes.

    ``difference`` r in [0, 1] mixes in the frame-difference loss (``motion_sub_loss`` of VideoX-Fun), which knows no
    heat, and goes with every weighting. With d_t the change from a latent frame to the next,

        total = (1 - r) * (total as above) + r * mean((d_t prediction - d_t target)^2).
    """

    strength: float = 1.0
    weighting: Weighting = "paper"
    max_weight: float = 32.0
    difference: float = 0.0

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ConfigError(f"weighting is {self.weighting!r}; choose one of {', '.join(WEIGHTINGS)}")
        if self.strength < 0:
            raise ConfigError(f"strength is {self.strength}; it weighs an added loss and must be 0 or more")
        if self.max_weight < 1:
            raise ConfigError(f"max_weight is {self.max_weight}; a bound below 1 would bound still cells too")
        if not 0 <= self.difference <= 1:
            raise ConfigError(f"difference is {self.difference}; it is a share of the loss, from 0 to 1")

    def __call__(
        self,
        prediction: Tensor,
        target: Tensor,
        heat: Tensor,
        generated: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> LossOutput:
        """Compute the loss in float32, whatever the dtype that comes in.

        Args:
            prediction: the network's output, any rank from 3 to 5 with the batch first: ``[B,C,T,h,w]``,
                ``[B,T,C,h,w]``, ``[B,T,h,w,C]`` or packed tokens ``[B,S,C]``.
            target: what it should be (noise, v, velocity), the same shape.
            heat: m' in [0, 1], the same shape except length 1 on the channel axis.
            generated: 1 for cells that the model generates and 0 for cells that it was given (the first latent frame
                of models that replace it), shaped like ``heat``. Given cells are out of every mean.
            scale: each clip's factor on the strength, ``[B]`` at 0 or more; see ``StrengthSchedule``. It is part of
                ``motif``.

        Raises:
            ShapeError: the shapes do not fit; both are in the text. With ``difference``, all but ``[B,C,T,h,w]``, where
                T is 2 or more and two neighbouring frames are generated, is refused too.
            ConfigError: the heat is of integers, as a cache stores it.
        """
        _check_shapes(prediction, target, heat, generated, scale)
        focus = self._focus(heat, generated, scale)
        diffusion, motif, cells = _Means.apply(prediction, target, focus, generated)
        total = diffusion if self.weighting == "none" else diffusion + self.strength * motif
        if self.difference:
            rest = _difference_loss(prediction.float() - target.float(), heat, generated)
            total = (1 - self.difference) * total + self.difference * rest
        return LossOutput(total, diffusion, motif, _stats(cells, heat, self._weight(focus), generated))

    def weight(self, heat: Tensor, generated: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """What each cell's squared error is multiplied by, float32 at 1 or more, shaped like ``heat``.

        For trainers that reduce their loss themselves: the mean of weight * (prediction - target)^2 over the generated
        cells is ``total``, without the part that ``difference`` mixes in. Arguments as in a call.

        Raises:
            ShapeError: ``generated`` is of another shape than ``heat``, or ``scale`` is not one number per clip.
            ConfigError: the heat is of integers, as a cache stores it.
        """
        _check_heat(heat, generated, scale)
        return self._weight(self._focus(heat, generated, scale))

    @torch.no_grad()
    def _focus(self, heat: Tensor, generated: Tensor | None, scale: Tensor | None) -> Tensor:
        """The weight on the squared error in the motion part, shaped like ``heat``."""
        square = (1 - heat.float() if self.weighting == "inverse" else heat.float()).square()
        if self.weighting == "motionfocal":
            mean = _clip_mean(square, generated).clamp(min=torch.finfo(square.dtype).tiny)
            square = (square / mean).clamp(max=self.max_weight)
        return square if scale is None else square * _by_clip(scale.float(), square.ndim)

    def _weight(self, focus: Tensor) -> Tensor:
        return torch.ones_like(focus) if self.weighting == "none" else 1 + self.strength * focus


@dataclass(frozen=True)
class StrengthSchedule:
    """How the strength follows the noise level and the training."""

    over_noise: OverNoise = "constant"
    over_training: OverTraining = "constant"
    steps: int | None = None
    """Of the whole training. Fading needs them."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("over_noise", self.over_noise, get_args(OverNoise)),
            ("over_training", self.over_training, get_args(OverTraining)),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}; choose one of {', '.join(known)}")
        if self.over_training == "fading" and (self.steps is None or self.steps < 1):
            raise ConfigError(f"steps is {self.steps}; a strength that fades needs the steps of the whole training")

    def __call__(self, noise_level: Tensor, step: int) -> Tensor:
        """Each clip's factor on the strength, ``[B]`` in [0, 1]: the ``scale`` of ``MotionFocalLoss``.

        Args:
            noise_level: of each clip's timestep, ``[B]`` in [0, 1]. Rising, it is a factor.
            step: 0 or more. Fading, 1 - step / steps is a factor.

        Raises:
            ConfigError: the strength fades, and the step is not one of the training's, 0 to ``steps`` - 1.
        """
        factor = noise_level if self.over_noise == "rising" else torch.ones_like(noise_level)
        if self.over_training == "constant" or self.steps is None:
            return factor
        if not 0 <= step < self.steps:
            raise ConfigError(f"step is {step}; the strength fades over the steps 0 to {self.steps - 1}")
        return factor * (1 - step / self.steps)


class _Means(torch.autograd.Function):
    """mean(e^2) and mean(focus e^2) over the generated cells, and e^2 of each cell without its channels.

    Autograd would keep and make a tensor of full size for each step of the formula; this keeps e, and makes one on the
    way back. The third result has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's own
        prediction: Tensor,
        target: Tensor,
        focus: Tensor,
        generated: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        error = prediction.float() - target.float()
        squared = error.square()
        cells = squared.sum_to_size(focus.shape) / (squared.numel() // focus.numel())
        diffusion = _mean(squared, generated)
        motif = _mean(squared.mul_(focus), generated)
        ctx.save_for_backward(error, focus, generated)
        ctx.dtypes = prediction.dtype, target.dtype
        ctx.mark_non_differentiable(cells)
        return diffusion, motif, cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_diffusion: Tensor, to_motif: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        error, focus, generated = ctx.saved_tensors
        weight = 2 * (to_diffusion + to_motif * focus)
        if generated is None:
            weight /= error.numel()
        else:
            weight *= generated / generated.float().expand_as(error).sum()
        gradient = error * weight
        signed = (gradient.to(ctx.dtypes[0]), -gradient.to(ctx.dtypes[1]) if ctx.needs_input_grad[1] else None)
        return *signed, None, None


def _difference_loss(error: Tensor, heat: Tensor, generated: Tensor | None) -> Tensor:
    """Mean of (d_t error)^2 over the pairs of neighbouring latent frames in which the model generates both."""
    if error.ndim != 5 or heat.shape != (len(error), 1, *error.shape[2:]):
        raise ShapeError(
            f"difference needs [B,C,T,h,w] and heat [B,1,T,h,w]; prediction {tuple(error.shape)} with heat"
            f" {tuple(heat.shape)} does not tell where time is. Unpack it, or leave difference at 0"
        )
    both = None if generated is None else generated[:, :, 1:].float() * generated[:, :, :-1].float()
    if error.shape[2] < 2 or (both is not None and not both.any()):
        raise ShapeError(
            f"difference needs two neighbouring latent frames that are generated; prediction {tuple(error.shape)} has"
            " none. Take longer clips, or leave difference at 0"
        )
    return _mean(error.diff(dim=2).square(), both)


def _by_clip(values: Tensor, rank: int) -> Tensor:
    """``[B]`` as ``[B,1,...]`` of a rank."""
    return values.view(-1, *[1] * (rank - 1))


def _check_shapes(
    prediction: Tensor, target: Tensor, heat: Tensor, generated: Tensor | None, scale: Tensor | None
) -> None:
    """Refuse everything that PyTorch would broadcast on its own but that the contract does not name."""
    if prediction.shape != target.shape:
        raise ShapeError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ; they must have one shape"
        )
    if prediction.ndim not in _CHANNEL_AXES:
        raise ShapeError(f"prediction {tuple(prediction.shape)} has rank {prediction.ndim}; ranks 3 to 5 are known")
    for name, tensor in (("heat", heat), ("generated", generated)):
        if tensor is not None and not _fits(tensor, prediction):
            raise ShapeError(
                f"{name} {tuple(tensor.shape)} does not fit prediction {tuple(prediction.shape)}: it needs the same"
                " rank and the same lengths, save length 1 on the channel axis"
            )
    _check_heat(heat, generated, scale)


def _check_heat(heat: Tensor, generated: Tensor | None, scale: Tensor | None) -> None:
    if not heat.is_floating_point():
        raise ConfigError(f"heat is {heat.dtype}; it must be floats in [0, 1]: divide the uint8 of a cache by 255")
    if generated is not None and generated.shape != heat.shape:
        raise ShapeError(f"generated {tuple(generated.shape)} and heat {tuple(heat.shape)} differ; they need one shape")
    if scale is not None and scale.shape != heat.shape[:1]:
        raise ShapeError(f"scale {tuple(scale.shape)} does not fit heat {tuple(heat.shape)}: one number per clip")


def _fits(tensor: Tensor, prediction: Tensor) -> bool:
    if tensor.ndim != prediction.ndim:
        return False
    odd = [i for i, (a, b) in enumerate(zip(tensor.shape, prediction.shape, strict=True)) if a != b]
    return not odd or (len(odd) == 1 and odd[0] in _CHANNEL_AXES[prediction.ndim] and tensor.shape[odd[0]] == 1)


def _mean(values: Tensor, generated: Tensor | None) -> Tensor:
    """Mean over all cells, or over the generated ones."""
    if generated is None:
        return values.mean()
    mask = generated.float().expand_as(values)
    return (values * mask).sum() / mask.sum()


def _clip_mean(values: Tensor, generated: Tensor | None) -> Tensor:
    """Mean of each clip, ``[B,1,...]``."""
    axes = tuple(range(1, values.ndim))
    if generated is None:
        return values.mean(axes, keepdim=True)
    mask = generated.float().expand_as(values)
    return (values * mask).sum(axes, keepdim=True) / mask.sum(axes, keepdim=True)


def _stats(cells: Tensor, heat: Tensor, weight: Tensor, generated: Tensor | None) -> LossStats:
    """What the loss saw; ``cells`` is each cell's squared error, shaped like ``heat``."""
    moving = (heat > MOVING).float()
    counted = moving if generated is None else moving * generated.float()
    moving_loss = (cells * counted).sum() / counted.sum()
    return LossStats(
        mean_weight=_mean(weight, generated),
        moving_share=_mean(moving, generated),
        moving_loss=moving_loss,
        loss_ratio=moving_loss / _mean(cells, generated),
    )
