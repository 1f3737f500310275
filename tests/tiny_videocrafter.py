"""A tiny random VideoCrafter checkpoint in the folder layout that ``motionfocal convert`` writes."""

import json
from functools import cache
from pathlib import Path

import torch

from motionfocal.models.protocol import ClipShape

SHAPE = ClipShape(frames=4, height=16, width=24, fps=8)
WIDTH = 16


def write_folder(folder: Path, seed: int = 0, kind: str = "videocrafter2") -> None:
    """Write the folder of a kind of ``motionfocal convert``; every weight is drawn from the seed, none is zero."""
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

    from motionfocal.models.videocrafter import ImageProjector, VideoCrafterUNet

    dual, images = kind == "dynamicrafter", kind != "videocrafter2"
    schedule = (
        {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
        if dual
        else {"prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 1}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "unet": VideoCrafterUNet(
                in_channels=8 if dual else 4,
                block_out_channels=(32, 64),
                attention_levels=(True, False),
                layers_per_block=1,
                cross_attention_dim=WIDTH,
                attention_head_dim=16,
                image_attention=images,
            ),
            "vae": AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=4,
                norm_num_groups=4,
            ),
            "text_encoder": CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=49408,
                    hidden_size=WIDTH,
                    intermediate_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    hidden_act="gelu",
                )
            ),
            "tokenizer": _words(),
            "scheduler": DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                **schedule,
            ),
        }
        if images:
            parts["image_encoder"] = CLIPVisionModelWithProjection(
                CLIPVisionConfig(
                    hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=56
                )
            )
            parts["image_projector"] = ImageProjector(
                24, 32, WIDTH, depth=1, heads=2, head_width=8, tokens=4, frames=SHAPE.frames if dual else None
            )
        wake(parts["unet"])
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index = {name: [type(part).__module__.split(".")[0], type(part).__name__] for name, part in parts.items()}
    index |= {
        name: ["motionfocal.models.videocrafter", index[name][1]]
        for name in ("unet", "image_projector")
        if name in index
    }
    notes = {"_class_name": "VideoCrafter", "kind": kind, "signal_scale": 0.7}
    (folder / "model_index.json").write_text(json.dumps(notes | index))


@cache
def _words():
    from motionfocal.models.videocrafter.tokenizer import build_tokenizer

    return build_tokenizer()


@torch.no_grad()
def wake(network: torch.nn.Module, seed: int = 1) -> None:
    """Give zero-initialised layers weights, so that what reaches them shows."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
