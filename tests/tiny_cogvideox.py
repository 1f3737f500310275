"""A tiny random CogVideoX checkpoint in the real folder layout, and the stock pipeline run on it.

``version`` "1.0" is built like CogVideoX-5b-I2V (learned positions, one size), "1.5" like CogVideoX1.5-5B-I2V
(``patch_size_t`` 2, ofs embedding, rotary positions up to a largest size, image latents divided by the scale).
"""

import string
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from motionfocal.models.protocol import ClipShape

SHAPE = ClipShape(frames=9, height=32, width=48, fps=8)
LATENT = (3, 4, 6)
"""Latent frames, rows and columns of SHAPE; version 1.5 has one more frame in front."""
CHANNELS, TEXT_LENGTH, SCALE = 4, 12, 0.7


def write_folder(folder: Path, seed: int = 0, version: str = "1.0", scheduler: str = "CogVideoXDDIMScheduler") -> None:
    """Write the pipeline folder; every weight is drawn from the seed, none is left at zero."""
    import diffusers
    from transformers import T5Tokenizer

    letters = [(letter, -3.0) for letter in string.ascii_lowercase + string.digits]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = diffusers.CogVideoXImageToVideoPipeline(
            tokenizer=T5Tokenizer(vocab=vocabulary, extra_ids=0),
            text_encoder=_text_encoder(len(vocabulary)),
            vae=_vae(version),
            transformer=_transformer(version),
            scheduler=getattr(diffusers, scheduler)(
                prediction_type="v_prediction",
                timestep_spacing="trailing",
                rescale_betas_zero_snr=True,
                snr_shift_scale=1.0,
                clip_sample=False,
            ),
        )
    pipeline.save_pretrained(folder)


def stock_frames(
    folder: Path, image: np.ndarray, text: str, latents: torch.Tensor, steps: int, guidance: float, frames: int = 9
) -> np.ndarray:
    """The stock pipeline's frames uint8 [T,H,W,3], by DDIM, from an image uint8 [H,W,3] and noise [1,C,T',h,w]."""
    pipeline = stock_pipeline(folder)
    result = pipeline(
        image=Image.fromarray(image),
        prompt=text,
        height=image.shape[0],
        width=image.shape[1],
        num_frames=frames,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=latents.transpose(1, 2),
        max_sequence_length=TEXT_LENGTH,
        output_type="pil",
    )
    return np.stack([np.asarray(frame) for frame in result.frames[0]])


def stock_pipeline(folder: Path):
    from diffusers import CogVideoXDDIMScheduler, CogVideoXImageToVideoPipeline

    pipeline = CogVideoXImageToVideoPipeline.from_pretrained(folder)
    pipeline.scheduler = CogVideoXDDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _transformer(version: str) -> torch.nn.Module:
    from diffusers import CogVideoXTransformer3DModel

    own = (
        {"sample_height": LATENT[1], "sample_width": LATENT[2], "use_learned_positional_embeddings": True}
        if version == "1.0"
        else {"sample_height": 12, "sample_width": 12, "patch_size_t": 2, "ofs_embed_dim": 16, "patch_bias": False}
    )
    network = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=2 * CHANNELS,
        out_channels=CHANNELS,
        time_embed_dim=16,
        text_embed_dim=16,
        num_layers=2,
        sample_frames=9,
        max_text_seq_length=TEXT_LENGTH,
        use_rotary_positional_embeddings=True,
        **own,
    )
    _randomise(network)
    if version == "1.0":
        network.patch_embed.pos_embedding += 0.3 * torch.randn_like(network.patch_embed.pos_embedding)
    return network


def _vae(version: str) -> torch.nn.Module:
    from diffusers import AutoencoderKLCogVideoX

    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=SCALE,
        invert_scale_latents=version == "1.5",
    )
    _randomise(vae)
    # The stock pipeline draws from the posterior; a narrow one draws its mode.
    vae.encoder.conv_out.conv.bias.data[CHANNELS:] = -40
    vae.decoder.conv_out.conv.weight.data *= 0.2  # few pixels black or white: those hide differences
    return vae


def _text_encoder(vocabulary: int) -> torch.nn.Module:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=vocabulary, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    encoder = T5EncoderModel(config)
    _randomise(encoder)
    encoder.shared.weight.data.normal_()
    return encoder


def _randomise(module: torch.nn.Module) -> None:
    """Matrices keep the scale of what goes through them, gains lie around 1, and shifts are small."""
    for name, weight in module.named_parameters():
        if weight.ndim >= 2:
            weight.data.normal_(std=1.5 / weight[0].numel() ** 0.5)
        else:
            weight.data.normal_(std=0.2).add_(float(name.endswith("weight")))
