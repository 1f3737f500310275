"""A tiny random LTX-Video in the real folder layout, and the stock pipeline run on it."""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTXImageToVideoPipeline,
    LTXVideoTransformer3DModel,
)
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor, nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from motionfocal.models.protocol import ClipShape

SHAPE = ClipShape(frames=17, height=64, width=96, fps=10.0)
CHANNELS = 8
GRID = (3, 2, 3)
TEXT = "a red kite turns left"


def write_folder(folder: Path, seed: int = 0, *, noisy_decoder: bool = False) -> None:
    """``noisy_decoder``: a VAE like that of 0.9.1, whose decoder takes a timestep and injects noise."""
    rng = Generator().manual_seed(seed)
    vae = _vae(noisy_decoder)
    transformer = LTXVideoTransformer3DModel(
        in_channels=CHANNELS, out_channels=CHANNELS, num_attention_heads=2, attention_head_dim=16,
        cross_attention_dim=32, num_layers=2, caption_channels=24,
    )  # fmt: skip
    encoder = T5EncoderModel(
        T5Config(vocab_size=32, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu")
    )
    for module in (vae, transformer, encoder):
        randomise(module, rng)
    with torch.no_grad():
        vae.latents_mean.copy_(0.3 * torch.randn(CHANNELS, generator=rng))
        vae.latents_std.copy_(0.5 + torch.rand(CHANNELS, generator=rng))
        vae.encoder.conv_out.conv.bias[-1] = -60  # the log variance: the stock pipeline's draw is then the mode
    LTXImageToVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=8, max_image_seq_len=64,
            shift_terminal=0.1,
        ),
        vae=vae,
        text_encoder=encoder,
        tokenizer=_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)  # fmt: skip


def randomise(module: nn.Module, rng: Generator) -> None:
    """Every weight random, at a scale that keeps activations near 1; embeddings and tables of modulation too."""
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for name, parameter in module.named_parameters():
        drawn = torch.randn(parameter.shape, generator=rng)
        if parameter.ndim == 0:
            continue  # the factor of the decoder's timestep
        if id(parameter) in embeddings or name.endswith("table"):
            drawn *= 0.5
        elif parameter.ndim > 1:
            drawn *= (parameter.numel() / len(parameter)) ** -0.5
        else:
            drawn = 0.1 * drawn + (1.0 if name.endswith(("weight", "gamma")) else 0.0)
        parameter.data.copy_(drawn)


def _vae(noisy_decoder: bool) -> AutoencoderKLLTXVideo:
    decoder = {
        "decoder_block_out_channels": (8, 16, 32), "decoder_layers_per_block": (1, 1, 1, 1),
        "decoder_spatio_temporal_scaling": (True, True, True), "decoder_inject_noise": (True, True, True, False),
        "upsample_residual": (True, True, True), "upsample_factor": (2, 2, 2), "timestep_conditioning": True,
    } if noisy_decoder else {
        "decoder_block_out_channels": (8, 8, 8, 8), "decoder_layers_per_block": (1, 1, 1, 1, 1),
    }  # fmt: skip
    return AutoencoderKLLTXVideo(
        latent_channels=CHANNELS, block_out_channels=(8, 8, 8, 8), layers_per_block=(1, 1, 1, 1, 1), **decoder
    )


def _tokenizer() -> T5Tokenizer:
    """Sentence pieces of one letter."""
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters], extra_ids=0)


def picture(seed: int = 0, height: int = SHAPE.height, width: int = SHAPE.width) -> NDArray[np.uint8]:
    """A smooth random image."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def stock_pipeline(folder: Path) -> LTXImageToVideoPipeline:
    pipe = LTXImageToVideoPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stock_given(pipe: LTXImageToVideoPipeline, image: NDArray[np.uint8]) -> Tensor:
    """The latent of the given frame ``[1,C,1,h,w]``, of the stock pipeline's own making."""
    height, width = image.shape[:2]
    pixels = pipe.video_processor.preprocess(Image.fromarray(image), height=height, width=width)
    tokens, _ = pipe.prepare_latents(
        pixels, 1, CHANNELS, height, width, 9, torch.float32, torch.device("cpu"), Generator().manual_seed(0)
    )
    return pipe._unpack_latents(tokens, 2, height // 32, width // 32)[:, :, :1]


def stock_frames(
    folder: Path, image: NDArray[np.uint8], text: str, latents: Tensor, steps: int, guidance: float, fps: float
) -> NDArray[np.uint8]:
    """The stock pipeline from the noise ``latents`` ``[1,C,T',h,w]``: uint8 ``[T,H,W,3]``."""
    pipe = stock_pipeline(folder)
    start = torch.cat([stock_given(pipe, image), latents[:, :, 1:]], dim=2)
    torch.manual_seed(0)  # what a decoder injects comes from the global generator
    (frames,) = pipe(
        image=Image.fromarray(image), prompt=text, height=image.shape[0], width=image.shape[1],
        num_frames=8 * (latents.shape[2] - 1) + 1, frame_rate=fps, num_inference_steps=steps, guidance_scale=guidance,
        latents=pipe._pack_latents(start), output_type="pil", generator=Generator(),
    ).frames  # fmt: skip
    return np.stack([np.asarray(frame) for frame in frames])
