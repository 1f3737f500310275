"""The motion focal loss in a bare diffusers loop: a LoRA on Wan2.2-TI2V-5B, which is given the first frame.

Each clip has two files in the cache: its latents, encoded once, and its heatmap, which is quickly made anew with other
settings. The first latent frame is the image itself: ``generated`` keeps it out of the loss.

    python examples/plain_diffusers.py                # tiny random weights and a drawn clip: seconds on a CPU
    python examples/plain_diffusers.py --weights Wan2.2-TI2V-5B-Diffusers --clips my_clips --text "a dog runs"
"""

from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline, WanTransformer3DModel
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor

from motionfocal import Clip, LatentSpec, MotionFocalLoss, heatmap_of, pool_to_latent, read_clip


def load(weights: str, text: str) -> tuple[WanTransformer3DModel, AutoencoderKLWan, Tensor]:
    """Network, VAE and the embedded text [1,L,D]: small and random, or real on a GPU, with an adapter to train."""
    if not weights:
        sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 64, "num_layers": 2, "text_dim": 32}
        vae = AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
        return WanTransformer3DModel(in_channels=16, out_channels=16, **sizes), vae, torch.randn(1, 16, 32)
    pipeline = WanImageToVideoPipeline.from_pretrained(weights, torch_dtype=torch.bfloat16)
    embeds = pipeline.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=512)[0]
    network = pipeline.transformer.requires_grad_(False)
    network.add_adapter(LoraConfig(r=32, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    network.enable_gradient_checkpointing()
    return network.cuda().train(), pipeline.vae.float().cuda(), embeds.cuda()


@torch.no_grad()
def prepare(clip: Clip, vae: AutoencoderKLWan, stem: str) -> str:
    """Write latents [1,C,T',h,w] and heat [1,1,T',h,w], each into a file of its own; the heat says what moves."""
    mean, std = torch.tensor([vae.config.latents_mean, vae.config.latents_std]).view(2, 1, -1, 1, 1, 1)
    pixels = torch.from_numpy(clip.frames).movedim(-1, 0)[None].float() / 127.5 - 1
    save_file({"latents": (vae.encode(pixels.to(vae.device)).latent_dist.mode().cpu() - mean) / std}, f"{stem}.latents")
    spec = LatentSpec(vae.config.z_dim, vae.config.scale_factor_spatial, temporal=4, causal=True)
    save_file({"heat": pool_to_latent(heatmap_of(clip.frames), spec)[None, None]}, f"{stem}.heat")
    return stem


def loss_of(network: WanTransformer3DModel, text: Tensor, latents: Tensor, heat: Tensor) -> Tensor:
    """One flow-matching step: the first latent frame stays clean, at timestep 0, and out of the loss."""
    generated = torch.ones_like(heat)
    generated[:, :, 0] = 0
    noise, draw = torch.randn_like(latents), torch.randn(()).sigmoid().item()
    sigma = 5 * draw / (1 + 4 * draw) * generated
    timesteps = 1000 * sigma[:, 0, :, ::2, ::2].flatten(1)  # of every token, a patch of 1x2x2 cells
    prediction = network(torch.lerp(latents, noise, sigma).to(text.dtype), timesteps, text, return_dict=False)[0]
    return MotionFocalLoss(strength=1.0)(prediction, noise - latents, heat, generated).total


def main(weights: str = "", clips: str = "", text: str = "", cache: str = "cache", steps: int = 60) -> None:
    """Encode every clip once, then train."""
    torch.manual_seed(0)
    Path(cache).mkdir(exist_ok=True)
    network, vae, embeds = load(weights, text)
    square = np.full((16, 16, 3), 230, np.uint8)
    drawn = np.stack([np.pad(square, ((24, 24), (4 + 4 * k, 44 - 4 * k), (0, 0))) for k in range(9)])
    films = (read_clip(path, frames=121, size=(704, 1280)) for path in sorted(Path(clips).glob("*.mp4")))
    stems = [prepare(c, vae, f"{cache}/{n}") for n, c in enumerate(films if clips else [Clip(drawn, fps=24)])]
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-4 if weights else 1e-2)
    for step in range(steps):
        files = [f"{stems[step % len(stems)]}.{kind}" for kind in ("latents", "heat")]
        loss = loss_of(network, embeds, *[tensor.to(embeds.device) for f in files for tensor in load_file(f).values()])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step} loss {loss:.4f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
