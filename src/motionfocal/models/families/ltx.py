"""LTX-Video (HaCohen et al. 2024, arXiv 2501.00103), as diffusers' LTXImageToVideoPipeline animates with it."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from motionfocal.errors import CheckpointError, ConfigError
from motionfocal.models.family import FamilySettings
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import NO_PRIORS, ClipShape, Condition, Schedule, Tensors, VideoModel
from motionfocal.models.schedule import FlowSchedule, FlowSettings
from motionfocal.motion.latent import LatentSpec, from_layout, to_layout

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler
    from transformers import PreTrainedTokenizerBase, T5EncoderModel

_PIPELINES = ("LTXPipeline", "LTXImageToVideoPipeline")
"""Folders of these classes fit. LTXConditionPipeline (0.9.5 and later) places frames in time otherwise."""

_TEXT_TOKENS = 128
"""``max_sequence_length`` of the stock pipeline."""


class Family(FamilySettings):
    """Settings of LTX-Video."""

    family: Literal["ltx"] = "ltx"
    weights: str = Field(description="A folder in diffusers' layout, or its name on the hub: Lightricks/LTX-Video.")
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Of the network and the frozen parts as loaded."
    )
    schedule: FlowSettings = Field(
        default_factory=FlowSettings,
        description="Noise in training. Its shift multiplies the one that grows with the number of tokens.",
    )

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``; nothing is drawn."""
        model = LtxVideo(PipelineFolder(self.weights), self.schedule, getattr(torch, self.dtype))
        model.check(shape)
        return model


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


class LtxVideo:
    """A ``VideoModel`` of 128 latent channels, 8 frames and 32 x 32 pixels a cell, the first frame alone (causal VAE).

    The network works on tokens ``[B,T'*h*w,128]``, time slowest. Latent frame 0 is given: its tokens are the image's
    latent at timestep 0, all others share the clip's timestep, and frame rate enters by the rotary positions. It
    predicts the flow noise - clean. Latents are (mode - mean) / std with the VAE's own statistics by channel.

    A VAE with timestep conditioning decodes at timestep 0 and without added noise, the stock pipeline's defaults. One
    that injects noise into its decoder does so from a fixed seed.

    The network, the VAE and T5 are loaded when first used, the latter two onto the device of the frames last seen.
    """

    given_frames = 1
    priors = NO_PRIORS
    pipeline_class: str | None = "LTXImageToVideoPipeline"

    def __init__(self, folder: PipelineFolder, schedule: FlowSettings, dtype: torch.dtype) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than LTX-Video.
        """
        _refuse_others(folder)
        self._folder, self._dtype = folder, dtype
        self._network: nn.Module | None = None
        self._device = torch.device("cpu")
        self.spec = _latent_spec(folder)
        self.schedule: Schedule = TokenShiftSchedule(schedule, folder.load("scheduler"))

    @property
    def network(self) -> nn.Module:
        """See ``VideoModel``: LTXVideoTransformer3DModel."""
        if self._network is None:
            self._network = self._folder.load("transformer", self._dtype).requires_grad_()
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self._network = network

    @cached_property
    def vae(self) -> "AutoencoderKLLTXVideo":
        """The first stage."""
        return self._folder.load("vae", self._dtype)

    @cached_property
    def text_encoder(self) -> "T5EncoderModel":
        """T5 v1.1 XXL."""
        return self._folder.load("text_encoder", self._dtype)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Of T5."""
        return self._folder.load("tokenizer")

    @property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``."""
        return {"transformer": self.network}

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``: 8k + 1 frames, sides in multiples of 32."""
        self.spec.grid(shape.frames, shape.height, shape.width)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``: the posterior's mode, clip by clip to save memory.

        Raises:
            ShapeError: the frames do not fit the grid, which the VAE would not always notice.
        """
        self.spec.grid(*frames.shape[1:4])
        self._device = frames.device
        vae = self.vae.to(frames.device)
        modes = torch.cat([vae.encode(self._pixels(clip)).latent_dist.mode() for clip in frames.split(1)])
        mean, std = self._statistics()
        return (modes.float() - mean) / std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``; clip by clip to save memory."""
        self._device = latents.device
        vae = self.vae.to(latents.device)
        mean, std = self._statistics()
        clips = (latents * std + mean).to(self._dtype).split(1)
        timestep = latents.new_zeros(1, dtype=self._dtype) if vae.config.timestep_conditioning else None
        with torch.random.fork_rng([latents.device] if latents.is_cuda else []):
            return torch.cat([_decode_seeded(vae, clip, timestep) for clip in clips])

    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: the image's latent ``[B,C,1,h,w]``."""
        return {"latent": self.encode(images[:, None])}

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,128,D]`` and ``mask`` ``[B,128]``, false on padding.

        T5 itself sees the padding, as in the stock pipeline; the network's attention does not.
        """
        encoder = self.text_encoder.to(self._device)
        tokens = self.tokenizer(
            list(texts), padding="max_length", max_length=_TEXT_TOKENS, truncation=True, return_tensors="pt"
        ).to(self._device)
        return {"embeds": encoder(tokens.input_ids)[0], "mask": tokens.attention_mask.bool()}

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = next(self.network.parameters()).dtype
        frames, height, width = noisy.shape[2:]
        seconds = self.spec.temporal / condition.fps.float().view(-1, 1, 1, 1, 1)
        (prediction,) = self.network(
            hidden_states=to_layout(self.complete(noisy, condition), self.spec).to(dtype),
            encoder_hidden_states=condition.text["embeds"].to(dtype),
            encoder_attention_mask=condition.text["mask"],
            timestep=self._token_timesteps(noisy, timestep),
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(seconds, self.spec.spatial, self.spec.spatial),
            return_dict=False,
        )
        return from_layout(prediction.float(), self.spec, (frames, height, width))

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        return torch.cat([condition.image["latent"].to(latents), latents[:, :, self.given_frames :]], dim=2)

    def _token_timesteps(self, noisy: Tensor, timestep: Tensor) -> Tensor:
        """The timestep of every token ``[B,T'*h*w]``: 0 on those that are given."""
        of_cells = timestep.float().view(-1, 1, 1, 1, 1).repeat(1, 1, *noisy.shape[2:])
        of_cells[:, :, : self.given_frames] = 0
        return to_layout(of_cells, self.spec)[..., 0]

    def _pixels(self, frames: Tensor) -> Tensor:
        """Frames uint8 ``[B,T,H,W,3]`` as ``[B,3,T,H,W]`` in [-1, 1]."""
        return (frames.movedim(-1, 1).float() / 255 * 2 - 1).to(self._dtype)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the VAE's latents, ``[1,C,1,1,1]``."""
        mean, std = (buffer.float().view(1, -1, 1, 1, 1) for buffer in (self.vae.latents_mean, self.vae.latents_std))
        return mean, std


def _refuse_others(folder: PipelineFolder) -> None:
    """Refuse a folder of another family, or a network that patches the latents once more."""
    name = folder.index.get("_class_name")
    if name not in _PIPELINES:
        family = str(name).removesuffix("Pipeline").removesuffix("ImageToVideo").lower()
        raise CheckpointError(
            f"{folder.folder}: the weights of {name}, not of {' or '.join(_PIPELINES)};"
            f" set model.family to {family}, if there is one"
        )
    network = folder.config("transformer")
    if (network["patch_size"], network["patch_size_t"]) != (1, 1):
        raise CheckpointError(
            f"{folder.folder}: the network patches {network['patch_size_t']} x {network['patch_size']} latent cells,"
            " and only patches of one cell are known of LTX-Video"
        )


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


def _decode_seeded(vae: "AutoencoderKLLTXVideo", clip: Tensor, timestep: Tensor | None) -> Tensor:
    """Frames of one clip. A decoder that injects noise draws it from the global generator; there is no other door."""
    torch.manual_seed(0)
    pixels = vae.decode(clip, timestep).sample
    return ((pixels * 0.5 + 0.5).clamp(0, 1).float() * 255).round().to(torch.uint8).movedim(1, -1)


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
