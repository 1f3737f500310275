"""Give a UNet more inputs for fine-tuning; at first it predicts what it did before.

Zeros are added to what was added before, so that on a CPU the predictions are equal bit for bit. A GPU may choose
another kernel for a convolution of more channels, and round differently.
"""

import torch
from torch import Tensor

from motionfocal.errors import ConfigError
from motionfocal.models.videocrafter.unet import VideoCrafterUNet
from motionfocal.models.videocrafter.weights import fill

_FIRST_WEIGHT = "conv_in.weight"


def extend(
    unet: VideoCrafterUNet,
    *,
    xcat: bool = False,
    image_attention: bool = False,
    motion_score: bool = False,
    motion_mask: bool = False,
) -> VideoCrafterUNet:
    """A copy with more inputs: an image latent, image tokens, motion priors.

    ``xcat`` is an image latent beside the noisy one, ``[B,2C,T,h,w]``; alone it is MotiF's image condition,
    ``image_attention`` alone its cross-attention ablation, both together the dual one. New columns of the first
    convolution, new values (not keys, which are copies of the text's) and the last layer of the score's MLP are zero,
    so that all of them change nothing at first and all of them learn.

    Raises:
        ConfigError: the UNet has the input already.
    """
    old = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    asked = {"image_attention": image_attention, "motion_score": motion_score, "motion_mask": motion_mask}
    had = [name for name, value in asked.items() if value and old[name]]
    if xcat and old["in_channels"] != old["out_channels"]:
        had.append("xcat")
    if had:
        raise ConfigError(f"the UNet was made with {', '.join(had)}; nothing to extend")
    new = old | {name: True for name, value in asked.items() if value}
    new["in_channels"] = old["in_channels"] * (2 if xcat else 1)
    with torch.device("meta"):
        extended = VideoCrafterUNet(**new)
    weights = unet.state_dict()
    tensors = {name: _tensor(name, like, weights) for name, like in extended.state_dict().items()}
    tensors[_FIRST_WEIGHT] = _wider(weights[_FIRST_WEIGHT], unet, extended)
    return fill(extended, tensors, copy=True).train(unet.training)


def _tensor(name: str, like: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The old tensor, or the first value of a new one."""
    if name in weights:
        return weights[name]
    if name.endswith(".to_k_ip.weight"):
        return weights[name.replace("processor.to_k_ip", "to_k")]
    if name.startswith("motion_score_embedding.linear_1."):
        return weights[name.replace("motion_score", "time")]
    return weights[_FIRST_WEIGHT].new_zeros(like.shape)


def _wider(weight: Tensor, old: VideoCrafterUNet, new: VideoCrafterUNet) -> Tensor:
    """The first convolution: the sample, the image latent, the motion mask."""
    sample, mask = weight.tensor_split([old.config.in_channels], dim=1)
    channels = new.config.in_channels + new.config.motion_mask - weight.shape[1]
    zeros = torch.zeros_like(weight[:, :1]).repeat(1, channels, 1, 1)
    return torch.cat([sample, zeros, mask], dim=1)
