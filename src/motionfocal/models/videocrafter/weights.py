"""Fill a module with the tensors of a checkpoint that has other names for them: all of them, and nothing else."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from motionfocal.errors import CheckpointError, ConfigError
from motionfocal.models.videocrafter.names import Sources, unet_sources, vae_sources
from motionfocal.models.videocrafter.params import first_stage_config, unet_config
from motionfocal.models.videocrafter.unet import VideoCrafterUNet

_Module = TypeVar("_Module", bound=nn.Module)
_SHOWN = 3


def gather(
    module: nn.Module, state: Mapping[str, Tensor], sources: Sources, what: str, ignored: Collection[str] = ()
) -> dict[str, Tensor]:
    """The tensors of ``state`` under the module's names.

    Raises:
        CheckpointError: tensors are missing, left over (but for those ignored) or of the wrong shape; it names them as
            the checkpoint does.
    """
    names = {source.name for source in sources.values()}
    expected = module.state_dict()
    tensors = {ours: source.take(state[source.name]) for ours, source in sources.items() if source.name in state}
    misshapen = {
        f"{sources[ours].name} {list(state[sources[ours].name].shape)} (ours: {list(expected[ours].shape)})"
        for ours, tensor in tensors.items()
        if tensor.shape != expected[ours].shape
    }
    wrong = {"missing": names - state.keys(), "extra": state.keys() - names - set(ignored), "misshapen": misshapen}
    if any(wrong.values()):
        raise CheckpointError(f"{what}: " + "; ".join(_list(kind, found) for kind, found in wrong.items() if found))
    return tensors


def _list(kind: str, names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(sorted(names)[:_SHOWN])}{more}"


def fill(module: _Module, tensors: Mapping[str, Tensor], *, copy: bool) -> _Module:
    """Give a module on the meta device its tensors, or copies of them. It is in evaluation mode."""
    if copy:
        tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.eval()


def unet_of(state: Mapping[str, Tensor], params: Mapping[str, object]) -> VideoCrafterUNet:
    """The UNet of VideoCrafter1, VideoCrafter2 or DynamiCrafter, of lvdm's own tensors, as they are, and config.

    ``state`` has lvdm's names without the prefix ``model.diffusion_model.``, ``params`` is ``unet_config.params``.
    It is called as ``unet(sample, timestep, encoder_hidden_states, fps=...)``, image tokens standing after the text's
    77, see ``VideoCrafterUNet.forward``.

    Raises:
        ConfigError: a param is unknown, missing or not supported.
        CheckpointError: tensors are missing, left over or of the wrong shape.
    """
    config, checkpointing = unet_config(params)
    with torch.device("meta"):
        unet = VideoCrafterUNet(**config)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    return fill(unet, gather(unet, state, unet_sources(unet, state), "UNet"), copy=False)


def vae_of(state: Mapping[str, Tensor], ddconfig: Mapping[str, object]) -> AutoencoderKL:
    """The first stage of lvdm as diffusers' ``AutoencoderKL``; frames ``[N,3,H,W]`` in [-1, 1], latents x 0.18215.

    ``state`` has lvdm's names without the prefix ``first_stage_model.``; the tensors are taken as they are. Raises as
    ``unet_of`` does.
    """
    config = first_stage_config(ddconfig)
    channels = config["latent_channels"]
    embedded = state["quant_conv.weight"].shape[0] // 2 if "quant_conv.weight" in state else channels
    if embedded != channels:
        raise ConfigError(f"ddconfig.z_channels = {channels} with embed_dim = {embedded}: not supported, only equal")
    with torch.device("meta"):
        vae = AutoencoderKL(**config)
    sources = vae_sources(vae.state_dict(), len(vae.config.block_out_channels))
    return fill(vae, gather(vae, state, sources, "first stage"), copy=False)
