"""LTX-Video (HaCohen et al. 2024, arXiv 2501.00103), as diffusers' LTXImageToVideoPipeline animates with it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor

from motionfocal.errors import ConfigError
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.pipeline_model import PipelineFamily, PipelineModel, refuse_patches
from motionfocal.models.protocol import Condition, Tensors
from motionfocal.models.schedule import FlowSchedule, FlowSettings
from motionfocal.motion.latent import LatentSpec, from_layout, to_layout

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler

_TEXT_TOKENS = 128
"""``max_sequence_length`` of the stock pipeline."""


class Family(PipelineFamily):
    """Settings of LTX-Video."""

    pipelines: ClassVar = ("LTXPipeline", "LTXImageToVideoPipeline")
    """Not LTXConditionPipeline (0.9.5 and later), which places frames in time otherwise."""

    family: Literal["ltx"] = "ltx"
    weights: str = Field(
        description="A folder in diffusers' layout, or its name or name@revision on the hub: Lightricks/LTX-Video."
    )
    schedule: FlowSettings = Field(
        default_factory=FlowSettings,
        description="Noise in training. Its shift multiplies the one that grows with the number of tokens.",
    )

    def _model(self, seed: int) -> "LtxVideo":
        return LtxVideo(self)


class TokenShiftSchedule(FlowSchedule):
    """Rectified flow whose noise grows with the number of tokens, in training as in sampling.

    With mu linear in the tokens, logit(sigma) is moved by mu, as LTX trainers draw it: sigmoid(normal + mu). That is a
    shift by exp(mu).
    """

    def __init__(self, settings: FlowSettings, scheduler: "FlowMatchEulerDiscreteScheduler") -> None:
        """``scheduler`` knows mu at two numbers of tokens."""
        super().__init__(settings, scheduler, _set_timesteps)
        self._config = scheduler.config

    def draw(self, cells: int, rng: Generator) -> Tensor:
        """See ``Schedule``."""
        sigma = super().draw(cells, rng) / 1000
        shift = math.exp(_mu(self._config, cells))
        return 1000 * shift * sigma / (1 + (shift - 1) * sigma)


class LtxVideo(PipelineModel):
    """A ``VideoModel`` of 128 latent channels, 8 frames and 32 x 32 pixels a cell, the first frame alone (causal VAE).

    The network works on tokens ``[B,T'*h*w,128]``, time slowest. Latent frame 0 is given: its tokens are the image's
    latent at timestep 0, all others share the clip's timestep, and frame rate enters by the rotary positions. It
    predicts the flow noise - clean. Latents are (mode - mean) / std with the VAE's own statistics by channel.

    A VAE with timestep conditioning decodes at timestep 0 and without added noise, the stock pipeline's defaults. One
    that injects noise into its decoder does so from a fixed seed.
    """

    given_frames = 1
    pipeline_class = "LTXImageToVideoPipeline"

    def __init__(self, settings: Family) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than LTX-Video.
        """
        super().__init__(settings)
        refuse_patches(self.folder)
        self.spec = _latent_spec(self.folder)
        self.schedule = TokenShiftSchedule(settings.schedule, self.folder.load("scheduler"))

    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = (buffer.float().view(1, -1, 1, 1, 1) for buffer in (self.vae.latents_mean, self.vae.latents_std))
        return mean, std

    def _decoded(self, latents: Tensor) -> Tensor:
        """Clip by clip: a decoder that injects noise draws it from the global generator; there is no other door."""
        vae, clips = self.vae, []
        timestep = latents.new_zeros(1, dtype=vae.dtype) if vae.config.timestep_conditioning else None
        with torch.random.fork_rng([latents.device] if latents.is_cuda else []):
            for clip in latents.to(vae.dtype).split(1):
                torch.manual_seed(0)
                clips.append(vae.decode(clip, timestep).sample)
        return torch.cat(clips)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,128,D]`` and ``mask`` ``[B,128]``, false on padding.

        T5 itself sees the padding, as in the stock pipeline; the network's attention does not.
        """
        tokens = self._tokens(texts, _TEXT_TOKENS)
        return {"embeds": self.frozen("text_encoder")(tokens.input_ids)[0], "mask": tokens.attention_mask.bool()}

    def _blank_text(self, clips: int) -> Tensors:
        width = self.folder.config("transformer")["caption_channels"]
        return {
            "embeds": torch.zeros(clips, _TEXT_TOKENS, width, dtype=self.dtype),
            "mask": torch.zeros(clips, _TEXT_TOKENS, dtype=torch.bool),
        }

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = self.network_dtype
        frames, height, width = noisy.shape[2:]
        seconds = self.spec.temporal / condition.fps.float().view(-1, 1, 1, 1, 1)
        (prediction,) = self.network(
            hidden_states=to_layout(self.complete(noisy, condition), self.spec).to(dtype),
            encoder_hidden_states=condition.text["embeds"].to(dtype),
            encoder_attention_mask=condition.text["mask"],
            timestep=self._token_timesteps(timestep, noisy),
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(seconds, self.spec.spatial, self.spec.spatial),
            return_dict=False,
        )
        return from_layout(prediction.float(), self.spec, (frames, height, width))


def _latent_spec(folder: PipelineFolder) -> LatentSpec:
    vae = folder.config("vae")
    halved = 2 ** sum(vae["spatio_temporal_scaling"])
    return LatentSpec(
        channels=vae["latent_channels"],
        spatial=vae.get("spatial_compression_ratio") or vae["patch_size"] * halved,
        temporal=vae.get("temporal_compression_ratio") or vae["patch_size_t"] * halved,
        causal=vae["encoder_causal"],
        layout="tokens",
    )


def _mu(config: dict[str, float], cells: int) -> float:
    """mu at a number of tokens, on the line through the scheduler's two points; not bounded, as in the stock."""
    few, many = config["base_image_seq_len"], config["max_image_seq_len"]
    return config["base_shift"] + (config["max_shift"] - config["base_shift"]) * (cells - few) / (many - few)


def _set_timesteps(scheduler: "FlowMatchEulerDiscreteScheduler", steps: int, cells: int) -> None:
    """Even steps from sigma 1 to 1/steps, which the scheduler then shifts by mu and ends at its ``shift_terminal``."""
    if steps == 1 and scheduler.config.shift_terminal:
        raise ConfigError(
            f"steps is 1, and LTX-Video's scheduler runs from 1 to {scheduler.config.shift_terminal}: use 2"
        )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=_mu(scheduler.config, cells))
