"""What a model learns in the same CPU time: the compact denoiser beside the smallest library class.

Each family trains on the sprites world for the same seconds of CPU on one thread, without the motion focal loss, and
is then measured on the same held-out batches. The moving-region loss says what it knows of the motion.

    python benchmarks/learning.py [--seconds 240]
"""

import argparse
import time

import cv2
import torch

from motionfocal.cli.train import recipe
from motionfocal.data.sources import SpritesData, SpritesSource
from motionfocal.training.config import load_config
from motionfocal.training.loop import Trainer

FAMILIES = {"compact": [], "videocrafter (UNet3DConditionModel)": ["model.family=videocrafter"]}
HELD_OUT = 8
"""Batches to measure on."""


def held_out_losses(trainer: Trainer) -> tuple[float, float]:
    """Mean loss and mean moving-region loss of the averaged weights, on batches that training never drew."""
    far = 10**9
    outputs = []
    with trainer.averaged(), torch.no_grad():
        for n in range(HELD_OUT):
            batch = trainer.dataset[far + n]
            outputs.append(trainer.objective(batch, torch.Generator().manual_seed(n)))
    diffusion = torch.stack([output.diffusion for output in outputs]).mean().item()
    moving = torch.stack([output.stats.moving_loss for output in outputs]).nanmean().item()
    return diffusion, moving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240)
    budget = parser.parse_args().seconds
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(
        "| family | weights | CPU s a step | steps | held-out loss | held-out moving loss |\n|---|---|---|---|---|---|"
    )
    for name, overrides in FAMILIES.items():
        config = load_config(
            None if overrides else recipe("sprites"), ["loss.weighting=none", "batch_size=8", *overrides]
        )
        trainer = Trainer(config, SpritesSource(SpritesData(), 0))
        started = time.process_time()
        while (spent := time.process_time() - started) < budget:
            trainer.train_step(trainer.dataset[trainer.step])
        weights = sum(parameter.numel() for parameter in trainer.network.parameters())
        diffusion, moving = held_out_losses(trainer)
        print(
            f"| {name} | {weights / 1e6:.2f} M | {spent / trainer.step:.2f} | {trainer.step}"
            f" | {diffusion:.4f} | {moving:.4f} |"
        )


if __name__ == "__main__":
    main()
