"""HunyuanVideo-1.5 (Tencent 2025, arXiv 2511.18870), as diffusers' image-to-video pipeline animates with it."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import CheckpointError
from motionfocal.models.family import FamilySettings
from motionfocal.models.pipeline_folder import PipelineFolder
from motionfocal.models.protocol import NO_PRIORS, ClipShape, Condition, Schedule, Tensors, VideoModel
from motionfocal.models.schedule import FlowSchedule, FlowSettings
from motionfocal.motion.latent import LatentSpec

if TYPE_CHECKING:
    from diffusers import AutoencoderKLHunyuanVideo15, FlowMatchEulerDiscreteScheduler
    from transformers import (
        PreTrainedTokenizerBase,
        Qwen2_5_VLTextModel,
        SiglipImageProcessor,
        SiglipVisionModel,
        T5EncoderModel,
    )

_PIPELINE = "HunyuanVideo15ImageToVideoPipeline"

_GAP = 8 * " "
_SYSTEM = _GAP.join((
    "You are a helpful assistant. Describe the video by detailing the following aspects: ",
    "1. The main content and theme of the video. ",
    "2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects. ",
    "3. Actions, events, behaviors temporal relationships, physical movement changes of the objects. ",
    "4. background environment, light, style and atmosphere. ",
    "5. camera angles, movements, and transitions used in the video.",
))  # fmt: skip
"""What the language model was told when the network was trained, down to the eight spaces before each number."""

_SYSTEM_TOKENS, _TEXT_TOKENS, _GLYPH_TOKENS = 108, 1000, 256
"""Tokens before the text, which the network does not see; of the text; of what the text quotes."""

_LAYER = -3
"""The language model's states that the network reads: those two layers below the last."""

_QUOTED = re.compile('"(.*?)"|“(.*?)”')


class Family(FamilySettings):
    """Settings of HunyuanVideo-1.5."""

    family: Literal["hunyuanvideo15"] = "hunyuanvideo15"
    weights: str = Field(
        description="A folder in diffusers' layout, or its name on the hub:"
        " hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_i2v or 720p_i2v."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Of the network and the frozen parts as loaded."
    )
    schedule: FlowSettings = Field(
        FlowSettings(shift=3.0), description="Training's draw of sigma; sampling goes by the folder's own scheduler."
    )

    def build(self, shape: ClipShape, seed: int) -> VideoModel:
        """See ``FamilySettings``; nothing is drawn."""
        model = HunyuanVideo15(PipelineFolder(self.weights), self.schedule, getattr(torch, self.dtype))
        model.check(shape)
        return model


class HunyuanVideo15:
    """A ``VideoModel`` of 32 latent channels, 4 frames and 16 x 16 pixels a cell, the first frame alone (causal VAE).

    The network takes 65 channels: the noisy latents, the image's latent in frame 0 with zeros after it, and a mask that
    is 1 in frame 0. It also attends to tokens of the image (SigLIP), of the text (Qwen2.5-VL's language model, in the
    chat that it was trained with) and of what the text puts in quotation marks (ByT5), and generates all frames. It
    predicts the flow noise - clean. Latents are the posterior's mode times the VAE's scaling factor.

    The frame rate does not enter. The timestep is rounded to the network's dtype, as in the stock pipeline: in bfloat16
    to multiples of 4 near 1000.

    The network, the VAE and the encoders are loaded when first used, the frozen ones onto the device of the frames last
    seen.
    """

    given_frames = 0
    priors = NO_PRIORS
    pipeline_class: str | None = _PIPELINE

    def __init__(self, folder: PipelineFolder, schedule: FlowSettings, dtype: torch.dtype) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than HunyuanVideo-1.5 image-to-video.
        """
        _refuse_others(folder)
        self._folder, self._dtype = folder, dtype
        self._network: nn.Module | None = None
        self._device = torch.device("cpu")
        vae = folder.config("vae")
        self.spec = LatentSpec(
            channels=vae["latent_channels"],
            spatial=vae["spatial_compression_ratio"],
            temporal=vae["temporal_compression_ratio"],
            causal=True,
        )
        self.schedule: Schedule = FlowSchedule(schedule, folder.load("scheduler"), _set_timesteps)

    @property
    def network(self) -> nn.Module:
        """See ``VideoModel``: HunyuanVideo15Transformer3DModel."""
        if self._network is None:
            self._network = self._folder.load("transformer", self._dtype).requires_grad_()
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self._network = network

    @cached_property
    def vae(self) -> "AutoencoderKLHunyuanVideo15":
        """The first stage."""
        vae = self._folder.load("vae", self._dtype)
        vae.enable_slicing()  # clip by clip: a batch needs no more memory than one
        return vae

    @cached_property
    def language_model(self) -> tuple["PreTrainedTokenizerBase", "Qwen2_5_VLTextModel"]:
        """Qwen2.5-VL's, which reads the whole text."""
        return self._folder.load("tokenizer"), self._folder.load("text_encoder", self._dtype)

    @cached_property
    def glyph_encoder(self) -> tuple["PreTrainedTokenizerBase", "T5EncoderModel"]:
        """ByT5, which reads the letters of what the text quotes."""
        return self._folder.load("tokenizer_2"), self._folder.load("text_encoder_2", self._dtype)

    @cached_property
    def image_encoder(self) -> tuple["SiglipImageProcessor", "SiglipVisionModel"]:
        """SigLIP."""
        return self._folder.load("feature_extractor"), self._folder.load("image_encoder", self._dtype)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """See ``VideoModel``."""
        return {"transformer": self.network}

    def check(self, shape: ClipShape) -> None:
        """See ``VideoModel``: 4k + 1 frames, sides in multiples of 16."""
        self.spec.grid(shape.frames, shape.height, shape.width)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """See ``VideoModel``.

        Raises:
            ShapeError: the frames do not fit the grid, which the VAE would not always notice.
        """
        self.spec.grid(*frames.shape[1:4])
        self._device = frames.device
        pixels = (frames.movedim(-1, 1).float() / 255 * 2 - 1).to(self._dtype)
        mode: Tensor = self.vae.to(frames.device).encode(pixels).latent_dist.mode()
        return (mode * self.vae.config.scaling_factor).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """See ``VideoModel``."""
        self._device = latents.device
        vae = self.vae.to(latents.device)
        pixels = vae.decode(latents.to(self._dtype) / vae.config.scaling_factor).sample
        return ((pixels * 0.5 + 0.5).clamp(0, 1).float() * 255).round().to(torch.uint8).movedim(1, -1)

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: the image's ``latent`` ``[B,C,1,h,w]`` and SigLIP's ``tokens`` ``[B,729,1152]``."""
        processor, encoder = self.image_encoder
        pictures = [Image.fromarray(image) for image in images.cpu().numpy()]
        pixels = processor(images=pictures, do_resize=True, do_convert_rgb=True, return_tensors="pt").pixel_values
        tokens = encoder.to(images.device)(pixels.to(images.device, self._dtype)).last_hidden_state
        return {"latent": self.encode(images[:, None]), "tokens": tokens}

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,1000,D]`` and ``glyphs`` ``[B,256,E]`` with masks, false on padding."""
        return self._read(texts) | self._spell(texts)

    def _read(self, texts: Sequence[str]) -> Tensors:
        tokenizer, encoder = self.language_model
        tokens = tokenizer.apply_chat_template(
            [_chat(text) for text in texts],
            add_generation_prompt=True,
            return_dict=True,
            padding="max_length",
            max_length=_SYSTEM_TOKENS + _TEXT_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(self._device)
        states = encoder.to(self._device)(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
        ).hidden_states[_LAYER]
        return {
            "embeds": states[:, _SYSTEM_TOKENS:],
            "embeds_mask": tokens.attention_mask[:, _SYSTEM_TOKENS:].bool(),
        }

    def _spell(self, texts: Sequence[str]) -> Tensors:
        """Zeros for texts that quote nothing, which is most of them: ByT5 is not asked about those."""
        width: int = self._folder.config("transformer")["text_embed_2_dim"]
        embeds = torch.zeros(len(texts), _GLYPH_TOKENS, width, dtype=self._dtype, device=self._device)
        mask = torch.zeros(embeds.shape[:2], dtype=torch.bool, device=self._device)
        for place, quotes in enumerate(map(_quotes, texts)):
            if quotes:
                embeds[place], mask[place] = self._glyphs(quotes)
        return {"glyphs": embeds, "glyphs_mask": mask}

    def _glyphs(self, quotes: str) -> tuple[Tensor, Tensor]:
        tokenizer, encoder = self.glyph_encoder
        tokens = tokenizer(
            quotes, padding="max_length", max_length=_GLYPH_TOKENS, truncation=True, return_tensors="pt"
        ).to(self._device)
        embeds = encoder.to(self._device)(tokens.input_ids, tokens.attention_mask.float()).last_hidden_state
        return embeds[0], tokens.attention_mask[0].bool()

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = next(self.network.parameters()).dtype
        image, text = condition.image, condition.text
        after = (0, 0, 0, 0, 0, noisy.shape[2] - 1)
        given = F.pad(image["latent"].to(noisy), after)
        mask = F.pad(torch.ones_like(noisy[:, :1, :1]), after)
        (prediction,) = self.network(
            hidden_states=torch.cat([noisy, given, mask], dim=1).to(dtype),
            timestep=timestep.to(dtype),
            encoder_hidden_states=text["embeds"].to(dtype),
            encoder_attention_mask=text["embeds_mask"],
            encoder_hidden_states_2=text["glyphs"].to(dtype),
            encoder_attention_mask_2=text["glyphs_mask"],
            image_embeds=image["tokens"].to(dtype),
            return_dict=False,
        )
        return prediction.float()

    def complete(self, latents: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        return latents


def _refuse_others(folder: PipelineFolder) -> None:
    """Refuse another family, and networks of this one that are asked otherwise."""
    name = folder.index.get("_class_name")
    if name == "HunyuanVideo15Pipeline":
        raise CheckpointError(f"{folder.folder}: a text-to-video HunyuanVideo-1.5, which takes no image; use i2v")
    if name != _PIPELINE:
        family = str(name).removesuffix("Pipeline").removesuffix("ImageToVideo").lower()
        raise CheckpointError(
            f"{folder.folder}: the weights of {name}, not of {_PIPELINE}; set model.family to {family}, if there is one"
        )
    network = folder.config("transformer")
    if network.get("use_meanflow"):
        raise CheckpointError(
            f"{folder.folder}: distilled to few steps (use_meanflow), so that its network must be told where a step"
            " ends, which training does not know; use the model that it was distilled from"
        )
    if (network["patch_size"], network["patch_size_t"]) != (1, 1):
        raise CheckpointError(
            f"{folder.folder}: the network patches {network['patch_size_t']} x {network['patch_size']} latent cells,"
            " and only patches of one cell are known of HunyuanVideo-1.5"
        )


def _chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text or " "}]


def _quotes(text: str) -> str:
    """What a text puts in quotation marks, as ByT5 was trained to read it; "" where it quotes nothing."""
    quoted = dict.fromkeys(straight or curly for straight, curly in _QUOTED.findall(text))
    return "".join(f'Text "{quote}". ' for quote in quoted)


def _set_timesteps(scheduler: "FlowMatchEulerDiscreteScheduler", steps: int, cells: int) -> None:
    """Even steps from sigma 1 towards 0, which the scheduler then shifts."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
