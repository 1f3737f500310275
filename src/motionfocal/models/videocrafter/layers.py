"""One scale of VideoCrafter's UNet, made of diffusers' layers, and its second cross-attention, to image tokens.

Activations are ``[B*T,C,h,w]``, frames fastest inside a clip. A context is the text's tokens ``[B*T,L,D]``, or a pair
of text and image tokens (the latter ``[B*T,N,D]`` or None) where the UNet attends to images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import Downsample2D, ResnetBlock2D, TemporalConvLayer, Upsample2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

Context = Tensor | tuple[Tensor, Tensor | None]

GROUPS = 32
"""Channels are normalised in so many groups, so that every width is a multiple of it."""


@dataclass(frozen=True)
class LayerSizes:
    """What all scales of a UNet share; the names are those of ``VideoCrafterUNet``."""

    embedding: int
    cross_attention_dim: int
    attention_head_dim: int
    transformer_depth: int
    temporal_depth: int
    temporal_convolution: bool
    temporal_attention: bool
    dropout: float
    image_attention: bool
    image_gate: bool

    def resnet(self, inputs: int, width: int) -> ResnetBlock2D:
        """A residual block that hears the embedding."""
        return ResnetBlock2D(
            in_channels=inputs, out_channels=width, temb_channels=self.embedding, eps=1e-5, dropout=self.dropout
        )

    def spatial(self, width: int) -> Transformer2DModel:
        """Attention over the places of a frame and to the context."""
        transformer = Transformer2DModel(
            width // self.attention_head_dim,
            self.attention_head_dim,
            in_channels=width,
            num_layers=self.transformer_depth,
            cross_attention_dim=self.cross_attention_dim,
            use_linear_projection=True,
        )
        if self.image_attention:
            for block in transformer.transformer_blocks:
                block.attn2.set_processor(ImageCrossAttention(block.attn2, self.image_gate))
        return transformer

    def temporal(self, width: int, heads: int, depth: int) -> TransformerTemporalModel:
        """Attention over the frames at each place, twice a block."""
        return TransformerTemporalModel(heads, self.attention_head_dim, in_channels=width, num_layers=depth)


class ImageCrossAttention(nn.Module):
    """An attention processor that adds attention to image tokens: text + image, or text + (tanh(gate) + 1) image.

    The image branch has its own keys and values and shares the queries (IP-Adapter, Ye et al. 2023; VideoCrafter1 and
    DynamiCrafter, whose 256-pixel model has the gate).
    """

    def __init__(self, attention: Attention, gate: bool) -> None:
        super().__init__()
        self.to_k_ip = nn.Linear(attention.cross_attention_dim, attention.inner_dim, bias=False)
        self.to_v_ip = nn.Linear(attention.cross_attention_dim, attention.inner_dim, bias=False)
        self.alpha = nn.Parameter(torch.zeros(())) if gate else None

    def forward(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: tuple[Tensor, Tensor | None],
        attention_mask: None = None,
    ) -> Tensor:
        """As diffusers calls its processors: ``[N,P,C]`` and the context to ``[N,P,C]``."""
        text, image = encoder_hidden_states
        query = attention.to_q(hidden_states)
        seen = _attend(query, attention.to_k(text), attention.to_v(text), attention.heads)
        if image is not None:
            in_image = _attend(query, self.to_k_ip(image), self.to_v_ip(image), attention.heads)
            seen = seen + (in_image if self.alpha is None else in_image * (self.alpha.tanh() + 1))
        project, dropout = attention.to_out
        return dropout(project(seen))


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class Level(nn.Module):
    """Residual blocks at one scale; after each a temporal convolution, then spatial and temporal attention.

    With gradient checkpointing, each of the three is computed again in the backward pass (the spatial transformer
    sees to its own blocks).
    """

    def __init__(self, sizes: LayerSizes, inputs: Sequence[int], width: int, attentions: int) -> None:
        """``inputs`` are the channels that enter each residual block; attention follows the first ``attentions``."""
        super().__init__()
        heads, convolutions = width // sizes.attention_head_dim, len(inputs) * sizes.temporal_convolution
        over_time = range(attentions * sizes.temporal_attention)
        self.resnets = nn.ModuleList(sizes.resnet(channels, width) for channels in inputs)
        self.temp_convs = nn.ModuleList(TemporalConvLayer(width, width, dropout=0.1) for _ in range(convolutions))
        self.attentions = nn.ModuleList(sizes.spatial(width) for _ in range(attentions))
        self.temp_attentions = nn.ModuleList(sizes.temporal(width, heads, sizes.temporal_depth) for _ in over_time)
        self.gradient_checkpointing = False

    def layer(self, index: int, hidden: Tensor, embedding: Tensor, context: Context, frames: int) -> Tensor:
        """One residual block with all that follows it."""
        hidden = recomputed(self, self._convolve, index, hidden, embedding, frames)
        if index < len(self.attentions):
            hidden = self.attentions[index](hidden, context, return_dict=False)[0]
        if index < len(self.temp_attentions):
            hidden = recomputed(self, over_time, self.temp_attentions[index], hidden, frames)
        return hidden

    def _convolve(self, index: int, hidden: Tensor, embedding: Tensor, frames: int) -> Tensor:
        hidden = self.resnets[index](hidden, embedding)
        return self.temp_convs[index](hidden, frames) if self.temp_convs else hidden


def over_time(transformer: TransformerTemporalModel, hidden: Tensor, frames: int) -> Tensor:
    """Attention over the frames at each place."""
    return transformer(hidden, num_frames=frames, return_dict=False)[0]


def recomputed(owner: nn.Module, function: Callable[..., Tensor], *arguments: object) -> Tensor:
    """``function(*arguments)``, computed again in the backward pass where ``owner`` checkpoints its gradients."""
    if owner.gradient_checkpointing and torch.is_grad_enabled():
        recompute: Callable[..., Tensor] = getattr(owner, "_gradient_checkpointing_func")  # noqa: B009 - ModelMixin's
        return recompute(function, *arguments)
    return function(*arguments)


class DownLevel(Level):
    """A scale on the way down."""

    def __init__(self, sizes: LayerSizes, inputs: Sequence[int], width: int, *, attends: bool, last: bool) -> None:
        super().__init__(sizes, inputs, width, len(inputs) * attends)
        samplers = [] if last else [Downsample2D(width, use_conv=True, out_channels=width, name="op")]
        self.downsamplers = nn.ModuleList(samplers)

    def forward(self, hidden: Tensor, embedding: Tensor, context: Context, frames: int) -> list[Tensor]:
        """The activations after each step; the last goes on, all are kept for the way up."""
        steps = []
        for index in range(len(self.resnets)):
            hidden = self.layer(index, hidden, embedding, context, frames)
            steps.append(hidden)
        return steps + [sampler(hidden) for sampler in self.downsamplers]


class MiddleLevel(Level):
    """The coarsest scale between the ways down and up: two residual blocks with attention between them."""

    def __init__(self, sizes: LayerSizes, width: int) -> None:
        super().__init__(sizes, (width, width), width, 1)

    def forward(self, hidden: Tensor, embedding: Tensor, context: Context, frames: int) -> Tensor:
        """Activations of the same shape."""
        for index in range(len(self.resnets)):
            hidden = self.layer(index, hidden, embedding, context, frames)
        return hidden


class UpLevel(Level):
    """A scale on the way up."""

    def __init__(self, sizes: LayerSizes, inputs: Sequence[int], width: int, *, attends: bool, last: bool) -> None:
        super().__init__(sizes, inputs, width, len(inputs) * attends)
        samplers = [] if last else [Upsample2D(width, use_conv=True, out_channels=width)]
        self.upsamplers = nn.ModuleList(samplers)

    def forward(self, hidden: Tensor, skips: list[Tensor], embedding: Tensor, context: Context, frames: int) -> Tensor:
        """Take one activation off ``skips`` a residual block; scaled up to the size of the next one there."""
        for index in range(len(self.resnets)):
            hidden = torch.cat([hidden, skips.pop()], dim=1)
            hidden = self.layer(index, hidden, embedding, context, frames)
        for sampler in self.upsamplers:
            hidden = sampler(hidden, skips[-1].shape[-2:])
        return hidden
