"""HunyuanVideo-1.5 (Tencent 2025, arXiv 2511.18870), as diffusers' image-to-video pipeline animates with it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from motionfocal.errors import CheckpointError
from motionfocal.models.pipeline_model import PipelineFamily, PipelineModel, pictures_of, refuse_patches, then_zeros
from motionfocal.models.protocol import ClipShape, Condition, Tensors
from motionfocal.models.schedule import FlowSchedule, FlowSettings
from motionfocal.motion.latent import LatentSpec

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler

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


class Family(PipelineFamily):
    """Settings of HunyuanVideo-1.5."""

    pipelines: ClassVar = (_PIPELINE,)
    encoder_fields: ClassVar = ("dtype", "tiles")
    tiles: ClassVar = True
    """Whether the VAE works tile by tile, which changes latents a little."""

    family: Literal["hunyuanvideo15"] = "hunyuanvideo15"
    weights: str = Field(
        description="A folder in diffusers' layout, or its name or name@revision on the hub:"
        " hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_i2v or 720p_i2v."
    )
    schedule: FlowSettings = Field(
        FlowSettings(shift=3.0), description="Training's draw of sigma; sampling goes by the folder's own scheduler."
    )

    def _model(self, seed: int) -> "HunyuanVideo15":
        return HunyuanVideo15(self)


class HunyuanVideo15(PipelineModel):
    """A ``VideoModel`` of 32 latent channels, 4 frames and 16 x 16 pixels a cell, the first frame alone (causal VAE).

    The network takes 65 channels: the noisy latents, the image's latent in frame 0 with zeros after it, and a mask that
    is 1 in frame 0. It also attends to tokens of the image (SigLIP), of the text (Qwen2.5-VL's language model, in the
    chat that it was trained with) and of what the text puts in quotation marks (ByT5), and generates all frames. It
    predicts the flow noise - clean. Latents are the posterior's mode times the VAE's scaling factor.

    The frame rate does not enter. The timestep is rounded to the network's dtype, as in the stock pipeline: in bfloat16
    to multiples of 4 near 1000.
    """

    pipeline_class = _PIPELINE

    def __init__(self, settings: Family) -> None:
        """Reads the folder's configs alone.

        Raises:
            CheckpointError: the folder holds something else than HunyuanVideo-1.5 image-to-video.
        """
        super().__init__(settings)
        self._refuse_distilled()
        refuse_patches(self.folder)
        vae = self.folder.config("vae")
        self.spec = LatentSpec(
            channels=vae["latent_channels"],
            spatial=vae["spatial_compression_ratio"],
            temporal=vae["temporal_compression_ratio"],
            causal=True,
        )
        self.schedule = FlowSchedule(settings.schedule, self.folder.load("scheduler"), _set_timesteps)

    def _refuse_distilled(self) -> None:
        if self.folder.config("transformer").get("use_meanflow"):
            raise CheckpointError(
                f"{self.folder.folder}: distilled to few steps (use_meanflow), so that its network must be told where a"
                " step ends, which training does not know; use the model that it was distilled from"
            )

    @property
    def vae(self) -> Any:  # noqa: ANN401 - a class of diffusers
        """See ``PipelineModel``; in tiles of 256 pixels, as the stock pipeline's example has it.

        It takes all frames at once: whole, 121 of 480x848 would need 89 GB.
        """
        vae = super().vae
        vae.enable_tiling()
        return vae

    def trained(self, part: str) -> nn.Module:
        """See ``PipelineModel``; the text's way out of the last block stays frozen.

        Nothing reads it, so that it would never get a gradient, and DistributedDataParallel waits for the gradient of
        all that asks for one.
        """
        network: Any = super().trained(part)
        last = network.transformer_blocks[-1]
        last.attn.to_add_out.requires_grad_(False)
        last.ff_context.requires_grad_(False)
        return network

    @torch.no_grad()
    def encode_image(self, images: Tensor, frames: int) -> Tensors:
        """See ``VideoModel``: the image's ``latent`` ``[B,C,1,h,w]`` and SigLIP's ``tokens`` ``[B,729,1152]``."""
        inputs = self.frozen("feature_extractor")(
            images=pictures_of(images), do_resize=True, do_convert_rgb=True, return_tensors="pt"
        )
        tokens = self.frozen("image_encoder")(inputs.pixel_values.to(self.device, self.dtype)).last_hidden_state
        return super().encode_image(images, frames) | {"tokens": tokens}

    def _blank_image(self, shape: ClipShape, clips: int) -> Tensors:
        encoder = self.folder.config("image_encoder")
        places = (encoder["image_size"] // encoder["patch_size"]) ** 2
        tokens = torch.zeros(clips, places, encoder["hidden_size"], dtype=self.dtype)
        return super()._blank_image(shape, clips) | {"tokens": tokens}

    def _blank_text(self, clips: int) -> Tensors:
        network = self.folder.config("transformer")
        return {
            "embeds": torch.zeros(clips, _TEXT_TOKENS, network["text_embed_dim"], dtype=self.dtype),
            "embeds_mask": torch.zeros(clips, _TEXT_TOKENS, dtype=torch.bool),
            "glyphs": torch.zeros(clips, _GLYPH_TOKENS, network["text_embed_2_dim"], dtype=self.dtype),
            "glyphs_mask": torch.zeros(clips, _GLYPH_TOKENS, dtype=torch.bool),
        }

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensors:
        """See ``VideoModel``: ``embeds`` ``[B,1000,D]`` and ``glyphs`` ``[B,256,E]`` with masks, false on padding."""
        return self._read(texts) | self._spell(texts)

    def _read(self, texts: Sequence[str]) -> Tensors:
        """By Qwen2.5-VL's language model, which reads the whole text."""
        tokenizer, encoder = self.frozen("tokenizer"), self.frozen("text_encoder")
        tokens = tokenizer.apply_chat_template(
            [_chat(text) for text in texts],
            add_generation_prompt=True,
            return_dict=True,
            padding="max_length",
            max_length=_SYSTEM_TOKENS + _TEXT_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        states = encoder(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
        ).hidden_states[_LAYER]
        return {
            "embeds": states[:, _SYSTEM_TOKENS:],
            "embeds_mask": tokens.attention_mask[:, _SYSTEM_TOKENS:].bool(),
        }

    def _spell(self, texts: Sequence[str]) -> Tensors:
        """Zeros for texts that quote nothing, which is most of them: ByT5 is not asked about those."""
        width: int = self.folder.config("transformer")["text_embed_2_dim"]
        embeds = torch.zeros(len(texts), _GLYPH_TOKENS, width, dtype=self.dtype, device=self.device)
        mask = torch.zeros(embeds.shape[:2], dtype=torch.bool, device=self.device)
        for place, quotes in enumerate(map(_quotes, texts)):
            if quotes:
                embeds[place], mask[place] = self._glyphs(quotes)
        return {"glyphs": embeds, "glyphs_mask": mask}

    def _glyphs(self, quotes: str) -> tuple[Tensor, Tensor]:
        """By ByT5, which reads the letters of what a text quotes."""
        tokens = self._tokens([quotes], _GLYPH_TOKENS, "tokenizer_2")
        encoder = self.frozen("text_encoder_2")
        embeds = encoder(tokens.input_ids, tokens.attention_mask.float()).last_hidden_state
        return embeds[0], tokens.attention_mask[0].bool()

    def predict(self, noisy: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """See ``VideoModel``."""
        dtype = self.network_dtype
        image, text, frames = condition.image, condition.text, noisy.shape[2]
        given = then_zeros(image["latent"].to(noisy), frames)
        mask = then_zeros(torch.ones_like(noisy[:, :1, :1]), frames)
        prediction: Tensor = self.network(
            hidden_states=torch.cat([noisy, given, mask], dim=1).to(dtype),
            timestep=timestep.to(dtype),
            encoder_hidden_states=text["embeds"].to(dtype),
            encoder_attention_mask=text["embeds_mask"],
            encoder_hidden_states_2=text["glyphs"].to(dtype),
            encoder_attention_mask_2=text["glyphs_mask"],
            image_embeds=image["tokens"].to(dtype),
            return_dict=False,
        )[0]
        return prediction.float()


def _chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text or " "}]


def _quotes(text: str) -> str:
    """What a text puts in quotation marks, as ByT5 was trained to read it; "" where it quotes nothing."""
    quoted = dict.fromkeys(straight or curly for straight, curly in _QUOTED.findall(text))
    return "".join(f'Text "{quote}". ' for quote in quoted)


def _set_timesteps(scheduler: "FlowMatchEulerDiscreteScheduler", steps: int, cells: int) -> None:
    """Even steps from sigma 1 towards 0, which the scheduler then shifts."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
