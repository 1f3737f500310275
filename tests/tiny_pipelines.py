"""Tiny random checkpoints of I2VGen-XL and Stable Video Diffusion in the real folder layout."""

from pathlib import Path

import torch
from torch import nn

from .tiny_videocrafter import _words, wake

SIZE = (64, 64)


def write_i2vgenxl(folder: Path, seed: int = 0) -> None:
    """Write an I2VGen-XL; every weight is drawn from the seed, none is zero."""
    from diffusers import DDIMScheduler, I2VGenXLPipeline
    from diffusers.models import I2VGenXLUNet
    from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = I2VGenXLUNet(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            norm_num_groups=32,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=32,
            attention_head_dim=16,
        )
        wake(unet)
        pipeline = I2VGenXLPipeline(
            vae=_vae("AutoencoderKL", "UpDecoderBlock2D"),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=49408, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
                )
            ),
            tokenizer=_words(),
            image_encoder=_image_encoder(32),
            feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
            unet=unet,
            scheduler=DDIMScheduler(
                beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
                set_alpha_to_one=False,
            ),
        )  # fmt: skip
    pipeline.save_pretrained(folder)


def write_svd(folder: Path, seed: int = 0) -> None:
    """Write a Stable Video Diffusion of 4 frames."""
    from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
    from transformers import CLIPImageProcessor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNetSpatioTemporalConditionModel(
            sample_size=8,
            in_channels=8,
            out_channels=4,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            cross_attention_dim=32,
            num_attention_heads=(2, 4),
            projection_class_embeddings_input_dim=96,
            addition_time_embed_dim=32,
            num_frames=4,
        )
        pipeline = StableVideoDiffusionPipeline(
            vae=_vae("AutoencoderKLTemporalDecoder"),
            image_encoder=_image_encoder(224),
            unet=unet,
            scheduler=EulerDiscreteScheduler(
                beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction",
                interpolation_type="linear", timestep_type="continuous", sigma_min=0.002, sigma_max=700,
                use_karras_sigmas=True,
            ),
            feature_extractor=CLIPImageProcessor(),
        )  # fmt: skip
    pipeline.save_pretrained(folder)


def _vae(name: str, up: str | None = None) -> nn.Module:
    import diffusers

    decoder = {} if up is None else {"up_block_types": (up,) * 4}
    return getattr(diffusers, name)(
        block_out_channels=(32,) * 4,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        latent_channels=4,
        sample_size=32,
        **decoder,
    )


def _image_encoder(side: int) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32,
            projection_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            intermediate_size=37,
            patch_size=side // 4,
        )
    )
