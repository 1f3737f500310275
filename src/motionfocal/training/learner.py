"""What learns: the trained weights of a network, their optimizer, and their moving average."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.distributed.tensor import DTensor

from motionfocal.errors import TrainingError
from motionfocal.training.config import OptimizerSettings

_GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_SPREAD = StateDictOptions(full_state_dict=True, strict=False)
"""Of whole tensors, whatever the number of processes; not strict, as frozen weights are not among them."""


START_LOWER = "start anew in another folder with a lower optimizer.learning_rate"
"""What helps a run that is no longer finite: the same settings would meet the same numbers again."""


class LearnerState(TypedDict):
    """Whole tensors on the CPU by the names of the weights; empty in all processes but the first."""

    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    """As PyTorch gives it, ``state`` by name and ``param_groups``."""


class Learner:
    """The trained weights of a network, alone or one of several processes that hold or share them."""

    def __init__(self, network: nn.Module, settings: OptimizerSettings, ema_decay: float | None) -> None:
        """``network`` as ``distribute`` returns it. ``ema_decay`` None: no average is kept."""
        self.network = network
        self.weights = {
            name.removeprefix("module."): weight for name, weight in network.named_parameters() if weight.requires_grad
        }
        self._max_norm, self._decay = settings.max_grad_norm, ema_decay
        self.optimizer = torch.optim.AdamW(
            self.weights.values(), betas=settings.betas, weight_decay=settings.weight_decay
        )
        averaged = {} if ema_decay is None else self.weights
        self._average = {name: weight.detach().clone() for name, weight in averaged.items()}

    def update(self, learning_rate: float, step: int) -> float:
        """Change the weights by their gradients, which are spent; returns the gradients' norm before it was bounded.

        ``step`` counts the updates before this one.

        Raises:
            TrainingError: a gradient is not finite; nothing was changed.
        """
        weights = list(self.weights.values())
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not norm.isfinite():
            raise TrainingError(f"step {step}: the gradient is not finite; {START_LOWER}")
        torch.nn.utils.clip_grads_with_norm_(weights, self._max_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self._decay is not None:
            # It is short-sighted at first, as in diffusers' EMAModel: the first weights are no part of the result.
            decay = min(self._decay, (1 + step) / (10 + step)) if step else 0.0
            with torch.no_grad():
                torch._foreach_lerp_(list(self._average.values()), list[Tensor](weights), 1 - decay)
        return float(norm)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with its averaged weights, in evaluation mode; the weights as they are where none are kept."""
        self._swap()
        self.network.eval()
        try:
            yield
        finally:
            self._swap()
            self.network.train()

    @torch.no_grad()
    def _swap(self) -> None:
        """Weights and average change places, one tensor at a time."""
        for name, average in self._average.items():
            held = average.clone()
            average.copy_(self.weights[name])
            self.weights[name].copy_(held)

    def result(self) -> dict[str, Tensor]:
        """The averaged weights, or the weights where no average is kept; see ``LearnerState``."""
        with self.averaged():
            # On a CPU these are still views of the live weights.
            return {name: weight.clone() for name, weight in self._gathered().items()}

    def _gathered(self) -> dict[str, Tensor]:
        found = cast("dict[str, Tensor]", get_model_state_dict(self.network, options=_GATHERED))
        return {name: found[name] for name in self.weights if name in found}  # buffers are left out

    def state(self) -> LearnerState:
        """Everything that ``resume`` needs. All processes must call it together."""
        average = self.result() if self._average else {}
        optimizer = get_optimizer_state_dict(self.network, self.optimizer, options=_GATHERED)
        return LearnerState(weights=self._gathered(), average=average, optimizer=optimizer)

    def resume(self, state: LearnerState) -> None:
        """Continue from a state, which all processes have."""
        if self._average:
            set_model_state_dict(self.network, dict(state["average"]), options=_SPREAD)
            self._swap()
        set_state_dict(
            self.network,
            self.optimizer,
            model_state_dict=dict(state["weights"]),
            optim_state_dict=state["optimizer"],
            options=_SPREAD,
        )
        for name, weight in self.weights.items():
            if name not in state["optimizer"]["state"]:
                self.optimizer.state.pop(weight, None)  # it had no gradient yet
