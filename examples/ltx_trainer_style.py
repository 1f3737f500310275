"""The motion focal loss as a training strategy in the manner of ltx-trainer, on packed tokens [B,S,128].

A strategy names the cached folders that it reads, makes a batch, and computes the loss. The heat is packed as the
latents are, so that each token keeps its own; ``generated`` keeps the given tokens of the first frame out of the loss.

    python examples/ltx_trainer_style.py              # tiny random weights and files: seconds on a CPU
    python examples/ltx_trainer_style.py --weights Lightricks/LTX-Video --data .precomputed
"""

from pathlib import Path

import torch
import typer
from diffusers import LTXVideoTransformer3DModel as Ltx
from safetensors.torch import load_file
from torch import Tensor

from motionfocal import LatentSpec, MotionFocalLoss, pool_to_latent, to_layout


class MotionFocalStrategy:
    """Image to video by the first frame, with the motion focal loss."""

    data_sources = ("latents", "conditions", "motion")

    def __init__(self, channels: int, fps: float = 25.0, strength: float = 1.0) -> None:
        self.spec = LatentSpec(channels, spatial=32, temporal=8, causal=True, layout="tokens")
        self.seconds, self.loss = self.spec.temporal / fps, MotionFocalLoss(strength)

    def prepare_batch(self, cached: dict[str, Tensor]) -> tuple[dict[str, object], tuple[Tensor, Tensor, Tensor]]:
        """The network's inputs, and (target [B,S,C], heat [B,S,1], generated [B,S,1]) of the files' tensors."""
        of_frames = torch.ones_like(cached["heat"])
        of_frames[:, :, 0] = 0
        clean, heat, generated = (to_layout(x, self.spec) for x in (cached["latents"], cached["heat"], of_frames))
        noise, sigma = torch.randn_like(clean), torch.randn(len(clean), 1, 1).sigmoid() * generated
        inputs = dict(zip(("num_frames", "height", "width"), cached["heat"].shape[2:], strict=True)) | {
            "hidden_states": torch.lerp(clean, noise, sigma).to(cached["embeds"].dtype),
            "timestep": 1000 * sigma[..., 0],
            "encoder_hidden_states": cached["embeds"],
            "encoder_attention_mask": cached["mask"],
            "rope_interpolation_scale": (self.seconds, self.spec.spatial, self.spec.spatial),
        }
        return inputs, (noise - clean, heat, generated)

    def compute_loss(self, prediction: Tensor, label: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The objective of a prediction [B,S,C] for what ``prepare_batch`` said of the target."""
        return self.loss(prediction, *label).total


def drawn_clip(spec: LatentSpec) -> dict[str, Tensor]:
    """What the cached files of a clip would hold: 17 frames of 128x96, a corner of which moves in latent frame 2."""
    moving = torch.zeros(17, 128, 96)
    moving[9:, :64, :32] = 1
    text = {"embeds": torch.randn(1, 8, 32), "mask": torch.ones(1, 8, dtype=torch.bool)}
    return {"latents": torch.randn(1, spec.channels, 3, 4, 3), "heat": pool_to_latent(moving, spec)[None, None], **text}


def main(weights: str = "", data: Path = Path(".precomputed"), steps: int = 60) -> None:
    """Train the whole network; add an adapter as you please."""
    torch.manual_seed(0)
    tiny = {"num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32, "caption_channels": 32}
    network = Ltx.from_pretrained(weights, subfolder="transformer") if weights else Ltx(8, 8, num_layers=2, **tiny)
    strategy = MotionFocalStrategy(network.config.in_channels)
    names = sorted(path.name for path in (data / "latents").iterdir()) if weights else []
    files = [[load_file(data / source / name) for source in strategy.data_sources] for name in names]
    clips = [{k: x for file in clip for k, x in file.items()} for clip in files] or [drawn_clip(strategy.spec)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5 if weights else 1e-2)
    for step in range(steps):
        inputs, label = strategy.prepare_batch(clips[step % len(clips)])
        loss = strategy.compute_loss(network(**inputs, return_dict=False)[0], label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step} loss {loss:.4f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
