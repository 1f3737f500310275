"""What it saves to decode a clip once for all metrics: the weights-free set at 1280x720, against passes of their own.

Both sides compute the same values with the same code, on one thread. "One pass" streams each clip by all metrics at
once. "A pass a value" reads the whole clip into memory for each of the values, as suites do that keep each dimension
apart; "a pass a metric" for each metric, whose values share their work. Each side runs in a process of its own;
memory is its peak above what the process held before the first clip.

    python benchmarks/decode_once.py [--clips 2] [--frames 81] [--rounds 3]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from figures import Figure, spread, tell

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.metrics.clips import FileFrames
from motionfocal.metrics.engine import Job, watch
from motionfocal.metrics.metric import Metric, Sample
from motionfocal.metrics.sets import weights_free
from motionfocal.video import Frames, read_clip, write_clip, write_image

SIDES = ("one pass", "a pass a metric", "a pass a value")


@dataclass(frozen=True)
class InMemory:
    """A whole clip, read before the first frame is looked at."""

    path: Path
    content = ""

    def frames(self) -> Iterator[Frames]:
        """All of them."""
        return iter(read_clip(self.path).frames)


def write_clips(folder: Path, clips: int, frames: int) -> None:
    """A disc that crosses a textured ground under a slow pan."""
    for n in range(clips):
        rng = np.random.default_rng(n)
        ground = cv2.GaussianBlur(rng.integers(0, 256, (720, 1280 + 2 * frames, 3), dtype=np.uint8), (0, 0), 3)

        def drawn(n: int = n, ground: Frames = ground) -> Iterator[Frames]:
            for t in range(frames):
                frame = np.ascontiguousarray(ground[:, 2 * t : 2 * t + 1280])
                cv2.circle(frame, (200 + 9 * t, 300 + 60 * n), 60, (220, 60, 30), -1)
                yield frame

        write_clip(folder / f"{n}.mp4", drawn(), 24)
        write_image(folder / f"{n}.png", next(drawn()))


def jobs(folder: Path, side: str) -> Iterator[Job]:
    metrics: list[Metric] = weights_free()
    for path in sorted(folder.glob("*.mp4")):
        item = BenchmarkItem(path.stem, path.stem, path.with_suffix(".png"), "")
        sample = Sample("m", item, "", (item,), 24.0, 0)
        if side == "one pass":
            yield Job(sample, FileFrames(path), tuple(metrics))
        for metric in metrics if side != "one pass" else ():
            for _ in metric.outputs if side == "a pass a value" else (None,):
                yield Job(sample, InMemory(path), (metric,))


def measure(folder: Path, side: str) -> None:
    """Runs in a process of its own; prints seconds and megabytes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    small = np.zeros((2, 64, 64, 3), np.uint8)
    cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(small[0, ..., 0], small[1, ..., 0], None)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    before, started = memory("VmRSS"), time.perf_counter()
    for job in jobs(folder, side):
        watch(job)
    print(json.dumps([time.perf_counter() - started, memory("VmHWM") - before]))


def memory(kind: str) -> float:
    """Of this process, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"clips": 2, "frames": 81, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(Path(chosen.measure[0]), chosen.measure[1])
        return
    found: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder), chosen.clips, chosen.frames)
        for _ in range(chosen.rounds):
            for side in SIDES:
                command = [sys.executable, __file__, "--measure", folder, side]
                found[side].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    frames = chosen.clips * chosen.frames
    once = [seconds for seconds, _ in found["one pass"]]
    held = statistics.median(memory for _, memory in found["one pass"])
    print("| | frames a second | one pass is faster by (range) | memory, MB | of it, one pass |\n|---|---|---|---|---|")
    figures = []
    for side, runs in found.items():
        ratios = [seconds / base for (seconds, _), base in zip(runs, once, strict=True)]
        memory = statistics.median(memory for _, memory in runs)
        speed = frames / statistics.median(seconds for seconds, _ in runs)
        print(f"| {side} | {speed:.1f} | {spread(ratios, 1)} | {memory:.0f} | {100 * held / memory:.0f} % |")
        figures.append(Figure(f"metrics without networks at 720p: time of {side}, against one pass", spread(ratios, 1)))
    tell(*figures[1:])


if __name__ == "__main__":
    main()
