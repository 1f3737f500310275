"""Read the sizes of lvdm's networks off their tensors, as the configs that lvdm itself would have.

Heads cannot be read off attention weights; the UNet has eight of them in its input attention, which gives their width.
"""

import functools
from collections.abc import Callable, Mapping

from torch import Tensor

from motionfocal.errors import CheckpointError

State = Mapping[str, Tensor]
_Read = Callable[[State], dict[str, object]]


def depth_of(state: State, prefix: str) -> int:
    """How many numbered modules there are behind a prefix."""
    return len({name.removeprefix(prefix).split(".", 1)[0] for name in state if name.startswith(prefix)})


def _reads(what: str) -> Callable[[_Read], _Read]:
    """Say which tensor is missing when sizes cannot be read."""

    def wrap(read: _Read) -> _Read:
        def checked(state: State) -> dict[str, object]:
            try:
                return read(state)
            except KeyError as error:
                raise CheckpointError(f"{what}: 1 missing: {error.args[0]}; it tells the sizes") from error

        return functools.wraps(read)(checked)

    return wrap


@_reads("UNet")
def unet_params(state: State) -> dict[str, object]:
    """``unet_config.params`` that both references have, of a UNet with input attention.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
    """
    width, channels = state["input_blocks.0.0.weight"].shape[:2]
    attention = state["init_attn.0.proj_in.weight"]
    blocks = range(1, depth_of(state, "input_blocks."))
    downsamplers = [index for index in blocks if f"input_blocks.{index}.0.op.weight" in state]
    row = downsamplers[0] if downsamplers else len(blocks) + 1
    firsts = range(1, len(blocks) + 1, row)  # the first block of each scale
    attended = [2**level for level, index in enumerate(firsts) if f"input_blocks.{index}.1.norm.weight" in state]
    middle = "middle_block.1.transformer_blocks."
    return {
        "in_channels": channels,
        "out_channels": state["out.2.weight"].shape[0],
        "model_channels": width,
        "num_res_blocks": row - 1,
        "attention_resolutions": attended,
        "channel_mult": [state[f"input_blocks.{index}.0.out_layers.3.weight"].shape[0] // width for index in firsts],
        "context_dim": state[f"{middle}0.attn2.to_k.weight"].shape[1],
        "num_head_channels": attention.shape[0] // 8,
        "transformer_depth": depth_of(state, middle),
        "use_linear": state["middle_block.1.proj_in.weight"].ndim == 2,
        "temporal_conv": any("temopral_conv" in name or "temporal_conv" in name for name in state),
        "temporal_attention": "middle_block.3.in_layers.0.weight" in state,
        "use_relative_position": any("relative_position" in name for name in state),
        "addition_attention": True,
    }


@_reads("first stage")
def first_stage_params(state: State) -> dict[str, object]:
    """``ddconfig`` of a first stage; what the tensors do not tell is as in every lvdm.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
    """
    width, channels = state["encoder.conv_in.weight"].shape[:2]
    levels = range(depth_of(state, "encoder.down."))
    resolution = 256
    attended = [resolution // 2**level for level in levels if f"encoder.down.{level}.attn.0.norm.weight" in state]
    return {
        "ch": width,
        "in_channels": channels,
        "out_ch": state["decoder.conv_out.weight"].shape[0],
        "z_channels": state["decoder.conv_in.weight"].shape[1],
        "ch_mult": [state[f"encoder.down.{level}.block.0.conv2.weight"].shape[0] // width for level in levels],
        "num_res_blocks": depth_of(state, "encoder.down.0.block."),
        "attn_resolutions": attended,
        "resolution": resolution,
    }


@_reads("image projector")
def projector_config(state: State) -> dict[str, object]:
    """Arguments of ``ImageProjector`` but for its frames; heads are 64 wide, as in every lvdm.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
    """
    width, image_width = state["proj_in.weight"].shape
    head = 64
    return {
        "image_width": image_width,
        "width": width,
        "out_width": state["proj_out.weight"].shape[0],
        "depth": depth_of(state, "layers."),
        "heads": state["layers.0.0.to_q.weight"].shape[0] // head,
        "head_width": head,
        "expansion": state["layers.0.1.1.weight"].shape[0] // width,
        "tokens": state["latents"].shape[1],
    }


@_reads("text encoder")
def text_config(state: State) -> dict[str, object]:
    """Arguments of ``CLIPTextConfig`` without the last layer, from OpenCLIP's text tower; heads of ViT-H-14's width.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
    """
    length, width = state["positional_embedding"].shape
    return {
        "vocab_size": state["token_embedding.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": depth_of(state, "transformer.resblocks.") - 1,
        "num_attention_heads": width // 64,
        "max_position_embeddings": length,
        "projection_dim": width,
        "hidden_act": "gelu",
    }


@_reads("image encoder")
def vision_config(state: State) -> dict[str, object]:
    """Arguments of ``CLIPVisionConfig``, from OpenCLIP's vision tower; heads of ViT-H-14's width.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
    """
    blocks = "visual.transformer.resblocks."
    width, _, patch, _ = state["visual.conv1.weight"].shape
    places = state["visual.positional_embedding"].shape[0] - 1
    return {
        "hidden_size": width,
        "intermediate_size": state[f"{blocks}0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": depth_of(state, blocks),
        "num_attention_heads": width // 80,
        "image_size": patch * round(places**0.5),
        "patch_size": patch,
        "projection_dim": state["visual.proj"].shape[1],
        "hidden_act": "gelu",
    }
