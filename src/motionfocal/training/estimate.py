"""What a training step needs, before any weight is loaded: memory, floating-point operations, time.

The real network is built on PyTorch's meta device, where tensors have shapes but no content, and goes forward and
backward once at the real size, while every operation and every byte alive is counted; a network of 14 billion weights
takes seconds and no memory. What a GPU would do otherwise than the meta device is put in: attention that never stores
its scores, and autocast.

    with torch.device("meta"):
        network = WanTransformer3DModel(**config).to(torch.bfloat16)
        cost = count_pass(network, lambda: network(latents, timestep, text, return_dict=False)[0])
    memory = step_memory(network, cost, averaged=False)

    peak = weights + gradients + optimizer + average + max(activations, update)
    hours = clips * FLOPs of forward and backward / (peak FLOPs a second * utilisation) / 3600

Of a transformer the activations come to layers * tokens * width * bytes with gradient checkpointing, plus what one
layer needs to work, and to the latter times the layers without; they are counted, not taken from this formula.

Neglected: the CUDA context and the kernels' own workspaces (about 1 GB together), fragmentation (PyTorch's allocator
keeps up to a tenth more), the frozen parts (VAE and text encoders: keep them on the disk by training from caches, and
off the GPU), and communication between GPUs.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from torch import UntypedStorage


@dataclass(frozen=True)
class PassCost:
    """What one forward and backward pass of a network costs."""

    forward_flops: int
    """Floating-point operations of the forward pass; a multiplication and an addition are two."""
    flops: int
    """Of forward and backward, and of what gradient checkpointing computes again."""
    activations: int
    """Peak of the bytes that the pass has alive besides weights, gradients and inputs."""

    @property
    def passes(self) -> float:
        """What all of it is worth in forward passes: about 3, 4 with gradient checkpointing; of an adapter one less."""
        return self.flops / self.forward_flops


@dataclass(frozen=True)
class StepMemory:
    """Bytes on one GPU during a training step."""

    weights: int
    gradients: int
    optimizer: int
    """The two averages of AdamW."""
    average: int
    """The averaged weights; 0 where none are kept."""
    activations: int
    update: int
    """What AdamW holds for a moment while it updates, when no activation is left."""

    @property
    def total(self) -> int:
        """The peak: in the backward pass or in the update, whichever needs more."""
        resident = self.weights + self.gradients + self.optimizer + self.average
        return resident + max(self.activations, self.update)


@dataclass(frozen=True)
class Accelerator:
    """A GPU: its peak in dense bfloat16 operations a second (from its data sheet), and the share of it that is had."""

    name: str
    peak: float
    utilisation: float

    def hours(self, flops: float) -> float:
        """Hours for so many floating-point operations: FLOPs / (peak * utilisation)."""
        return flops / (self.peak * self.utilisation) / 3600


A100 = Accelerator("A100", 312e12, 0.40)
H100 = Accelerator("H100", 989e12, 0.35)
"""The utilisations are what large video transformers are commonly reported to have; we measured none of them."""


def count_pass(network: nn.Module, forward: Callable[[], Tensor], autocast: torch.dtype | None = None) -> PassCost:
    """Count what a pass forward and backward costs, in three passes forward and two of them backward.

    Call it on the meta device; on another one, everything is computed.

    Gradients are there from the start, as they are in every pass of a step but the first, and cleared at the end. A
    network in evaluation mode is counted as it is, without dropout and without gradient checkpointing where that asks
    for training mode.

    Args:
        network: its parameters that require gradients are those that are trained.
        forward: calls the network on inputs made beforehand, and returns its output or a loss.
        autocast: compute matrix products and convolutions in this dtype, whatever the weights' dtype, as autocast does.
    """
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    with FlopCounterMode(display=False) as forward_only, _AsOnGpu(autocast), torch.no_grad():
        forward()
    with FlopCounterMode(display=False) as counter:
        _run(forward, autocast)
    with LiveBytes() as live:  # in a pass of its own: the counter of operations keeps activations alive
        _run(forward, autocast)
    network.zero_grad()
    return PassCost(forward_only.get_total_flops(), counter.get_total_flops(), live.peak)


def _run(forward: Callable[[], Tensor], autocast: torch.dtype | None) -> None:
    with _AsOnGpu(autocast) as gpu:
        loss = forward().float().square().mean()
        gpu.end_forward()
        loss.backward()


def step_memory(network: nn.Module, cost: PassCost, averaged: bool) -> StepMemory:
    """Memory of a training step with AdamW, each weight counted in its own dtype.

    Gradients, the optimizer's averages and the averaged weights (``averaged``: whether they are kept) have the dtype of
    the weights that they belong to.
    """
    trained = sum(_bytes(parameter) for parameter in network.parameters() if parameter.requires_grad)
    return StepMemory(
        weights=sum(map(_bytes, [*network.parameters(), *network.buffers()])),
        gradients=trained,
        optimizer=2 * trained,
        average=trained if averaged else 0,
        activations=cost.activations,
        update=trained,
    )


def count_parameters(network: nn.Module, trained: bool = False) -> int:
    """Weights of a network, or those of them that require gradients."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trained)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, each storage once, from where the context begins."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        # A view shares the storage of what it views: a weight transposed is no new memory.
        before = {id(storage) for storage in _storages([args, kwargs])}
        result = function(*args, **kwargs)
        for storage in _storages(result):
            if id(storage) not in before | self._alive:
                self._add(storage)
        return result

    def _add(self, storage: "UntypedStorage") -> None:
        key, size = id(storage), storage.nbytes()
        self._alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def _storages(values: object) -> Iterable["UntypedStorage"]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


_IN_LOW_PRECISION = ("linear", "conv1d", "conv2d", "conv3d", "scaled_dot_product_attention")
_IN_FLOAT32 = ("layer_norm", "group_norm")


class _AsOnGpu:
    """While it lasts, functions of ``torch.nn.functional`` do what they would on a GPU and do not on the meta device.

    Attention is fused, and where autocast is asked for, tensors are cast as it casts them. PyTorch's own way to step
    in, a function mode, does not reach what gradient checkpointing computes again in the backward pass.
    """

    def __init__(self, autocast: torch.dtype | None) -> None:
        self._autocast = autocast
        self._stock = {name: getattr(F, name) for name in (*_IN_LOW_PRECISION, *_IN_FLOAT32)}
        self._casts: dict[int, Tensor] = {}
        self._in_forward = True

    def __enter__(self) -> Self:
        F.scaled_dot_product_attention = _fused_attention
        if self._autocast is not None:
            for name in self._stock:
                cast = self._low if name in _IN_LOW_PRECISION else self._float
                setattr(F, name, partial(_with_cast, getattr(F, name), cast))
        return self

    def __exit__(self, *_: object) -> None:
        for name, stock in self._stock.items():
            setattr(F, name, stock)

    def end_forward(self) -> None:
        """Autocast keeps the weights that it cast until the forward pass ends; the graph may keep them longer."""
        self._casts.clear()
        self._in_forward = False

    def _low(self, value: Tensor) -> Tensor:
        if value.dtype != torch.float32:
            return value
        if not (isinstance(value, nn.Parameter) and self._in_forward):
            return value.to(self._autocast)
        if id(value) not in self._casts:
            self._casts[id(value)] = value.to(self._autocast)
        return self._casts[id(value)]

    def _float(self, value: Tensor) -> Tensor:
        return value.float()


def _with_cast(
    function: Callable[..., Tensor], cast: Callable[[Tensor], Tensor], *args: object, **named: object
) -> Tensor:
    """A function of arguments some of which are tensors, which are cast."""
    return function(
        *[cast(value) if isinstance(value, Tensor) else value for value in args],
        **{name: cast(value) if isinstance(value, Tensor) else value for name, value in named.items()},
    )


_stock_attention = F.scaled_dot_product_attention


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention by PyTorch's memory-efficient kernel, for which a mask becomes a bias of the query's dtype."""
    if not query.is_meta:
        return _stock_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    bias = None
    if attn_mask is not None:
        bias = attn_mask.to(query.dtype).expand(*query.shape[:-1], key.shape[-2])
    attended: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
    )[0]
    return attended
