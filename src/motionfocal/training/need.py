"""What training by a config needs, told by the configs of its base alone: no weights, no GPU, half a minute."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from motionfocal.models.build import build_model
from motionfocal.models.protocol import ClipShape
from motionfocal.training.config import TrainingConfig
from motionfocal.training.estimate import PassCost, StepMemory, count_parameters, count_pass, step_memory
from motionfocal.training.loop import ready_to_learn


@dataclass(frozen=True)
class Need:
    """Of a run on one GPU that holds all of the network; see ``motionfocal.training.estimate``."""

    shape: ClipShape
    clips: int
    """In a pass."""
    weights: int
    """Of the network, those that are trained among them; numbers, not bytes."""
    trained: int
    cost: PassCost
    """Of one pass of so many clips."""
    memory: StepMemory
    run_flops: int
    """Of all steps."""


def training_need(config: TrainingConfig, shape: ClipShape) -> Need:
    """What clips of a shape need, each pass taking ``micro_batch_size`` of them.

    Raises:
        ConfigError, ShapeError, CheckpointError: what training itself would raise before its first step.
    """
    model = build_model(config.model, shape, config.seed)
    clips = config.micro_batch_size or config.batch_size
    grid = model.spec.grid(shape.frames, shape.height, shape.width)
    with torch.device("meta"):
        ready_to_learn(model, config, shape)
        network = model.network.to("meta")  # where a family draws its weights rather than loads them
        noisy, timestep = torch.zeros(clips, model.spec.channels, *grid), torch.zeros(clips)
        condition = model.blank(shape, clips)

        def forward() -> Tensor:
            with _ValuesOfMasks():
                return model.predict(noisy, timestep, condition)

        cost = count_pass(network, forward, torch.bfloat16 if config.precision == "bf16" else None)
    return Need(
        shape=shape,
        clips=clips,
        weights=count_parameters(network),
        trained=count_parameters(network, trained=True),
        cost=cost,
        memory=step_memory(network, cost, averaged=config.ema_decay is not None),
        run_flops=config.steps * config.batch_size * cost.flops // clips,
    )


class _ValuesOfMasks(TorchFunctionMode):
    """Answers what networks ask of values, of which the meta device has none.

    A mask selects everything, its inverse nothing: every text fills its length, and every clip goes through the same
    one of two networks. Whether a tensor as a whole is true (an image that is all zeros) is answered with no.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        if function is Tensor.__bool__:
            return False
        if function is Tensor.nonzero:
            return torch.zeros(self._selected(args[0]), args[0].ndim, dtype=torch.long)
        if function is Tensor.__getitem__ and getattr(args[1], "dtype", None) == torch.bool:
            args = args[0], slice(0, self._selected(args[1]))
        result = function(*args, **(kwargs or {}))
        if function is Tensor.__invert__:
            result.selects_nothing = True
        return result

    @staticmethod
    def _selected(mask: Tensor) -> int:
        return 0 if hasattr(mask, "selects_nothing") else len(mask)
