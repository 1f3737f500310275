"""The VideoCrafter2 class: diffusers' ``UNet3DConditionModel`` with x-cat and an fps embedding.

VideoCrafter2's UNet is that class, tensor for tensor, plus one MLP on the sinusoid of the integer fps, added to the
timestep embedding. At the real size (the defaults of the class) it has 1.41 billion weights.
"""

from collections.abc import Sequence

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn


class TimeAndFpsEmbedding(nn.Module):
    """Timestep MLP plus fps MLP. It takes the place of the UNet's ``time_embedding``, fps in the ``condition`` slot."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.time = TimestepEmbedding(inputs, width)
        self.fps = TimestepEmbedding(inputs, width)

    def forward(self, sample: Tensor, condition: Tensor) -> Tensor:
        """Sinusoids of the timestep and of the fps ``[B,inputs]`` to an embedding ``[B,width]``."""
        return self.time(sample) + self.fps(condition)


class VideoCrafterUNet(nn.Module):
    """A denoiser of the x-cat family around diffusers' three-dimensional UNet."""

    def __init__(self, channels: int, widths: Sequence[int], text_width: int, head_width: int, layers: int) -> None:
        """``widths`` names the channels of each scale; all scales but the last attend to the text."""
        super().__init__()
        deeper = len(widths) - 1
        self.unet = UNet3DConditionModel(
            in_channels=2 * channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            down_block_types=("CrossAttnDownBlock3D",) * deeper + ("DownBlock3D",),
            up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * deeper,
            layers_per_block=layers,
            cross_attention_dim=text_width,
            attention_head_dim=head_width,
        )
        self.unet.time_embedding = TimeAndFpsEmbedding(widths[0], 4 * widths[0])

    def forward(self, noisy: Tensor, timestep: Tensor, image: Tensor, text: Tensor, fps: Tensor) -> Tensor:
        """``noisy`` and ``image`` ``[B,C,T,h,w]``, ``timestep`` and ``fps`` ``[B]``, ``text`` ``[B,L,D]``."""
        fps_sinusoid = self.unet.time_proj(fps.round()).to(noisy.dtype)
        sample = torch.cat([noisy, image], dim=1)
        return self.unet(sample, timestep, text, timestep_cond=fps_sinusoid).sample
