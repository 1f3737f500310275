"""Peak memory against the length of a clip, as whole processes: written and read frame by frame, and by ``prepare``.

    python benchmarks/prepare_memory.py

Frames of 256x256; ``prepare`` takes 16 frames, spread over the whole clip, with an encoder that does nothing. Each
process imports only what it measures.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import Figure, tell

LENGTHS = (16, 1_000, 10_000)
KINDS = ("frames", "prepare")


def make_clip(path: Path, length: int) -> None:
    """A picture that rolls sideways."""
    from motionfocal.video import write_clip

    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    write_clip(path, (np.roll(picture, n, axis=1) for n in range(length)), 24)


def read_through(folder: Path, length: int) -> None:
    """Writes the clip, and reads it."""
    from motionfocal.video import iter_frames

    make_clip(folder / "clip.mp4", length)
    if sum(1 for _ in iter_frames(folder / "clip.mp4")) != length:
        raise SystemExit("frames were lost")


def prepare_it(folder: Path, length: int) -> None:
    """Prepares the clip that another process wrote."""
    from prepare_throughput import SPEC, NoModel

    from motionfocal.data.cache import CacheSpec
    from motionfocal.data.prepare import prepare
    from motionfocal.data.sources import FolderData
    from motionfocal.engine import HERE
    from motionfocal.motion import HeatmapSettings

    (folder / "metadata.csv").write_text("file_name,text\nclip.mp4,it moves\n")
    stride = max(1, (length - 1) // 15)
    data = FolderData(videos=folder, frames=16, stride=stride, height=256, width=256, cache=folder / "cache")
    settings = HeatmapSettings(estimator="farneback")
    report = prepare(CacheSpec(data, settings, SPEC, "none"), NoModel, engine=HERE)  # type: ignore[arg-type]
    if report.rejected:
        raise SystemExit(f"not prepared: {report.rejected[0].reason}")


def peak(kind: str, length: int) -> float:
    """Megabytes of a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "prepare":
            make_clip(Path(folder) / "clip.mp4", length)
        command = [sys.executable, __file__, "--measure", kind, folder, str(length)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    if asked := parser.parse_args().measure:
        kind, folder, length = asked
        {"frames": read_through, "prepare": prepare_it}[kind](Path(folder), int(length))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(f"| frames of 256x256 | {' | '.join(f'{kind}, peak MB' for kind in KINDS)} |\n|---|---|---|")
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for length in LENGTHS:
        for kind in KINDS:
            found[kind].append(peak(kind, length))
        print(f"| {length} | {' | '.join(f'{found[kind][-1]:.0f}' for kind in KINDS)} |", flush=True)
    lengths = " / ".join(f"{length:,}" for length in LENGTHS)
    names = {"frames": "writing and reading frame by frame", "prepare": "`prepare` of one clip"}
    tell(
        *(
            Figure(
                f"peak memory of {names[kind]}, {lengths} frames, MB",
                " / ".join(f"{value:.0f}" for value in found[kind]),
                "flat",
            )
            for kind in KINDS
        )
    )


if __name__ == "__main__":
    main()
