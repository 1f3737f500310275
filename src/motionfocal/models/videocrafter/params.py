"""What lvdm's own configs say of a UNet (``unet_config.params``) and of a first stage (``ddconfig``), in our terms.

Defaults are the reference's, so that a key left out means what it means there. A key that changes the network and is
not supported is refused by name.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from motionfocal.errors import ConfigError
from motionfocal.settings import Settings

TEXT_TOKENS = 77
"""lvdm cuts the context here: CLIP's length."""

FRAME_TOKENS = 16
"""DynamiCrafter takes image tokens for a frame's own when there are so many for each."""

_Parsed = TypeVar("_Parsed", bound="_LvdmSettings")


class _LvdmSettings(Settings):
    @classmethod
    def parse(cls: type[_Parsed], params: Mapping[str, object], where: str) -> _Parsed:
        """The params, checked; ConfigError names the first key that is unknown, missing or of the wrong kind."""
        try:
            return cls.model_validate(dict(params))
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def require(self, where: str, only: Mapping[str, object]) -> None:
        """Refuse a key that has not the only value that is supported."""
        for key, value in only.items():
            if getattr(self, key) != value:
                raise ConfigError(f"{where}.{key} = {getattr(self, key)!r} is not supported, only {value!r}")


class _UNetParams(_LvdmSettings):
    in_channels: int = Field(ge=1)
    out_channels: int = Field(ge=1)
    model_channels: int = Field(ge=32, multiple_of=32)
    num_res_blocks: int = Field(ge=1)
    attention_resolutions: tuple[int, ...]
    context_dim: int = Field(ge=1)
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    dropout: float = Field(0.0, ge=0, lt=1)
    num_heads: int = -1
    num_head_channels: int = -1
    transformer_depth: int = Field(1, ge=1)
    temporal_conv: bool = False
    temporal_attention: bool = True
    temporal_length: int | None = None
    addition_attention: bool = False
    use_linear: bool = False
    use_checkpoint: bool = False
    dims: int = 2
    conv_resample: bool = True
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    tempspatial_aware: bool = False
    temporal_selfatt_only: bool = True
    use_relative_position: bool = True
    use_causal_attention: bool = False
    use_fp16: bool = False

    def shared_config(self) -> dict[str, object]:
        """Arguments of ``VideoCrafterUNet`` that both references have."""
        levels = range(len(self.channel_mult))
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": tuple(self.model_channels * factor for factor in self.channel_mult),
            # lvdm counts resolutions as factors of downsampling.
            "attention_levels": tuple(2**level in self.attention_resolutions for level in levels),
            "layers_per_block": self.num_res_blocks,
            "cross_attention_dim": self.context_dim,
            "attention_head_dim": self.num_head_channels,
            "transformer_depth": self.transformer_depth,
            "temporal_convolution": self.temporal_conv,
            "temporal_attention": self.temporal_attention,
            "input_attention": self.addition_attention,
            "dropout": self.dropout,
        }


_ONLY: dict[str, object] = {
    "dims": 2,
    "conv_resample": True,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "tempspatial_aware": False,
    "temporal_selfatt_only": True,
    "use_relative_position": False,
    "use_causal_attention": False,
    "use_fp16": False,
}


class VideoCrafterParams(_UNetParams):
    """``unet_config.params`` of VideoCrafter1 and 2."""

    fps_cond: bool = False
    use_image_attention: bool = False
    temporal_transformer_depth: int = Field(1, ge=1)

    def config(self) -> dict[str, object]:
        """Arguments of ``VideoCrafterUNet``."""
        return self.shared_config() | {
            "temporal_depth": self.temporal_transformer_depth,
            "fps_condition": self.fps_cond,
            "image_attention": self.use_image_attention,
            "text_tokens": TEXT_TOKENS if self.use_image_attention else None,
        }


class DynamiCrafterParams(_UNetParams):
    """``unet_config.params`` of DynamiCrafter."""

    image_cross_attention: bool = False
    image_cross_attention_scale_learnable: bool = False
    default_fs: int = 4
    fs_condition: bool = False

    def config(self) -> dict[str, object]:
        """Arguments of ``VideoCrafterUNet``. Tokens beyond the text's are cut off where no image is attended to."""
        return self.shared_config() | {
            "temporal_depth": self.transformer_depth,
            "fps_condition": self.fs_condition,
            "default_fps": self.default_fs,
            "image_attention": self.image_cross_attention,
            "image_gate": self.image_cross_attention and self.image_cross_attention_scale_learnable,
            "text_tokens": TEXT_TOKENS,
            "frame_tokens": FRAME_TOKENS,
        }


_DYNAMICRAFTER_KEYS = set(DynamiCrafterParams.model_fields) - set(_UNetParams.model_fields)


def unet_config(params: Mapping[str, object]) -> tuple[dict[str, object], bool]:
    """Arguments of ``VideoCrafterUNet``, and whether to checkpoint gradients.

    Which of the two references the params belong to is known by the keys that only one of them has.

    Raises:
        ConfigError: a key is unknown, missing or not supported.
    """
    where = "unet_config.params"
    kind = DynamiCrafterParams if _DYNAMICRAFTER_KEYS & params.keys() else VideoCrafterParams
    settings = kind.parse(params, where)
    settings.require(where, _ONLY)
    if settings.channel_mult[:1] != (1,):
        raise ConfigError(f"{where}.channel_mult = {list(settings.channel_mult)} is not supported: it begins with 1")
    if not 1 <= settings.num_head_channels <= settings.model_channels:
        raise ConfigError(
            f"{where}.num_head_channels = {settings.num_head_channels}: heads are of a fixed width, from 1 to"
            f" model_channels = {settings.model_channels}; num_heads = {settings.num_heads} is not supported instead"
        )
    return settings.config(), settings.use_checkpoint


class FirstStageParams(_LvdmSettings):
    """``ddconfig`` of lvdm's ``AutoencoderKL``."""

    ch: int = Field(ge=32, multiple_of=32)
    out_ch: int = Field(ge=1)
    in_channels: int = Field(ge=1)
    z_channels: int = Field(ge=1)
    num_res_blocks: int = Field(ge=1)
    resolution: int = Field(ge=1)
    attn_resolutions: tuple[int, ...]
    ch_mult: tuple[int, ...] = (1, 2, 4, 8)
    double_z: bool = True
    dropout: float = 0.0
    resamp_with_conv: bool = True
    use_linear_attn: bool = False
    attn_type: Literal["vanilla", "linear", "none"] = "vanilla"
    give_pre_end: bool = False
    tanh_out: bool = False

    def config(self) -> dict[str, object]:
        """Arguments of diffusers' ``AutoencoderKL``."""
        attends = [self.resolution // 2**level in self.attn_resolutions for level in range(len(self.ch_mult))]
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_ch,
            "block_out_channels": tuple(self.ch * factor for factor in self.ch_mult),
            "down_block_types": tuple("AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attends),
            "up_block_types": tuple("AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(attends)),
            "layers_per_block": self.num_res_blocks,
            "latent_channels": self.z_channels,
            "sample_size": self.resolution,
            "scaling_factor": 0.18215,
        }


def first_stage_config(ddconfig: Mapping[str, object]) -> dict[str, object]:
    """Arguments of diffusers' ``AutoencoderKL``.

    Raises:
        ConfigError: a key is unknown, missing or not supported.
    """
    settings = FirstStageParams.parse(ddconfig, "ddconfig")
    only: dict[str, object] = {
        "double_z": True,
        "dropout": 0.0,
        "resamp_with_conv": True,
        "use_linear_attn": False,
        "attn_type": "vanilla",
        "give_pre_end": False,
        "tanh_out": False,
    }
    settings.require("ddconfig", only)
    return settings.config()
