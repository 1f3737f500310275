"""RAFT (Teed and Deng, ECCV 2020) from torchvision, the paper's flow. On a CPU it takes seconds a pair."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from motionfocal.errors import UnavailableError

RaftSize = Literal["large", "small"]

# Four correlation levels on features at an eighth of the size: below 128 pixels the last level is empty.
_SMALLEST_SIDE = 128


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

    ``load`` gives the network for a size. Frames are enlarged by a whole factor until both sides have 128
    pixels, then padded to a multiple of 8; the flow comes back at the frames' own size.
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
        self.network = load(size).eval().to(self.device)

    def __call__(self, frames_from: NDArray[np.uint8], frames_to: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow float32 [N,H,W,2] in pixels of uint8 RGB frames [N,H,W,3]."""
        starts = range(0, len(frames_from), self.batch)
        flows = [self._flow(frames_from[i : i + self.batch], frames_to[i : i + self.batch]) for i in starts]
        return np.concatenate(flows)

    @torch.inference_mode()
    def _flow(self, frames_from: NDArray[np.uint8], frames_to: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = frames_from.shape[1:3]
        factor = -(-_SMALLEST_SIDE // min(height, width))
        flow = self.network(self._input(frames_from, factor), self._input(frames_to, factor))[-1]
        flow = flow[..., : height * factor, : width * factor]
        flow = F.avg_pool2d(flow, factor) / factor if factor > 1 else flow
        return flow.permute(0, 2, 3, 1).float().cpu().numpy()

    def _input(self, frames: NDArray[np.uint8], factor: int) -> Tensor:
        """Frames as the network takes them: [N,3,H,W] in [-1,1], enlarged, padded at the right and below."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        images = pixels.permute(0, 3, 1, 2) / 127.5 - 1
        if factor > 1:
            images = F.interpolate(images, scale_factor=factor, mode="bilinear", align_corners=False)
        height, width = images.shape[-2:]
        return F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
