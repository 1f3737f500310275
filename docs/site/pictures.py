"""Draw docs/heatmap.png: a clip of the sprites world, its flow, its heatmap, and the weight on the latent cells."""

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from motionfocal.motion import HeatmapSettings, LatentSpec, estimate_flow, heatmap_of, pool_to_latent
from motionfocal.worlds import SpritesSettings, SpritesWorld

SEED, FRAME, SIDE = 4, 3, 8


def colours(flow: np.ndarray) -> np.ndarray:
    """Direction as hue, length as brightness."""
    length, angle = np.linalg.norm(flow, axis=-1), np.arctan2(flow[..., 1], flow[..., 0])
    hue = ((angle + np.pi) * 90 / np.pi).astype(np.uint8)
    value = np.clip(255 * length / max(length.max(), 1e-6), 0, 255).astype(np.uint8)
    return cv2.cvtColor(np.stack([hue, np.full_like(hue, 255), value], axis=-1), cv2.COLOR_HSV2RGB)


def main() -> None:
    """Write the picture."""
    mpl.use("Agg")
    world = SpritesWorld(SpritesSettings(size=96, frames=8, sprites=3))
    rng = np.random.default_rng(SEED)
    scene = world.scene(rng)
    clip = world.render(scene, world.action(scene, rng), rng)
    heat = heatmap_of(clip, HeatmapSettings())
    cells = pool_to_latent(heat, LatentSpec(channels=4, spatial=SIDE))
    panels = {
        "the red circle moves right": clip[FRAME],
        "flow to the next": colours(estimate_flow(clip)[FRAME]),
        "heatmap m'": heat[FRAME],
        "weight on the latent cells": cells[FRAME].numpy(),
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
