"""Draw docs/heatmap.png: a ball that rolls over a lawn, its flow, its heatmap, and the weight on the latent cells."""

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from motionfocal.motion import LatentSpec, estimate_flow, heatmap_of, pool_to_latent

SIZE, FRAMES, RADIUS, STEP = 320, 5, 34, 9
FRAME, CELL = 2, 16


def texture(seed: int, blur: float, colour: tuple[int, int, int]) -> np.ndarray:
    """A surface uint8 [SIZE,SIZE,3] with a grain of some size."""
    grain = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), (0, 0), blur)
    return np.clip(np.array(colour) + 30 * (grain / grain.std())[..., None], 0, 255).astype(np.uint8)


def rolling_ball() -> np.ndarray:
    """A clip uint8 [T,SIZE,SIZE,3]: the ball moves STEP pixels per frame to the right, and the ground stands still."""
    ground, ball = texture(0, 2, (90, 120, 80)), texture(1, 4, (200, 80, 60))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    clip = np.repeat(ground[None], FRAMES, axis=0)
    for number, frame in enumerate(clip):
        inside = np.hypot(rows - SIZE * 0.6, columns - SIZE * 0.4 - STEP * number) < RADIUS
        frame[inside] = np.roll(ball, STEP * number, axis=1)[inside]
    return clip


def colours(flow: np.ndarray) -> np.ndarray:
    """Direction as hue, length as brightness."""
    length, angle = np.linalg.norm(flow, axis=-1), np.arctan2(flow[..., 1], flow[..., 0])
    hue = ((angle + np.pi) * 90 / np.pi).astype(np.uint8)
    value = np.clip(255 * length / max(length.max(), 1e-6), 0, 255).astype(np.uint8)
    return cv2.cvtColor(np.stack([hue, np.full_like(hue, 255), value], axis=-1), cv2.COLOR_HSV2RGB)


def main() -> None:
    """Write the picture."""
    mpl.use("Agg")
    clip = rolling_ball()
    heat = heatmap_of(clip)
    cells = pool_to_latent(heat, LatentSpec(channels=4, spatial=CELL))
    panels = {
        "a ball rolls over a lawn": clip[FRAME],
        "flow to the next": colours(estimate_flow(clip)[FRAME]),
        "heatmap": heat[FRAME],
        "m' on the latent cells": cells[FRAME].numpy(),
    }
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), dpi=110)
    for axis, (title, picture) in zip(axes, panels.items(), strict=True):
        axis.imshow(picture, cmap="magma", vmin=0, vmax=1 if picture.ndim == 2 else None, interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(Path(__file__).parents[1] / "heatmap.png")


if __name__ == "__main__":
    main()
