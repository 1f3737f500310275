"""The motion focal loss in the manner of diffusion-pipe, whose loss function takes ``(output, (target, mask))``.

The label of a batch has a place for a mask, which diffusion-pipe fills from a still picture. Here it carries what
moves, frame by frame, and there are two ways to use it:

- ``motion_focal_loss`` takes the place of the loss function and finds the heat m' where the mask was;
- ``masked_loss`` is what the trainer has already: of the mask 1 + m'^2 it makes the same total.

    python examples/diffusion_pipe_style.py                  # tiny random weights and data: seconds on a CPU
    python examples/diffusion_pipe_style.py --own-loss       # the same losses by the second way
"""

import torch
import torch.nn.functional as F
import typer
from diffusers import WanTransformer3DModel
from torch import Tensor

from motionfocal import LatentSpec, MotionFocalLoss, pool_to_latent

Label = tuple[Tensor, Tensor]  # target [B,C,T',h,w] and mask [B,1,T',h,w]
STRENGTH = 1.0


def motion_focal_loss(output: Tensor, label: Label) -> Tensor:
    """The first way. Where latent frames are given, cut them off output, target and heat before."""
    target, heat = label
    return MotionFocalLoss(STRENGTH)(output, target, heat).total


def masked_loss(output: Tensor, label: Label) -> Tensor:
    """The trainer's own loss: the squared error times a mask, and the mean over all elements."""
    target, mask = label
    return (F.mse_loss(output.float(), target.float(), reduction="none") * mask).mean()


def as_mask(heat: Tensor) -> Tensor:
    """The mask for the second way: 1, not 0, where nothing moves."""
    return 1 + STRENGTH * heat.square()


def prepare_inputs(cached: dict[str, Tensor], own_loss: bool) -> tuple[tuple[Tensor, Tensor, Tensor], Label]:
    """Noisy latents, timesteps and text for the first stage of the pipeline; the label is for the last."""
    clean, sigma = cached["latents"], torch.randn(len(cached["latents"])).sigmoid()
    noise = torch.randn_like(clean)
    noisy = torch.lerp(clean, noise, sigma.view(-1, 1, 1, 1, 1))
    mask = as_mask(cached["heat"]) if own_loss else cached["heat"]
    return (noisy, 1000 * sigma, cached["text"]), (noise - clean, mask)


def drawn_clips() -> dict[str, Tensor]:
    """Two clips of nine frames; a corner of the first moves from frame 5 on, in latent frame 2."""
    moving = torch.zeros(2, 9, 64, 64)
    moving[0, 5:, :32, :32] = 1
    spec = LatentSpec(channels=16, spatial=8, temporal=4, causal=True)
    heat = torch.stack([pool_to_latent(clip, spec)[None] for clip in moving])
    return {"latents": torch.randn(2, 16, 3, 8, 8), "heat": heat, "text": torch.randn(2, 8, 32)}


def main(own_loss: bool = False, steps: int = 60) -> None:
    """Train on two clips."""
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 32, "ffn_dim": 64, "num_layers": 2}
    network, clips = WanTransformer3DModel(**sizes), drawn_clips()
    loss_function = masked_loss if own_loss else motion_focal_loss
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(steps):
        features, label = prepare_inputs(clips, own_loss)
        loss = loss_function(network(*features, return_dict=False)[0], label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step} loss {loss:.4f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
