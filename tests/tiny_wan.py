"""Tiny random Wan checkpoints in the layout of the published folders, and the stock pipeline to compare with."""

import json
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from motionfocal.models.protocol import ClipShape

Variant = Literal["ti2v-5b", "i2v-2.1", "i2v-2.2"]
VARIANTS: tuple[Variant, ...] = ("ti2v-5b", "i2v-2.1", "i2v-2.2")
SHAPE = ClipShape(frames=9, height=64, width=96, fps=24)
"""Fits all variants: sides are multiples of 32, frames 4k + 1."""
BOUNDARY = 0.9
WORDS = "a the ball cat kite rolls jumps falls left right up down slowly quickly and on grass sky red blue"


def write_folder(folder: Path, seed: int = 0, variant: Variant = "ti2v-5b") -> None:
    """Write a checkpoint. All weights are random and of a size that lets every condition be seen in the result."""
    from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline

    rng = torch.Generator().manual_seed(seed)
    given = variant == "ti2v-5b"
    clip = variant == "i2v-2.1"
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0 if given else 3.0
    )
    parts = {
        "transformer": _transformer(variant, rng),
        "vae": _vae(given, rng),
        "text_encoder": _text_encoder(rng),
        "tokenizer": _tokenizer(),
        "scheduler": scheduler,
    }
    if given:  # published as the text-to-video pipeline
        WanPipeline(**parts, expand_timesteps=True).save_pretrained(folder)
        return
    second = _transformer(variant, rng) if variant == "i2v-2.2" else None
    encoder, processor = _image_encoder(rng) if clip else (None, None)
    WanImageToVideoPipeline(
        **parts,
        image_encoder=encoder,
        image_processor=processor,
        transformer_2=second,
        boundary_ratio=BOUNDARY if second is not None else None,
    ).save_pretrained(folder)


def stock_pipeline(folder: Path):
    """The stock image-to-video pipeline on the folder, in float32."""
    from diffusers import WanImageToVideoPipeline

    pipeline = WanImageToVideoPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock_frames(folder: Path, image: Tensor, text: str, latents: Tensor, steps: int, guidance: float) -> Tensor:
    """The stock pipeline's clip uint8 ``[T,H,W,3]`` for an image uint8 ``[H,W,3]`` and noise ``[1,C,T',h,w]``."""
    import numpy as np
    from PIL import Image

    frames = stock_pipeline(folder)(
        image=Image.fromarray(image.numpy()),
        prompt=text,
        height=image.shape[0],
        width=image.shape[1],
        num_frames=4 * latents.shape[2] - 3,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=latents,
        output_type="pil",
    ).frames[0]
    return torch.from_numpy(np.stack([np.asarray(frame) for frame in frames]))


def edit_json(path: Path, **values) -> None:
    """Change entries of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _transformer(variant: Variant, rng: torch.Generator) -> nn.Module:
    from diffusers import WanTransformer3DModel

    clip = variant == "i2v-2.1"
    model = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=48 if variant == "ti2v-5b" else 36,
        out_channels=48 if variant == "ti2v-5b" else 16,
        text_dim=32,
        freq_dim=64,
        ffn_dim=48,
        num_layers=2,
        image_dim=16 if clip else None,
        added_kv_proj_dim=24 if clip else None,
        rope_max_seq_len=64,
    )
    return _randomise(model, rng)


def _vae(given: bool, rng: torch.Generator) -> nn.Module:
    from diffusers import AutoencoderKLWan

    if not given:
        return _randomise(AutoencoderKLWan(base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1), rng)
    vae = AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=8,
        z_dim=48,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        latents_mean=torch.randn(48, generator=rng).mul(0.3).tolist(),
        latents_std=torch.rand(48, generator=rng).add(0.5).tolist(),
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )
    return _randomise(vae, rng)


def _text_encoder(rng: torch.Generator) -> nn.Module:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=160, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, relative_attention_num_buckets=8
    )
    return _randomise(UMT5EncoderModel(config), rng)


def _tokenizer():
    from transformers import T5TokenizerFast

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(f"▁{word}", -2.0) for word in WORDS.split()]
    letters = [(letter, -6.0) for letter in "▁abcdefghijklmnopqrstuvwxyz&."]
    return T5TokenizerFast(vocab=[*special, *words, *letters], extra_ids=0)


def _image_encoder(rng: torch.Generator):
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        projection_dim=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _randomise(CLIPVisionModel(config), rng), processor


@torch.no_grad()
def _randomise(model: nn.Module, rng: torch.Generator) -> nn.Module:
    """Every weight anew: gains near 1, small biases, the rest so that a layer keeps its input's size."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=rng)
        if "scale_shift_table" in name or "embedding" in name or "embed_tokens" in name or "shared" in name:
            weight.copy_(noise)
        elif weight.squeeze().ndim <= 1 and "bias" not in name:
            sharp = 3 if "attn2.norm" in name else 1  # lest the words drown among hundreds of empty tokens
            weight.copy_(sharp * (1 + 0.2 * noise))
        elif weight.ndim == 1:
            weight.copy_(0.1 * noise)
        else:
            weight.copy_(1.2 * noise / weight[0].numel() ** 0.5)
    return model.eval()
