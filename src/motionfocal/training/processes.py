"""The processes that train one network together, as ``torchrun`` or ``accelerate launch`` started them.

Plainly started, each holds the whole network and they average its gradients (DDP). ``accelerate launch --use_fsdp
--fsdp_version 2`` shards weights, gradients and optimizer over them (FSDP2). Both are PyTorch's own; accelerate finds
the devices and joins the processes.
"""

import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from motionfocal.errors import ConfigError
from motionfocal.models.build import best_device
from motionfocal.models.protocol import VideoModel

if TYPE_CHECKING:
    from accelerate import PartialState

_T = TypeVar("_T")

_PATIENCE = timedelta(hours=2)
"""For how long processes wait for one that loads weights or writes a checkpoint: of 14 billion weights, 170 GB."""


def join_processes(device: Literal["auto", "cpu"]) -> "PartialState":
    """Find the process's device and its place among the others; where nothing started more, it is alone.

    Raises:
        ConfigError: other processes were started, but they cannot work together on their devices.
    """
    from accelerate import PartialState
    from accelerate.utils import disable_fsdp_ram_efficient_loading

    # With it, transformers loads weights in the first process alone: the others would encode texts with noise.
    disable_fsdp_ram_efficient_loading()
    processes = PartialState(cpu=device == "cpu" or best_device().type == "cpu", timeout=_PATIENCE)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if processes.num_processes != started:
        raise ConfigError(
            f"{started} processes were started, but on {processes.device.type} each would train alone; set device=cpu"
        )
    return processes


def same_everywhere(value: str | None) -> bool:
    """Whether a value is the same in all processes, which must ask together."""
    from accelerate.utils import gather_object

    return len(set(gather_object([value]))) == 1


def merged(found: dict[str, _T]) -> dict[str, _T]:
    """What all processes found, which must ask together."""
    from accelerate.utils import gather_object

    return {key: value for one in gather_object([found]) for key, value in one.items()}


def of_the_first(value: _T) -> _T:
    """What the first process has of a value, which all must ask together."""
    from accelerate.utils import gather_object

    first: _T = gather_object([value])[0]
    return first


def distribute(model: VideoModel, processes: "PartialState", dtype: torch.dtype) -> None:
    """Bring a model's network to the process's device, and join it to those of the other processes.

    ``dtype`` bfloat16 has it compute by autocast.

    Raises:
        ConfigError: the launcher asks for a kind of sharding that there is not.
    """
    network, device = model.network, processes.device
    if dtype is not torch.float32:
        _autocast(network, device, dtype)
    # Of two networks, each for its own noise levels, a pass may use one; diffusers' pipelines name such two so.
    routes = {"transformer", "transformer_2"} <= model.parts.keys()
    if processes.num_processes == 1:
        network.to(device)
    elif _sharding_is_asked_for():
        if routes:
            raise ConfigError(
                "--use_fsdp: sharded processes must use the same weights at the same time, and each clip goes through"
                " one of two networks here; train them one after the other (model.experts=high, then low)"
            )
        shard(network, device, processes.num_processes)
    else:
        network = DistributedDataParallel(
            network.to(device),
            device_ids=None if device.type == "cpu" else [device],
            find_unused_parameters=routes,
            gradient_as_bucket_view=True,  # else gradients are there twice
        )
    model.network = network


def _autocast(network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Have a network compute in a dtype, but for the timestep's embedding where diffusers keeps that in float32."""
    network.forward = torch.autocast(device.type, dtype)(network.forward)
    for name, module in network.named_modules():
        if name.endswith("time_embedder") and next(module.parameters()).dtype is torch.float32:
            module.forward = torch.autocast(device.type, enabled=False)(module.forward)
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False  # peft's adapters would take a copy in float32, to be cast back


def shard(network: nn.Module, device: torch.device, processes: int) -> None:
    """Shard a network in place: its blocks, which are whole in memory one at a time, and the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # It warns about outputs that are modified in place; no objective or sampler here does that.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (processes,))
    for module in [*_blocks(network), network]:
        # The root too: if it were left whole after sampling, the averaged weights would stay in it.
        fully_shard(module, mesh=mesh, reshard_after_forward=True)


def _blocks(network: nn.Module) -> list[nn.Module]:
    """What the models of diffusers name as their blocks, inner ones first; none where no model names any."""
    names = {
        name
        for module in network.modules()
        for attribute in ("_no_split_modules", "_repeated_blocks")
        for name in getattr(module, attribute, None) or ()
    }
    blocks = [module for module in network.modules() if type(module).__name__ in names]
    return [block for block in reversed(blocks) if block is not network and any(True for _ in block.parameters())]


def _sharding_is_asked_for() -> bool:
    """What ``accelerate launch`` says in the environment."""
    from accelerate.utils import parse_flag_from_env

    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return False
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ConfigError("accelerate launch --use_fsdp: version 2 alone is supported; add --fsdp_version 2")
    if parse_flag_from_env("FSDP_OFFLOAD_PARAMS"):
        raise ConfigError("accelerate launch --fsdp_offload_params: not supported; leave it out")
    if parse_flag_from_env("FSDP_ACTIVATION_CHECKPOINTING"):
        raise ConfigError(
            "accelerate launch --fsdp_activation_checkpointing: set gradient_checkpointing=true in the config instead"
        )
    return True


def without_exchange(network: nn.Module) -> AbstractContextManager[None]:
    """Gradients stay in the process until a backward pass outside of the context.

    A sharded network exchanges them every time: it has no room for whole ones.
    """
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
