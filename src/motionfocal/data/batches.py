"""What one step of training sees: latents, conditions, and the motion heatmap pooled to the latent grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from motionfocal.data.cache import CacheSource, EncodedExample
from motionfocal.data.sources import ClipSource, Example
from motionfocal.engine import Raised, as_it_is, kept, raised
from motionfocal.models.protocol import Tensors, VideoModel
from motionfocal.motion import LatentSpec, pool_to_latent
from motionfocal.motion.heatmap import HeatmapSettings, motion_of


@dataclass(frozen=True)
class MotionBatch:
    """``heat`` float32 ``[B,1,T',h,w]`` in [0, 1], ``score`` ``[B]`` (see ``ClipMotion``)."""

    heat: Tensor
    score: Tensor


@dataclass(frozen=True)
class EncodedBatch:
    """Clips as the objective takes them: latents ``[B,C,T',h,w]``, conditions, motion, fps ``[B]``."""

    latents: Tensor
    image: Tensors
    text: Tensors
    motion: MotionBatch
    fps: Tensor

    def to(self, device: torch.device) -> Self:
        """The batch on a device."""
        return type(self)(
            self.latents.to(device),
            {name: tensor.to(device) for name, tensor in self.image.items()},
            {name: tensor.to(device) for name, tensor in self.text.items()},
            MotionBatch(self.motion.heat.to(device), self.motion.score.to(device)),
            self.fps.to(device),
        )


@dataclass(frozen=True)
class ClipBatch:
    """Clips as they were read: frames uint8 ``[B,T,H,W,3]``, texts, motion, fps ``[B]``.

    ``unread`` says, by id, why others could not be read, whose places they take.
    """

    frames: Tensor
    texts: tuple[str, ...]
    motion: MotionBatch
    fps: Tensor
    unread: Mapping[str, str] = field(default_factory=dict)

    @torch.no_grad()
    def encode(self, model: VideoModel, device: torch.device) -> EncodedBatch:
        """The batch through the frozen parts of a model."""
        frames = self.frames.to(device)
        return EncodedBatch(
            model.encode(frames),
            model.encode_image(frames[:, 0], frames.shape[1]),
            model.encode_text(self.texts),
            self.motion,
            self.fps,
        ).to(device)


@dataclass(frozen=True)
class Split:
    """How the clips of a step are divided: ``count`` parts of equal size, one forward pass each."""

    batch_size: int
    count: int

    def clips(self, part: int) -> range:
        """The clips of a part, as positions in the step's batch."""
        size = self.batch_size // self.count
        return range(part * size, (part + 1) * size)


class BatchSource(Protocol):
    """Parts of batches, each a pure function of its step and its place in the batch."""

    def load(self, step: int, size: int, clips: range) -> ClipBatch | EncodedBatch:
        """Some clips of the batch of ``size`` clips that belongs to a step."""
        ...

    def alone(self, number: int) -> ClipBatch | EncodedBatch:
        """A batch of one clip, by its number in the source. Raises MediaError or DamagedFileError."""
        ...

    def no_text(self, model: VideoModel) -> Tensors:
        """What the model is told where there is no text, ``[1,...]``."""
        ...


class ClipBatches:
    """Batches of clips with their heatmaps.

    The crop, size and stride that the model sees are those that the flow is computed on: both come from one example.
    """

    def __init__(self, source: ClipSource, motion: HeatmapSettings, spec: LatentSpec) -> None:
        self._source, self._motion, self._spec = source, motion, spec
        self._known: dict[str, tuple[Tensor, float]] = {}

    def load(self, step: int, size: int, clips: range) -> ClipBatch:
        """See ``BatchSource``."""
        return self._batch(self._source.batch(step, size, clips))

    def alone(self, number: int) -> ClipBatch:
        """See ``BatchSource``."""
        return self._batch([self._source[number]])

    def _batch(self, examples: Sequence[Example]) -> ClipBatch:
        motions = [self._motion_of(example) for example in examples]
        return ClipBatch(
            frames=torch.from_numpy(np.stack([example.frames for example in examples])),
            texts=tuple(example.text for example in examples),
            motion=MotionBatch(
                torch.stack([heat for heat, _ in motions])[:, None], torch.tensor([score for _, score in motions])
            ),
            fps=torch.tensor([example.fps for example in examples]),
            unread={clip: reason for example in examples for clip, reason in example.unread.items()},
        )

    def no_text(self, model: VideoModel) -> Tensors:
        """See ``BatchSource``."""
        return model.encode_text([""])

    def _motion_of(self, example: Example) -> tuple[Tensor, float]:
        """The pooled heatmap and the score, computed once for a clip that comes back every epoch."""
        if example.key is None:
            return self._measure(example)
        if example.key not in self._known:
            self._known[example.key] = self._measure(example)
        return self._known[example.key]

    def _measure(self, example: Example) -> tuple[Tensor, float]:
        motion = motion_of(example.frames, self._motion, example.moving)
        return pool_to_latent(motion.heat, self._spec), motion.score


class CachedBatches:
    """Batches that were prepared before; nothing is decoded or encoded."""

    def __init__(self, source: CacheSource) -> None:
        self._source = source

    def load(self, step: int, size: int, clips: range) -> EncodedBatch:
        """See ``BatchSource``."""
        return self._batch(self._source.batch(step, size, clips))

    def alone(self, number: int) -> EncodedBatch:
        """See ``BatchSource``."""
        return self._batch([self._source[number]])

    def _batch(self, examples: Sequence[EncodedExample]) -> EncodedBatch:
        return EncodedBatch(
            latents=torch.stack([example.latents for example in examples]),
            image=_stack([example.image for example in examples]),
            text=_stack([example.text for example in examples]),
            motion=MotionBatch(
                torch.stack([example.heat for example in examples])[:, None],
                torch.tensor([example.score for example in examples]),
            ),
            fps=torch.tensor([example.fps for example in examples]),
        )

    def no_text(self, model: VideoModel) -> Tensors:
        """See ``BatchSource``; the model is not asked."""
        return _stack([self._source.text("")])


def batches_of(source: ClipSource | CacheSource, motion: HeatmapSettings, spec: LatentSpec) -> BatchSource:
    """The batches of a source of either kind."""
    return CachedBatches(source) if isinstance(source, CacheSource) else ClipBatches(source, motion, spec)


def _stack(examples: Sequence[Tensors]) -> Tensors:
    """Named tensors of examples as those of a batch."""
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}


class _Parts(Dataset[ClipBatch | EncodedBatch | Raised]):
    """Parts by (step, part)."""

    def __init__(self, source: BatchSource, split: Split) -> None:
        self._source, self._split = source, split

    def __getitem__(self, place: tuple[int, int]) -> ClipBatch | EncodedBatch | Raised:
        return kept(self._load, place)

    def _load(self, place: tuple[int, int]) -> ClipBatch | EncodedBatch:
        step, part = place
        return self._source.load(step, self._split.batch_size, self._split.clips(part))


class _Places(Sampler[tuple[int, int]]):
    """The places that are left to one process, in order."""

    def __init__(self, steps: range, parts: range) -> None:
        self._places = [(step, part) for step in steps for part in parts]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def load_parts(
    source: BatchSource, split: Split, steps: range, parts: range, workers: int
) -> Iterator[ClipBatch | EncodedBatch]:
    """The parts of the steps, made ahead by ``workers`` processes (0: none). Raises what the source raises."""
    loader = DataLoader(
        _Parts(source, split), batch_size=None, sampler=_Places(steps, parts), num_workers=workers, collate_fn=as_it_is
    )
    return map(raised, loader)
