"""RAFT (Teed and Deng, ECCV 2020) from torchvision, the paper's flow. On a CPU it takes seconds a pair."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from motionfocal.errors import UnavailableError

RaftSize = Literal["large", "small"]

# Four correlation levels on features at an eighth of the size: below 128 pixels the last level is empty.
_SMALLEST_SIDE = 128

LARGEST_SIDE = 480
"""Shorter side in pixels to which larger frames are reduced, as for all estimators. At 704x1280 the correlations of
eight pairs would take 8.4 GB, and 21 GB while they are computed."""


def load_raft(size: RaftSize) -> nn.Module:
    """Torchvision's RAFT with its published weights, which torchvision downloads at first use.

    Raises UnavailableError when the weights cannot be fetched, or their file is damaged.
    """
    from torchvision.models import optical_flow as zoo

    try:
        if size == "large":
            return zoo.raft_large(weights=zoo.Raft_Large_Weights.DEFAULT, progress=False)
        return zoo.raft_small(weights=zoo.Raft_Small_Weights.DEFAULT, progress=False)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise UnavailableError(
            f"RAFT's weights could not be fetched or are damaged ({error}); delete torchvision's file from"
            f" {Path(torch.hub.get_dir()) / 'checkpoints'} and try again, put it there yourself on a machine without"
            " network, or use --estimator farneback or dis"
        ) from error


class Raft:
    """A flow estimator that runs ``batch`` pairs at a time on ``device``; by default on ``usual_device``.

    That is the process's current GPU, if there is one, unless it was set to something else.

    ``load`` gives the network for a size. Frames are enlarged by a whole factor until both sides have 128 pixels, or
    reduced until the shorter one has 480, then padded to a multiple of 8; the flow comes back at their own size.
    """

    usual_device: ClassVar[str | None] = None

    def __init__(
        self,
        size: RaftSize = "large",
        *,
        device: str | None = None,
        batch: int = 8,
        load: Callable[[RaftSize], nn.Module] = load_raft,
    ) -> None:
        self.device = torch.device(device or self.usual_device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.batch = batch
        self.network: Any = load(size).eval().to(self.device)

    def __call__(self, frames_from: NDArray[np.uint8], frames_to: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow float32 [N,H,W,2] in pixels of uint8 RGB frames [N,H,W,3]."""
        starts = range(0, len(frames_from), self.batch)
        flows = [self._flow(frames_from[i : i + self.batch], frames_to[i : i + self.batch]) for i in starts]
        return np.concatenate(flows)

    @torch.inference_mode()
    def _flow(self, frames_from: NDArray[np.uint8], frames_to: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = frames_from.shape[1:3]
        shorter = min(height, width)
        factor = -(-_SMALLEST_SIDE // shorter) if shorter < _SMALLEST_SIDE else min(1.0, LARGEST_SIDE / shorter)
        seen = round(height * factor), round(width * factor)
        flow: Tensor = self.network(self._input(frames_from, seen), self._input(frames_to, seen))[-1]
        self.network.corr_block.corr_pyramid = []  # gigabytes, which torchvision keeps until the next pairs
        flow = flow[..., : seen[0], : seen[1]].float()
        flow = F.interpolate(flow, (height, width), mode="area" if factor > 1 else "bilinear").permute(0, 2, 3, 1)
        return (flow * flow.new_tensor([width / seen[1], height / seen[0]])).cpu().numpy()

    def _input(self, frames: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        """Frames as the network takes them: [N,3,H,W] in [-1,1] at a size, padded at the right and below."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
        images = F.interpolate(images, size, mode="bilinear", antialias=size[0] < images.shape[-2])
        return F.pad(images, (0, -size[1] % 8, 0, -size[0] % 8), mode="replicate")
