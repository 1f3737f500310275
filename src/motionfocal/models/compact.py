"""The worlds' own denoiser: a UNet of about a million weights that learns on one CPU core.

Two-dimensional residual blocks work frame by frame and know the frame's number; attention over time joins the frames
at both scales; attention over space and to the text stands at the coarse scale alone, where it is cheap.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motionfocal.models.xcat import mask_channel, score_or_unsaid

Grid = tuple[int, int]
"""Height and width in places."""

_SCORE_UNITS = 10
"""Sinusoids tell whole numbers apart: a motion score is told to a tenth of a pixel."""


def sinusoid(position: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding ``[B,width]`` of ``[B]``, cosines first (Vaswani et al. 2017, in diffusers' order)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=position.device) / (width // 2))
    angles = position[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResidualBlock(nn.Module):
    """Norm, convolution, scale and shift by the embedding, convolution; on ``[B*T,C,h,w]``."""

    def __init__(self, inputs: int, width: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.norm2 = nn.GroupNorm(8, width)
        self.conv2 = zero(nn.Conv2d(width, width, 3, padding=1))
        self.skip = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """``x`` ``[B*T,C,h,w]`` and the embedding of its timestep, fps, text and frame ``[B*T,E]``."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.norm2(hidden) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(hidden))


class Attention(nn.Module):
    """Residual attention of tokens ``[N,L,C]`` to themselves or to a context ``[N,M,D]``."""

    def __init__(self, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context or width, 2 * width, bias=False)
        self.out = zero(nn.Linear(width, width))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens of the shape of ``x``."""
        hidden = self.norm(x)
        key, value = self.key_value(hidden if context is None else context).chunk(2, dim=-1)
        query, key, value = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (self.query(hidden), key, value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class TimeAttention(nn.Module):
    """Attention over the frames at each place, with a learned embedding of the frame's number."""

    def __init__(self, width: int, heads: int, max_frames: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(max_frames, width) * 0.1)
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """``x`` ``[B*T,C,h,w]`` of clips of so many frames."""
        height, width = x.shape[-2:]
        tokens = x.unflatten(0, (-1, frames)).permute(0, 3, 4, 1, 2).flatten(0, 2)
        tokens = self.attention(tokens + self.places[:frames])
        return tokens.unflatten(0, (-1, height, width)).permute(0, 3, 4, 1, 2).flatten(0, 1)


class ImageTokens(nn.Module):
    """The first frame as tokens: one for each place of the coarse scale, with a learned embedding of the place."""

    def __init__(self, channels: int, width: int, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.project = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.places = nn.Parameter(torch.randn(math.prod(grid), width) * 0.1)

    def forward(self, latent: Tensor) -> Tensor:
        """Tokens ``[B,h/2*w/2,width]`` of latents ``[B,C,h,w]``."""
        image = self.project(latent)
        return image.flatten(2).transpose(1, 2) + _at(self.places, self.grid, *image.shape[-2:])


class SpaceTextAttention(nn.Module):
    """Attention over the places of each frame, then of all places to the text and to the image's tokens, if any."""

    def __init__(self, width: int, heads: int, context: int, grid: Grid, *, image: bool) -> None:
        super().__init__()
        self.grid = grid
        self.places = nn.Parameter(torch.randn(math.prod(grid), width) * 0.1)
        self.space = Attention(width, heads)
        self.text = Attention(width, heads, context)
        self.image = Attention(width, heads, width) if image else None

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None) -> Tensor:
        """``x`` ``[B*T,C,h,w]``, the clips' texts ``[B,L,D]`` and the tokens of their images ``[B,P,C]``."""
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.space(tokens + _at(self.places, self.grid, height, width))
        clips = self.text(tokens.unflatten(0, (len(text), -1)).flatten(1, 2), text)
        if self.image is not None:
            clips = self.image(clips, image)
        return clips.view_as(tokens).transpose(1, 2).unflatten(2, (height, width))


class CompactUNet(nn.Module):
    """Two scales, text by attention and modulation, fps beside the timestep.

    The image's latent stands beside the noisy ones (``xcat``), enters as tokens by attention alone
    (``image_attention``), or both. ``grid`` is the height and width of the coarse scale of the largest clips.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        text_width: int,
        *,
        max_frames: int,
        grid: Grid,
        xcat: bool,
        image_attention: bool,
        motion_score: bool,
        motion_mask: bool,
        heads: int = 4,
    ) -> None:
        super().__init__()
        wide, embedding = 2 * width, 4 * width
        self.width, self.xcat, self.takes_mask = width, xcat, motion_mask
        latents = (1 + xcat) * channels
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.fps = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.frame = nn.Embedding(max_frames, embedding)
        self.text = nn.Linear(text_width, embedding)
        self.conv_in = nn.Conv2d(latents + motion_mask, width, 3, padding=1)
        self.enter = ResidualBlock(width, width, embedding)
        self.down = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(ResidualBlock(wide, wide, embedding) for _ in range(2))
        self.middle_space = nn.ModuleList(
            SpaceTextAttention(wide, heads, text_width, grid, image=image_attention) for _ in range(2)
        )
        self.middle_time = nn.ModuleList(TimeAttention(wide, heads, max_frames) for _ in range(2))
        self.up = nn.Conv2d(wide, width, 1)
        self.leave = ResidualBlock(width, width, embedding)
        self.shortcut = zero(nn.Linear(embedding, latents))
        self.norm_out = nn.GroupNorm(8, width)
        self.conv_out = zero(nn.Conv2d(width, channels, 3, padding=1))
        self.score = (
            nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), zero(nn.Linear(embedding, embedding)))
            if motion_score
            else None
        )
        self.image = ImageTokens(channels, wide, grid) if image_attention else None

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        image: Tensor,
        text: Tensor,
        fps: Tensor,
        motion_score: Tensor | None,
        motion_mask: Tensor | None,
    ) -> Tensor:
        """See ``Denoiser``."""
        batch, _, frames = noisy.shape[:3]
        embedding = self.time(sinusoid(timestep, self.width)) + self.fps(sinusoid(fps, self.width))
        embedding = embedding + self.text(text.mean(dim=1))
        if self.score is not None:
            score = score_or_unsaid(motion_score, fps)
            embedding = embedding + self.score(sinusoid(_SCORE_UNITS * score, self.width))
        embedding = F.silu(embedding[:, None] + self.frame.weight[:frames]).flatten(0, 1)
        shortcut = self.shortcut(embedding)[:, :, None, None].chunk(1 + self.xcat, dim=1)

        latents = [_frame_by_frame(y) for y in ([noisy, image] if self.xcat else [noisy])]
        mask = [_frame_by_frame(mask_channel(motion_mask, noisy))] if self.takes_mask else []
        tokens = None if self.image is None else self.image(image[:, :, 0])
        x = torch.cat([*latents, *mask], dim=1).contiguous(memory_format=torch.channels_last)
        x = self.enter(self.conv_in(x), embedding)
        skip = x
        x = self.down(x)
        for residual, space, time in zip(self.middle, self.middle_space, self.middle_time, strict=True):
            x = time(space(residual(x, embedding), text, tokens), frames)
        x = F.interpolate(self.up(x), size=skip.shape[-2:], mode="nearest") + skip
        x = self.leave(x, embedding)
        x = self.conv_out(F.silu(self.norm_out(x)))
        for scale, latent in zip(shortcut, latents, strict=True):
            x = x + scale * latent
        return x.unflatten(0, (batch, frames)).transpose(1, 2)


def _at(places: Tensor, grid: Grid, height: int, width: int) -> Tensor:
    """Of the embeddings ``[H*W,C]`` of a grid's places, those of its upper left part, ``[height*width,C]``."""
    return places.unflatten(0, grid)[:height, :width].flatten(0, 1)


def _frame_by_frame(clips: Tensor) -> Tensor:
    """``[B*T,C,h,w]`` of ``[B,C,T,h,w]``."""
    return clips.transpose(1, 2).flatten(0, 1)


def zero(layer: nn.Module) -> nn.Module:
    """Start a residual branch at zero, so that the block begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
