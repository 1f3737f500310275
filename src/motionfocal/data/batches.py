"""What one step of training sees: frames, texts and the motion heatmap pooled to the model's latent grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from motionfocal.data.sources import ClipSource, Example
from motionfocal.motion import LatentSpec, heatmap_of, pool_to_latent
from motionfocal.motion.heatmap import HeatmapSettings


@dataclass(frozen=True)
class TrainingBatch:
    """Frames uint8 ``[B,T,H,W,3]``, heat float32 ``[B,1,T',h,w]`` in [0, 1], texts, fps ``[B]``."""

    frames: Tensor
    heat: Tensor
    texts: tuple[str, ...]
    fps: Tensor


class BatchDataset(Dataset[TrainingBatch]):
    """Batch ``step`` holds the examples ``step * size`` to ``(step + 1) * size - 1`` of a source.

    The crop, size and stride that the model sees are those that the flow is computed on: both come from one example.
    """

    def __init__(self, source: ClipSource, size: int, motion: HeatmapSettings, spec: LatentSpec) -> None:
        self._source, self._size, self._motion, self._spec = source, size, motion, spec
        self._known: dict[str, Tensor] = {}

    def __getitem__(self, step: int) -> TrainingBatch:
        """The batch of a step: a pure function of the step, so that a resumed run sees what it would have seen."""
        examples = [self._source[step * self._size + n] for n in range(self._size)]
        return TrainingBatch(
            frames=torch.from_numpy(np.stack([example.frames for example in examples])),
            heat=torch.stack([self._heat(example) for example in examples])[:, None],
            texts=tuple(example.text for example in examples),
            fps=torch.tensor([example.fps for example in examples]),
        )

    def _heat(self, example: Example) -> Tensor:
        """The pooled heatmap, computed once for a clip that comes back every epoch."""
        if example.key is None:
            return self._compute_heat(example)
        if example.key not in self._known:
            self._known[example.key] = self._compute_heat(example)
        return self._known[example.key]

    def _compute_heat(self, example: Example) -> Tensor:
        return pool_to_latent(heatmap_of(example.frames, self._motion), self._spec)


class _Steps(Sampler[int]):
    """The steps that are left."""

    def __init__(self, start: int, stop: int) -> None:
        self._steps = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)


def batches(dataset: BatchDataset, start: int, stop: int, workers: int) -> DataLoader[TrainingBatch]:
    """Iterate over the batches of steps ``start`` to ``stop - 1``, made ahead by ``workers`` processes (0: none)."""
    return DataLoader(dataset, batch_size=None, sampler=_Steps(start, stop), num_workers=workers, collate_fn=_as_it_is)


def _as_it_is(batch: TrainingBatch | Sequence[TrainingBatch]) -> TrainingBatch | Sequence[TrainingBatch]:
    return batch
