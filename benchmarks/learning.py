"""What a model learns in the same CPU time: the compact denoiser beside the smallest library class.

Each family trains by the sprites recipe, without the motion focal loss, for the same seconds of CPU on one thread, and
is then measured on the same held-out clips. The moving-region loss says what it knows of the motion.

    python benchmarks/learning.py [--seconds 240]
"""

import argparse
import time

import cv2
import torch

from motionfocal.cli.train import recipe
from motionfocal.data.batches import BatchDataset
from motionfocal.data.sources import SpritesData, SpritesSource
from motionfocal.models.build import CompactSettings, VideoCrafterSettings
from motionfocal.training.config import load_config
from motionfocal.training.loop import Trainer

FAMILIES = {
    "compact": CompactSettings(width=32),
    "videocrafter (UNet3DConditionModel)": VideoCrafterSettings(widths=(32, 32)),
}
BATCHES = 8
"""Held-out batches to measure on."""


def held_out_losses(trainer: Trainer) -> tuple[float, float]:
    """Mean loss and mean moving-region loss of the averaged weights, on clips of another seed."""
    config = trainer.config
    clips = BatchDataset(SpritesSource(SpritesData(), seed=10**6), config.batch_size, config.motion, trainer.model.spec)
    with trainer.averaged(), torch.no_grad():
        outputs = [trainer.objective(clips[n], torch.Generator().manual_seed(n)) for n in range(BATCHES)]
    diffusion = torch.stack([output.diffusion for output in outputs]).mean().item()
    moving = torch.stack([output.stats.moving_loss for output in outputs]).nanmean().item()
    return diffusion, moving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240)
    budget = parser.parse_args().seconds
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    base = load_config(recipe("sprites"), ["loss.weighting=none"])
    print("| family | weights | CPU s a step | steps | held-out loss | held-out moving loss |\n" + "|---" * 6 + "|")
    for name, model in FAMILIES.items():
        trainer = Trainer(base.model_copy(update={"model": model}), SpritesSource(SpritesData(), base.seed))
        started = time.process_time()
        while (spent := time.process_time() - started) < budget:
            trainer.train_step(trainer.dataset[trainer.step])
        weights = sum(parameter.numel() for parameter in trainer.network.parameters()) / 1e6
        diffusion, moving = held_out_losses(trainer)
        pace = f"{spent / trainer.step:.2f} | {trainer.step}"
        print(f"| {name} | {weights:.2f} M | {pace} | {diffusion:.4f} | {moving:.4f} |", flush=True)


if __name__ == "__main__":
    main()
