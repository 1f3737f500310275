"""What the weighting costs: forward and backward of each weighting, as a ratio to a plain MSE in the same run.

python benchmarks/loss_overhead.py [--threads 2]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from figures import Figure, spread, tell

from motionfocal.loss import WEIGHTINGS, MotionFocalLoss

SHAPE = (1, 48, 31, 44, 80)
"""Latents of Wan2.2-TI2V-5B for 121 frames of 704x1280."""
RUNS = 15


def seconds(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> float:
    x.grad = None
    started = time.perf_counter()
    loss(x, y).backward()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    x, y = torch.randn(SHAPE, requires_grad=True), torch.randn(SHAPE)
    heat = torch.rand(SHAPE[0], 1, *SHAPE[2:])
    losses = {name: MotionFocalLoss(weighting=name) for name in WEIGHTINGS}
    ratios: dict[str, list[float]] = {name: [] for name in WEIGHTINGS}
    for run in range(RUNS + 1):
        plain = seconds(F.mse_loss, x, y)
        for name, loss in losses.items():
            ratio = seconds(lambda x, y, loss=loss: loss(x, y, heat).total, x, y) / plain
            if run:  # the first one warms up
                ratios[name].append(ratio)
    print("| weighting | median ratio to MSE | min | max |\n|---|---|---|---|")
    for name, values in ratios.items():
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    shape = ",".join(map(str, SHAPE))
    tell(
        *(
            Figure(
                f"loss `{name}` at `[{shape}]`, forward and backward, times a plain MSE",
                spread(ratios[name]),
                "at most 2",
            )
            for name in ("paper", "motionfocal")
        )
    )


if __name__ == "__main__":
    main()
