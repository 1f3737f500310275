"""Where lvdm keeps each tensor of our modules: our name to the source's name, and what to take of it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from motionfocal.models.videocrafter.unet import VideoCrafterUNet


def _flat(tensor: Tensor) -> Tensor:
    """The weight of a convolution of width 1 as that of a linear layer."""
    return tensor.flatten(1) if tensor.ndim > 2 else tensor


@dataclass(frozen=True)
class Source:
    """A tensor of a checkpoint, and what to take of it."""

    name: str
    take: Callable[[Tensor], Tensor] = lambda tensor: tensor


Sources = dict[str, Source]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "fps_embedding.linear_1": "fps_embedding.0",
    "fps_embedding.linear_2": "fps_embedding.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_sources(unet: VideoCrafterUNet, theirs: Iterable[str]) -> Sources:
    """Of every tensor of a UNet. ``theirs`` are the names there are; the references differ in two of them."""
    theirs = set(theirs)
    corrected = any(".temporal_conv." in name for name in theirs)  # "temopral_conv" in most versions
    renamed = any(name.startswith("framestride_embed.") for name in theirs)  # DynamiCrafter's 256-pixel model

    def source(ours: str) -> Source:
        name = _unet_name(ours, unet)
        name = name.replace("temopral_conv", "temporal_conv") if corrected else name
        name = name.replace("fps_embedding", "framestride_embed") if renamed else name
        return Source(name, _flat) if re.search(r"proj_(in|out)\.weight$", ours) else Source(name)

    return {ours: source(ours) for ours in unet.state_dict()}


def _unet_name(ours: str, unet: VideoCrafterUNet) -> str:
    """lvdm numbers the blocks of all scales in one row, and the parts of a block in another."""
    config = unet.config
    if ours.startswith("transformer_in."):
        return ours.replace("transformer_in", "init_attn.0", 1)
    if not ours.startswith(("down_blocks.", "mid_block.", "up_blocks.")):
        module, tensor = ours.rsplit(".", 1)
        return f"{_TOP[module]}.{tensor}"
    if ours.startswith("mid_block."):
        part, index, rest = re.fullmatch(r"mid_block\.(\w+)\.(\d+)\.(.+)", ours).groups()  # type: ignore[union-attr]
        last = 3 if config.temporal_attention else 2
        position = {"attentions": 1, "temp_attentions": 2}.get(part, last * int(index))
        return f"middle_block.{position}.{_inner_name(part, rest)}"
    way, level, part, index, rest = re.fullmatch(r"(\w+)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", ours).groups()  # type: ignore[union-attr]
    row = config.layers_per_block + 1  # blocks a scale: a downsampler is a block of its own, an upsampler is not
    if part == "downsamplers":
        return f"input_blocks.{(int(level) + 1) * row}.0.{rest.replace('conv', 'op', 1)}"
    if part == "upsamplers":
        attends = config.attention_levels[-1 - int(level)]
        position = 1 + attends * (1 + config.temporal_attention)
        return f"output_blocks.{(int(level) + 1) * row - 1}.{position}.{rest}"
    number = int(level) * row + int(index) + (way == "down")
    position = {"attentions": 1, "temp_attentions": 2}.get(part, 0)
    return f"{'input' if way == 'down' else 'output'}_blocks.{number}.{position}.{_inner_name(part, rest)}"


def _inner_name(part: str, rest: str) -> str:
    """Of a tensor inside a residual block, a temporal convolution or a transformer."""
    if part == "temp_convs":
        return f"temopral_conv.{rest}"
    if part == "resnets":
        module, tensor = rest.split(".", 1)
        return f"{_RESNET[module]}.{tensor}"
    return rest.replace("attn2.processor.", "attn2.")


_VAE = (
    (r"^((?:en|de)coder)\.mid_block\.resnets\.0", r"\1.mid.block_1"),
    (r"^((?:en|de)coder)\.mid_block\.resnets\.1", r"\1.mid.block_2"),
    (r"^((?:en|de)coder)\.mid_block\.attentions\.0", r"\1.mid.attn_1"),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.resnets\.", ".block."),
    (r"\.attentions\.", ".attn."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.downsamplers\.0\.", ".downsample."),
    (r"\.upsamplers\.0\.", ".upsample."),
    (r"\.down_blocks\.", ".down."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
    (r"\.group_norm\.", ".norm."),
)


def vae_sources(ours: Iterable[str], levels: int) -> Sources:
    """Of every tensor of diffusers' ``AutoencoderKL`` with so many scales. lvdm counts the way up from the top."""

    def source(name: str) -> Source:
        flat = re.search(r"\.to_(q|k|v|out\.0)\.weight$", name)
        for pattern, replacement in _VAE:
            name = re.sub(pattern, replacement, name)
        name = re.sub(r"\.up_blocks\.(\d+)", lambda match: f".up.{levels - 1 - int(match[1])}", name)
        return Source(name, _flat) if flat else Source(name)

    return {name: source(name) for name in ours}


_CLIP = (
    (r"^(text_model|vision_model)\.", ""),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"^embeddings\.token_embedding\.weight$", "token_embedding.weight"),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^embeddings\.class_embedding$", "class_embedding"),
    (r"^embeddings\.patch_embedding\.", "conv1."),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^pre_layrnorm\.", "ln_pre."),  # sic, in transformers
    (r"^post_layernorm\.", "ln_post."),
)


def clip_sources(ours: Iterable[str], prefix: str = "") -> Sources:
    """Of every tensor of transformers' CLIP text or vision model; OpenCLIP's names begin with ``prefix``."""
    return {name: _clip_source(name, prefix) for name in ours}


def _clip_source(name: str, prefix: str) -> Source:
    if name == "visual_projection.weight":
        return Source(f"{prefix}proj", lambda tensor: tensor.T.contiguous())
    for pattern, replacement in _CLIP:
        name = re.sub(pattern, replacement, name)
    if joint := re.fullmatch(r"(.+)\.self_attn\.([qkv])_proj\.(weight|bias)", name):
        block, letter, tensor = joint.groups()
        return Source(f"{prefix}{block}.attn.in_proj_{tensor}", _Part("qkv".index(letter), 3))
    return Source(prefix + name)


@dataclass(frozen=True)
class _Part:
    """One of several tensors that are stored as one, by rows. A copy: safetensors refuses shared memory."""

    index: int
    parts: int

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.tensor_split(self.parts)[self.index].clone()


_RESAMPLER = (
    (r"^resampler\.", ""),
    (r"\.ln0\.", ".0.norm1."),
    (r"\.ln1\.", ".0.norm2."),
    (r"\.attn\.to_([qkv])\.", r".0.to_\1."),
    (r"\.attn\.to_out\.0\.", ".0.to_out."),
    (r"\.ff\.0\.", ".1.0."),
    (r"\.ff\.1\.net\.0\.proj\.", ".1.1."),
    (r"\.ff\.1\.net\.2\.", ".1.3."),
)


def projector_sources(ours: Iterable[str]) -> Sources:
    """Of every tensor of an ``ImageProjector``; the reference keeps keys and values as one."""

    def source(name: str) -> Source:
        for pattern, replacement in _RESAMPLER:
            name = re.sub(pattern, replacement, name)
        if joint := re.fullmatch(r"(.+)\.to_([kv])\.weight", name):
            return Source(f"{joint[1]}.to_kv.weight", _Part("kv".index(joint[2]), 2))
        return Source(name)

    return {name: source(name) for name in ours}
