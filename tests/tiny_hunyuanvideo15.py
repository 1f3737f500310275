"""A tiny random HunyuanVideo-1.5 in the real folder layout, and the stock pipeline run on it."""

import json
from inspect import signature
from pathlib import Path

import numpy as np
from diffusers import (
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Transformer3DModel,
)
from numpy.typing import NDArray
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from torch import Generator, Tensor
from transformers import (
    ByT5Tokenizer,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    Qwen2Tokenizer,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from motionfocal.models.protocol import ClipShape

from .tiny_ltx import randomise

SHAPE = ClipShape(frames=9, height=32, width=48, fps=16.0)
CHANNELS = 4
GRID = (3, 2, 3)
TEXT = 'a red kite turns left, its tail reads "GO"'

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_folder(folder: Path, seed: int = 0) -> None:
    rng = Generator().manual_seed(seed)
    parts = {
        "vae": AutoencoderKLHunyuanVideo15(
            latent_channels=CHANNELS, block_out_channels=(16, 16, 16, 16, 16), layers_per_block=1
        ),
        "transformer": HunyuanVideo15Transformer3DModel(
            in_channels=2 * CHANNELS + 1, out_channels=CHANNELS, num_attention_heads=2, attention_head_dim=16,
            num_layers=2, num_refiner_layers=1, mlp_ratio=2.0, text_embed_dim=16, text_embed_2_dim=12,
            image_embed_dim=12, rope_axes_dim=(4, 6, 6), target_size=40,
        ),
        "text_encoder": Qwen2_5_VLTextModel(
            Qwen2_5_VLTextConfig(
                vocab_size=480, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2,
                num_key_value_heads=1, rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2]},
                bos_token_id=None, eos_token_id=256,
            )
        ),
        "text_encoder_2": T5EncoderModel(
            T5Config(vocab_size=384, d_model=12, d_kv=4, d_ff=24, num_layers=2, num_heads=3, is_gated_act=True,
                     feed_forward_proj="gated-gelu")
        ),
        "image_encoder": SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=12, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                patch_size=16,
            )
        ),
    }  # fmt: skip
    for module in parts.values():
        randomise(module, rng)
    HunyuanVideo15ImageToVideoPipeline(
        **parts,
        tokenizer=_tokenizer(),
        tokenizer_2=ByT5Tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
        feature_extractor=SiglipImageProcessor(size={"height": 32, "width": 32}),
    ).save_pretrained(folder)


def _tokenizer() -> Qwen2Tokenizer:
    """Bytes, the marks of a chat, and the words of the stock pipeline's system message.

    Like that the message has the 108 tokens that it has in Qwen's own vocabulary.
    """
    alphabet = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    message = signature(HunyuanVideo15ImageToVideoPipeline._get_mllm_prompt_embeds).parameters["system_message"].default
    learnt = Qwen2Tokenizer(vocab=alphabet, merges=[]).train_new_from_iterator(
        [message, "user\n", "system\n", "assistant\n"], 900
    )
    merges = [tuple(merge) for merge in json.loads(learnt.backend_tokenizer.to_str())["model"]["merges"]]
    pieces = [
        *sorted(alphabet),
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        *(first + last for first, last in merges),
    ]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    marks = ["<|im_start|>", "<|im_end|>"]
    return Qwen2Tokenizer(vocab=vocabulary, merges=merges, extra_special_tokens=marks, chat_template=_CHAT)


def stock_pipeline(folder: Path) -> HunyuanVideo15ImageToVideoPipeline:
    pipe = HunyuanVideo15ImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stock_frames(
    folder: Path, image: NDArray[np.uint8], text: str, latents: Tensor, steps: int, guidance: float
) -> NDArray[np.uint8]:
    """The stock pipeline from the noise ``latents`` ``[1,C,T',h,w]``: uint8 ``[T,H,W,3]``.

    It chooses the size of the clip by itself, near ``target_size`` squared: here that of ``SHAPE``.
    """
    pipe = stock_pipeline(folder)
    pipe.guider = pipe.guider.new(guidance_scale=guidance)
    (frames,) = pipe(
        image=Image.fromarray(image), prompt=text, num_frames=4 * (latents.shape[2] - 1) + 1,
        num_inference_steps=steps, latents=latents, output_type="pil",
    ).frames  # fmt: skip
    return np.stack([np.asarray(frame) for frame in frames])
