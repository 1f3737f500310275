"""What a model learns in the same CPU time: the compact denoiser beside the smallest library class.

Each family trains by the sprites recipe, without the motion focal loss, for the same seconds of CPU on one thread, and
is then measured on the same held-out clips. The moving-region loss says what it knows of the motion.

    python benchmarks/learning.py [--seconds 240]
"""

import argparse
import time

import cv2
import torch

from motionfocal.data.batches import ClipBatches
from motionfocal.data.sources import SpritesData, SpritesSource
from motionfocal.models.families import compact, unet3d
from motionfocal.training.config import load_config, recipe
from motionfocal.training.loop import Trainer
from motionfocal.training.objective import ClipSeeds

FAMILIES = {
    "compact": compact.Family(width=32),
    "unet3d (UNet3DConditionModel)": unet3d.Family(widths=(32, 32)),
}
BATCHES = 8
"""Held-out batches to measure on."""


def held_out_losses(trainer: Trainer) -> tuple[float, float]:
    """Mean loss and mean moving-region loss of the averaged weights, on clips of another seed."""
    config = trainer.config
    clips = ClipBatches(SpritesSource(SpritesData(), seed=10**6), config.motion, trainer.model.spec)
    places = range(config.batch_size)
    with trainer.averaged(), torch.no_grad():
        batches = (clips.load(n, len(places), places) for n in range(BATCHES))
        encoded = (batch.encode(trainer.model, torch.device("cpu")) for batch in batches)
        outputs = [trainer.objective(batch, ClipSeeds(0, n, places)) for n, batch in enumerate(encoded)]
    diffusion = torch.stack([output.diffusion for output in outputs]).mean().item()
    moving = torch.stack([output.stats.moving_loss for output in outputs]).nanmean().item()
    return diffusion, moving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240)
    budget = parser.parse_args().seconds
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    base = load_config(recipe("sprites"), ["loss.weighting=none", "device=cpu"])
    print("| family | weights | CPU s a step | steps | held-out loss | held-out moving loss |\n" + "|---" * 6 + "|")
    for name, model in FAMILIES.items():
        trainer = Trainer(base.model_copy(update={"model": model}), SpritesSource(SpritesData(), base.seed))
        started = time.process_time()
        while (spent := time.process_time() - started) < budget:
            trainer.train_step(iter([trainer.source.load(trainer.step, base.batch_size, range(base.batch_size))]))
        weights = sum(parameter.numel() for parameter in trainer.learner.weights.values()) / 1e6
        diffusion, moving = held_out_losses(trainer)
        pace = f"{spent / trainer.step:.2f} | {trainer.step}"
        print(f"| {name} | {weights:.2f} M | {pace} | {diffusion:.4f} | {moving:.4f} |", flush=True)


if __name__ == "__main__":
    main()
