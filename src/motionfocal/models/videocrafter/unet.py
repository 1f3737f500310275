"""VideoCrafter's UNet: diffusers' layers under the names of ``UNet3DConditionModel``, plus what that class has not.

VideoCrafter2's UNet is ``UNet3DConditionModel``, tensor for tensor, plus one MLP on the sinusoid of the fps. Besides
that MLP, this class adds image tokens (VideoCrafter1, DynamiCrafter), gradient checkpointing, and two motion priors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.models.videocrafter import layers
from motionfocal.models.videocrafter.layers import GROUPS, Context, LayerSizes, over_time, recomputed

_SCORE_UNITS = 10
"""Sinusoids tell whole numbers apart: a motion score is told to a tenth of a pixel."""


class VideoCrafterUNet(ModelMixin, ConfigMixin):
    """A text-to-video or text-image-to-video denoiser; the defaults are VideoCrafter2's 1.41 billion weights.

    Loaded by ``from_pretrained`` like any of diffusers' models; ``enable_gradient_checkpointing`` trades time for
    memory without changing a digit.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("BasicTransformerBlock", "ResnetBlock2D", "TemporalConvLayer")

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        attention_levels: Sequence[bool] = (True, True, True, False),
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
        transformer_depth: int = 1,
        temporal_depth: int = 1,
        temporal_convolution: bool = True,
        temporal_attention: bool = True,
        input_attention: bool = True,
        dropout: float = 0.0,
        fps_condition: bool = True,
        default_fps: int = 16,
        image_attention: bool = False,
        image_gate: bool = False,
        text_tokens: int | None = None,
        frame_tokens: int | None = None,
        motion_score: bool = False,
        motion_mask: bool = False,
    ) -> None:
        """``block_out_channels`` are the widths of the scales, ``attention_levels`` which of them attend.

        ``in_channels`` are the channels of the sample: twice ``out_channels`` with x-cat. ``input_attention`` attends
        over time before the first scale. ``image_attention`` adds cross-attention to image tokens, ``image_gate`` a
        learned factor before it. Tokens of ``encoder_hidden_states`` from number ``text_tokens`` on are image tokens;
        when they are ``frame_tokens`` times as many as frames, each frame has its own. ``motion_score`` and
        ``motion_mask`` make the UNet take these priors.
        """
        super().__init__()
        first, embedding = block_out_channels[0], 4 * block_out_channels[0]
        _check_levels(block_out_channels, attention_levels)
        sizes = LayerSizes(
            embedding=embedding,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
            transformer_depth=transformer_depth,
            temporal_depth=temporal_depth,
            temporal_convolution=temporal_convolution,
            temporal_attention=temporal_attention,
            dropout=dropout,
            image_attention=image_attention,
            image_gate=image_gate,
        )
        self.conv_in = nn.Conv2d(in_channels + motion_mask, first, 3, padding=1)
        self.time_proj = Timesteps(first, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(first, embedding)
        self.fps_embedding = TimestepEmbedding(first, embedding) if fps_condition else None
        self.motion_score_embedding = TimestepEmbedding(first, embedding) if motion_score else None
        # Eight heads at any width; its depth is that of the spatial transformers, as in lvdm.
        self.transformer_in = sizes.temporal(first, 8, transformer_depth) if input_attention else None
        self.down_blocks, self.up_blocks = _levels(sizes, block_out_channels, attention_levels, layers_per_block)
        self.mid_block = layers.MiddleLevel(sizes, block_out_channels[-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, first, eps=1e-5)
        self.conv_out = nn.Conv2d(first, out_channels, 3, padding=1)
        self.gradient_checkpointing = False
        self._silence_priors()

    @torch.no_grad()
    def _silence_priors(self) -> None:
        """At first, the motion priors change nothing."""
        self.conv_in.weight[:, self.config.in_channels :].zero_()
        if self.motion_score_embedding is not None:
            self.motion_score_embedding.linear_2.weight.zero_()
            self.motion_score_embedding.linear_2.bias.zero_()

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        fps: Tensor | float | None = None,
        image_tokens: Tensor | None = None,
        motion_score: Tensor | None = None,
        motion_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the target ``[B,out_channels,T,h,w]`` for a noisy sample ``[B,in_channels,T,h,w]``.

        ``timestep`` is ``[B]``, ``encoder_hidden_states`` ``[B,L,D]`` the text's tokens. ``fps``, ``[B]`` or one for
        all, is ``default_fps`` when not given, and ignored by a UNet without ``fps_condition``. ``image_tokens`` are
        ``[B,N,D]``, or ``[B,T,N,D]`` with some for each frame. ``motion_score`` ``[B]`` in pixels a frame is not said
        where it is below 0; ``motion_mask`` is ``[B,1,T,h,w]`` or, for all frames, ``[B,1,1,h,w]``, 1 where something
        may move.

        Raises:
            ShapeError: a tensor is not of the shape above.
            ConfigError: image tokens or a motion prior are given to a UNet that does not take them.
        """
        self._check(sample, encoder_hidden_states, image_tokens, motion_score, motion_mask)
        frames = sample.shape[2]
        embedding = self._embedding(sample, timestep, fps, motion_score).repeat_interleave(frames, dim=0)
        context = self._context(encoder_hidden_states, image_tokens, frames)
        hidden = self.conv_in(self._with_mask(sample, motion_mask).transpose(1, 2).flatten(0, 1))
        if self.transformer_in is not None:
            hidden = recomputed(self, over_time, self.transformer_in, hidden, frames)
        skips = [hidden]
        for level in self.down_blocks:
            skips += level(skips[-1], embedding, context, frames)
        hidden = self.mid_block(skips[-1], embedding, context, frames)
        for level in self.up_blocks:
            hidden = level(hidden, skips, embedding, context, frames)
        hidden = self.conv_out(F.silu(self.conv_norm_out(hidden)))
        return hidden.unflatten(0, (-1, frames)).transpose(1, 2)

    def _check(
        self,
        sample: Tensor,
        text: Tensor,
        image_tokens: Tensor | None,
        motion_score: Tensor | None,
        motion_mask: Tensor | None,
    ) -> None:
        _require_shape("a sample", sample, (None, self.config.in_channels, None, None, None))
        batch, _, frames, height, width = sample.shape
        _require_shape("encoder_hidden_states", text, (batch, None, self.config.cross_attention_dim))
        tokens: list[int | None] = [batch, frames, None, self.config.cross_attention_dim]
        if image_tokens is not None and image_tokens.ndim == 3:
            del tokens[1]  # the same for all frames
        still = motion_mask is not None and motion_mask.ndim == 5 and motion_mask.shape[2] == 1
        given = {
            "image_attention": (image_tokens, tokens),
            "motion_score": (motion_score, (batch,)),
            "motion_mask": (motion_mask, (batch, 1, 1 if still else frames, height, width)),
        }
        for option, (value, shape) in given.items():
            if value is None:
                continue
            if not self.config[option]:
                raise ConfigError(f"the UNet was made without {option}, and cannot take what was given for it")
            _require_shape(option, value, shape)

    def _embedding(self, sample: Tensor, timestep: Tensor, fps: Tensor | float | None, score: Tensor | None) -> Tensor:
        """Of the timestep, the fps and the motion score, ``[B,E]``."""
        embedding = self.time_embedding(self._sinusoid(timestep, sample))
        if self.fps_embedding is not None:
            fps = self.config.default_fps if fps is None else fps
            embedding = embedding + self.fps_embedding(self._sinusoid(fps, sample))
        if self.motion_score_embedding is not None and score is not None:
            said = (score >= 0).to(sample)[:, None]
            embedding = embedding + said * self.motion_score_embedding(self._sinusoid(_SCORE_UNITS * score, sample))
        return embedding

    def _sinusoid(self, value: Tensor | float, sample: Tensor) -> Tensor:
        """``[B,C]`` of one value for all or of ``[B]``, computed in float32."""
        values = torch.as_tensor(value, device=sample.device).expand(len(sample))
        return self.time_proj(values).to(sample.dtype)

    def _context(self, text: Tensor, image: Tensor | None, frames: int) -> Context:
        """The tokens that each frame attends to."""
        text_tokens, frame_tokens = self.config.text_tokens, self.config.frame_tokens
        if image is None and text_tokens is not None:
            text, image = text[:, :text_tokens], text[:, text_tokens:]
            if frame_tokens is not None and image.shape[1] == frame_tokens * frames:
                image = image.unflatten(1, (frames, frame_tokens))
        text = text.repeat_interleave(frames, dim=0)
        if not self.config.image_attention:
            return text
        if image is None or image.shape[-2] == 0:
            return text, None
        return text, image.flatten(0, 1) if image.ndim == 4 else image.repeat_interleave(frames, dim=0)

    def _with_mask(self, sample: Tensor, mask: Tensor | None) -> Tensor:
        """The sample with the motion mask as one more channel; ones where nothing was said."""
        if not self.config.motion_mask:
            return sample
        channel = sample[:, :1]
        return torch.cat([sample, torch.ones_like(channel) if mask is None else mask.expand_as(channel)], dim=1)


def _require_shape(name: str, tensor: Tensor, shape: Sequence[int | None]) -> None:
    """Refuse a tensor of another shape; None stands for any length."""
    if tensor.ndim != len(shape) or any(b not in (None, a) for a, b in zip(tensor.shape, shape, strict=True)):
        expected = ["any" if length is None else length for length in shape]
        raise ShapeError(f"{name}: expected {expected}, got {list(tensor.shape)}".replace("'any'", "any"))


def _check_levels(widths: Sequence[int], attention_levels: Sequence[bool]) -> None:
    """Raise ConfigError for scales that cannot be built."""
    if any(width % GROUPS for width in widths):
        raise ConfigError(f"block_out_channels {list(widths)}: widths are multiples of {GROUPS}")
    if len(attention_levels) != len(widths):
        raise ConfigError("attention_levels needs one entry for each of block_out_channels")


def _levels(
    sizes: LayerSizes, widths: Sequence[int], attends: Sequence[bool], depth: int
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The scales on the way down, and on the way up, with ``depth`` residual blocks down and one more up."""
    skips, last = [widths[0]], len(widths) - 1
    down, up = nn.ModuleList(), nn.ModuleList()
    for level, width in enumerate(widths):
        inputs = [skips[-1], *[width] * (depth - 1)]
        down.append(layers.DownLevel(sizes, inputs, width, attends=attends[level], last=level == last))
        skips += [width] * (depth + (level != last))
    below = widths[-1]
    for level in reversed(range(len(widths))):
        inputs = [skips.pop() + (widths[level] if index else below) for index in range(depth + 1)]
        up.append(layers.UpLevel(sizes, inputs, widths[level], attends=attends[level], last=level == 0))
        below = widths[level]
    return down, up
