"""How much of ``prepare`` is the flow itself, and what a second core brings; a folder of clips of its own making.

    python benchmarks/prepare_throughput.py [--clips 12] [--estimator farneback] [--repeats 3]

The bare flow is the estimator alone on the same frames, decoded beforehand, in both directions. The encoder does
nothing, so that what is compared is reading, flow, heatmap, pooling and writing. One core: by CPU time, in turns. Two
cores: by the clock, on an idle machine.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from figures import Figure, spread, tell

from motionfocal.data.cache import CacheSpec
from motionfocal.data.prepare import prepare
from motionfocal.data.sources import FolderData
from motionfocal.engine import HERE, Engine, Local
from motionfocal.motion import HeatmapSettings, LatentSpec, estimate_flow
from motionfocal.video import read_clip, write_clip

SIZE, FRAMES = (320, 512), 16
SPEC = LatentSpec(channels=4, spatial=8)


class NoModel:
    """Encodes nothing, at once."""

    device = torch.device("cpu")

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Zeros."""
        return torch.zeros(1, SPEC.channels, *SPEC.grid(*frames.shape[1:4]))

    def encode_image(self, images: torch.Tensor, frames: int) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def encode_text(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """A zero."""
        return {"none": torch.zeros(1, 1)}


def some_clips(folder: Path, count: int) -> list[Path]:
    """Clips of a textured ground over which a window moves."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (700, 900, 3), np.uint8), (0, 0), 2.0)
    ground = cv2.normalize(ground, None, 0, 255, cv2.NORM_MINMAX)
    files = [folder / f"{n}.mp4" for n in range(count)]
    for n, file in enumerate(files):
        starts = [(n + 2 * k, n + 3 * k) for k in range(FRAMES)]
        write_clip(file, np.stack([ground[y : y + SIZE[0], x : x + SIZE[1]] for y, x in starts]), 8)
    (folder / "metadata.csv").write_text("file_name,text\n" + "".join(f"{file.name},it moves\n" for file in files))
    return files


def prepared(folder: Path, settings: HeatmapSettings, engine: Engine) -> None:
    """All clips into a new cache."""
    with tempfile.TemporaryDirectory() as cache:
        data = FolderData(videos=folder, frames=FRAMES, height=SIZE[0], width=SIZE[1], cache=Path(cache))
        report = prepare(CacheSpec(data, settings, SPEC, "none"), NoModel, engine=engine)  # type: ignore[arg-type]
        if report.rejected:
            raise SystemExit(f"not all clips could be read: {report.rejected[0].reason}")


def spent(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Seconds by a clock."""
    began = clock()
    work()
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--estimator", default="farneback")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    settings = HeatmapSettings(estimator=args.estimator)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [read_clip(file).frames for file in some_clips(folder, args.clips)]

        def flow() -> None:
            for frames in clips:
                estimate_flow(frames, args.estimator)
                estimate_flow(frames, args.estimator, backward=True)

        prepared(folder, settings, HERE)  # imports, and the disk's cache
        shares, speedups, seconds = [], [], []
        for _ in range(args.repeats):
            bare = spent(time.process_time, flow)
            all_of_it = spent(time.process_time, lambda: prepared(folder, settings, HERE))
            one = spent(time.perf_counter, lambda: prepared(folder, settings, Local(1)))
            two = spent(time.perf_counter, lambda: prepared(folder, settings, Local(2)))
            shares.append(bare / all_of_it)
            speedups.append(one / two)
            seconds.append(all_of_it / args.clips)
    print(f"{args.estimator}, {FRAMES} frames of {SIZE[0]}x{SIZE[1]}, {args.clips} clips, {args.repeats} times")
    print(f"{spread(shares)} of the bare flow's throughput")
    print(f"{spread(speedups)} times as fast on two cores")
    print(f"{statistics.median(seconds):.2f} CPU seconds a clip")
    tell(
        Figure(
            f"`prepare`, against its bare flow ({args.estimator}) on the same frames, one core",
            spread(shares),
            "at least 0.9",
        ),
        Figure("`prepare` on two cores, against one", spread(speedups), "at least 1.8"),
    )


if __name__ == "__main__":
    main()
