"""What the heatmaps of an experiment's arms light: how much, and how much of it truly moves.

    python benchmarks/heat_of_arms.py experiments/heatmap.yaml [--clips 200]

By arm, over clips of the arm's world: the share of the pixels that are lit (heat > 0.5); the mean of m'^2, which is
what the paper's loss adds to the weight of a clip, in per cent; how much of that lies on what truly moves; and the
share of what truly moves that is lit.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from motionfocal.experiments.plan import RunPlan, load_plan
from motionfocal.motion.heatmap import motion_of, moving_share
from motionfocal.worlds import SpritesWorld

Clip = tuple[np.ndarray, np.ndarray]


def clips_of(run: RunPlan, count: int) -> list[Clip]:
    """Frames of clips in which something moves, and what truly moves in them."""
    world, rng = SpritesWorld(run.world), np.random.default_rng(0)
    clips: list[Clip] = []
    while len(clips) < count:
        scene = world.scene(rng)
        action = world.action(scene, rng)
        moving = world.moving_mask(scene, action)
        if moving.any():
            clips.append((world.render(scene, action, rng), moving))
    return clips


def measured(run: RunPlan, clips: list[Clip]) -> list[float]:
    """The four figures of an arm, in per cent."""
    figures = []
    for frames, moving in clips:
        heat = motion_of(frames, run.config.motion, moving).heat
        weight = heat**2
        on_it = (weight * moving).mean()
        figures.append([moving_share(heat), weight.mean(), on_it, moving_share(heat[moving])])
    return [100 * float(value) for value in np.mean(figures, axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    arms = {run.arm: run for run in reversed(load_plan(args.experiment).runs(args.experiment.parent))}
    print(f"{'arm':24}  lit %   mean m'^2 %   on what moves %   lit of what moves %")
    for arm, run in reversed(arms.items()):
        lit, weight, on_it, seen = measured(run, clips_of(run, args.clips))
        print(f"{arm:24} {lit:6.1f} {weight:13.2f} {on_it:17.2f} {seen:21.0f}")


if __name__ == "__main__":
    main()
