"""RAFT on a clip: our estimator in batches, against ptlflow's, a pair at a time as its own inference goes.

    pip install ptlflow
    python benchmarks/flow_peers.py [--repeats 5]

Both are RAFT-small of equal size with random weights, and update their flow twelve times: what is compared is the road
around the network, reading the file included. By CPU time, in turns, one thread.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import torch
from figures import Figure, spread, tell
from prepare_throughput import FRAMES, SIZE, some_clips
from torchvision.models import optical_flow

from motionfocal.motion import estimate_flow
from motionfocal.motion.raft import Raft
from motionfocal.video import read_clip

UPDATES = 12


def ours(path: Path) -> Callable[[], object]:
    """Our whole way from a file to its flow."""
    torch.manual_seed(0)
    raft = Raft("small", device="cpu", load=lambda _size: optical_flow.raft_small(weights=None))
    return lambda: estimate_flow(read_clip(path).frames, raft)


def theirs(path: Path) -> Callable[[], object]:
    """ptlflow's."""
    try:
        import ptlflow
        from ptlflow.utils.io_adapter import IOAdapter
    except ImportError as error:
        raise SystemExit(f"ptlflow is not here ({error}); pip install ptlflow") from error
    torch.manual_seed(0)
    model = ptlflow.get_model_reference("raft_small")(iters=UPDATES).eval()

    @torch.inference_mode()
    def infer() -> list[torch.Tensor]:
        capture = cv2.VideoCapture(str(path))
        frames = [capture.read()[1] for _ in range(FRAMES)]
        adapter = IOAdapter(output_stride=model.output_stride, input_size=frames[0].shape[:2])
        pairs = pairwise(frames)
        return [model(adapter.prepare_inputs(list(pair)))["flows"] for pair in pairs]

    return infer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        [path] = some_clips(Path(name), 1)
        ways = {"ours": ours(path), "theirs": theirs(path)}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(args.repeats + 1):
            for way, work in ways.items():
                began = time.process_time()
                work()
                if turn:  # the first is for the caches
                    seconds[way].append(time.process_time() - began)
    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["theirs"], strict=True)]
    for way, values in seconds.items():
        print(f"{way}: {median(values):.2f} s")
    print(f"{spread(ratios)} times as fast")
    height, width = SIZE
    what = f"RAFT-small on {FRAMES} frames of {height}x{width}, from the file, times as fast as ptlflow's pair by pair"
    tell(Figure(what, spread(ratios)))


if __name__ == "__main__":
    main()
