"""The motion focal loss behind a ``compute_loss`` hook, and a cache in the manner of musubi-tuner: two files a clip.

``<clip>_latents.safetensors`` took a VAE and minutes; beside it lies ``<clip>_motion.safetensors``, and another scale
or floor writes that one anew and leaves the first alone. A clip without a heatmap is an error: a loss that silently
goes on unweighted would be found out after the training, if ever.

    python examples/musubi_style.py                   # tiny random weights and files: seconds on a CPU
    python examples/musubi_style.py --weights Wan-AI/Wan2.1-T2V-1.3B-Diffusers --cache my_cache
"""

from pathlib import Path

import numpy as np
import torch
import typer
from diffusers import WanTransformer3DModel
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from motionfocal import HeatmapSettings, LatentSpec, MotionFocalLoss, heatmap_of, pool_to_latent


def cache_motion(frames: NDArray[np.uint8], clip: Path, floor: float = 0.5) -> None:
    """Write the heat [1,T',h,w] of frames [T,H,W,3]: those that were encoded, of the same crop, size and stride."""
    spec = LatentSpec(channels=16, spatial=8, temporal=4, causal=True)
    heat = pool_to_latent(heatmap_of(frames, HeatmapSettings(floor=floor)), spec)
    save_file({"heat": heat[None]}, f"{clip}_motion.safetensors")


class MotionFocalTrainer:
    """The three hooks that change; the loop around them is the trainer's own."""

    loss = MotionFocalLoss(strength=1.0)

    def load_item(self, clip: Path) -> dict[str, Tensor]:
        """A clip's latents [1,C,T',h,w], heat [1,1,T',h,w] and embedded text [1,L,D]."""
        files = [load_file(f"{clip}_{kind}.safetensors") for kind in ("latents", "motion", "text")]
        return {name: tensor[None] for file in files for name, tensor in file.items()}

    def call_network(self, network: WanTransformer3DModel, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Noise the latents and predict; prediction and target, element by element."""
        noise, sigma = torch.randn_like(batch["latents"]), torch.randn(len(batch["latents"])).sigmoid()
        noisy = torch.lerp(batch["latents"], noise, sigma.view(-1, 1, 1, 1, 1))
        return network(noisy, 1000 * sigma, batch["text"], return_dict=False)[0], noise - batch["latents"]

    def compute_loss(self, output: tuple[Tensor, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """All latent frames are generated; where the first is given, add ``generated`` as plain_diffusers.py does."""
        return self.loss(*output, batch["heat"]).total


def main(weights: str = "", cache: Path = Path("cache"), steps: int = 60) -> None:
    """Train on all clips of the cache."""
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 32, "ffn_dim": 64, "num_layers": 2}
    if weights:
        network = WanTransformer3DModel.from_pretrained(weights, subfolder="transformer")
    else:
        network = WanTransformer3DModel(**sizes)
        cache.mkdir(exist_ok=True)
        save_file({"latents": torch.randn(16, 3, 8, 8)}, cache / "clip_latents.safetensors")
        save_file({"text": torch.randn(8, 32)}, cache / "clip_text.safetensors")
        square = np.full((16, 16, 3), 230, np.uint8)  # moves over nine frames
        drawn = [np.pad(square, ((24, 24), (4 + 4 * k, 44 - 4 * k), (0, 0))) for k in range(9)]
        cache_motion(np.stack(drawn), cache / "clip")
    trainer, optimizer = MotionFocalTrainer(), torch.optim.AdamW(network.parameters(), lr=1e-5 if weights else 1e-2)
    clips = sorted({cache / path.name.rpartition("_")[0] for path in cache.glob("*_latents.safetensors")})
    for step in range(steps):
        batch = trainer.load_item(clips[step % len(clips)])
        loss = trainer.compute_loss(trainer.call_network(network, batch), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step} loss {loss:.4f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
