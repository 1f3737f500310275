"""Peak memory of writing and then reading a clip frame by frame, as whole processes, against the clip's length."""

import subprocess
import sys

LENGTHS = (16, 1_000, 10_000)
CHILD = """
import resource, sys, tempfile
from pathlib import Path
import numpy as np
from motionfocal.video import iter_frames, write_clip

length = int(sys.argv[1])
picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "clip.mp4"
    write_clip(path, (np.roll(picture, n, axis=1) for n in range(length)), 24)
    assert sum(1 for _ in iter_frames(path)) == length
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    print("| frames of 256x256 | peak MB |\n|---|---|")
    for length in LENGTHS:
        command = [sys.executable, "-c", CHILD, str(length)]
        out = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"| {length} | {float(out.stdout):.0f} |", flush=True)


if __name__ == "__main__":
    main()
