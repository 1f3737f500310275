"""Heatmaps against the true mask: AUC by estimator, size and camera, and what sensor noise lights up.

python benchmarks/heatmap_accuracy.py [--seeds 6]
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
from figures import Figure, tell
from sklearn.metrics import roc_auc_score

from motionfocal.motion import HeatmapSettings, heatmap_of, moving_share

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.textured import textured_clip

SIZES = {
    "64x64": ((64, 64), 6.0, (1.5, 0.7), 2.0),
    "128x128": ((128, 128), 10.0, (3.0, 1.0), 3.0),
    "320x512": ((320, 512), 24.0, (6.0, 2.0), 5.0),
    "720x1280": ((720, 1280), 54.0, (13.5, 4.5), 11.0),
}
"""Size, radius of the disc, its velocity and the camera's speed in pixels a frame."""
NOISES, NOISY_SIZES = (2.0, 4.0, 6.0), ((32, 32), (48, 48), (64, 64), (128, 128), (320, 512))
CASES = {
    "still, raw": ("still", "raw"),
    "still, compensated": ("still", "compensated"),
    "pan, raw": ("pan", "raw"),
    "pan, compensated": ("pan", "compensated"),
}


def aucs(estimator: str, name: str, camera: str, mode: str, seeds: int) -> list[float]:
    size, radius, velocity, speed = SIZES[name]
    found = []
    for seed in range(seeds):
        clip = textured_clip(
            size, radius=radius, velocity=velocity, camera=camera, camera_speed=speed, length=3, seed=seed
        )
        heat = heatmap_of(clip.frames, HeatmapSettings(estimator=estimator, camera=mode))
        found.append(float(roc_auc_score(clip.masks.ravel(), heat.ravel())))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = parser.parse_args().seeds
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    print(f"AUC, mean [worst] of {seeds} clips; seconds of CPU a 16-frame clip, both directions")
    print("| estimator, size | " + " | ".join(CASES) + " | seconds |\n" + "|---" * (len(CASES) + 2) + "|")
    worst: dict[str, float] = {}
    for estimator in ("dis", "farneback"):
        for name, (size, *_) in SIZES.items():
            cells = []
            for camera, mode in CASES.values():
                values = aucs(estimator, name, camera, mode, seeds)
                cells.append(f"{np.mean(values):.4f} [{min(values):.3f}]")
                if mode == "compensated" or camera == "still":
                    worst[estimator] = min(worst.get(estimator, 1.0), *values)
            frames = textured_clip(size, length=16, seed=0).frames
            started = time.process_time()
            heatmap_of(frames, HeatmapSettings(estimator=estimator))
            print(f"| {estimator} {name} | {' | '.join(cells)} | {time.process_time() - started:.2f} |")
    print("\nshare lit in a still clip of 8 frames by sensor noise (standard deviation in grey levels), mean [worst]")
    print("| estimator, size | " + " | ".join(map(str, NOISES)) + " |\n" + "|---" * (len(NOISES) + 1) + "|")
    for estimator in ("dis", "farneback"):
        for size in NOISY_SIZES:
            cells = [noise_share(estimator, size, noise, seeds) for noise in NOISES]
            print(f"| {estimator} {size[0]}x{size[1]} | {' | '.join(cells)} |", flush=True)
    tell(
        *(
            Figure(f"heatmaps ({estimator}) against the true mask, worst AUC of all sizes and cameras", f"{auc:.3f}")
            for estimator, auc in worst.items()
        )
    )


def noise_share(estimator: str, size: tuple[int, int], noise: float, seeds: int) -> str:
    """Per cent of the pixels that noise alone lights."""
    shares = []
    for seed in range(seeds):
        still = textured_clip(size, radius=0, length=1, seed=seed).frames.repeat(8, axis=0)
        noisy = np.clip(still + np.random.default_rng(seed).normal(0, noise, still.shape), 0, 255).astype(np.uint8)
        shares.append(100 * moving_share(heatmap_of(noisy, HeatmapSettings(estimator=estimator))))
    return f"{np.mean(shares):.2f} [{max(shares):.2f}]"


if __name__ == "__main__":
    main()
