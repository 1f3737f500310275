"""Which frames of a clip are taken, at what size, and in which order clips come: pure functions of numbers."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from motionfocal.errors import ShapeError

Size = tuple[int, int]


class Bucket(NamedTuple):
    """Frames, height and width of the clips of one batch."""

    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Window:
    """The frames of a clip that a model sees: every ``stride``-th from frame ``start`` on, scaled and cropped."""

    start: int
    stride: int
    frames: int
    height: int
    width: int

    @property
    def span(self) -> int:
        """Frames of the file from the first to the last one taken."""
        return (self.frames - 1) * self.stride + 1


@dataclass(frozen=True)
class Footage:
    """What a video file holds: frames that can be decoded, their size as displayed, and their rate."""

    frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Sampling:
    """How windows are chosen.

    A clip takes the size nearest in aspect ratio and the longest of the ``lengths`` that it can fill at the smallest
    stride. Where ``drawn``, stride and start are drawn, the stride uniformly from ``stride``, both ends included, and
    lowered as far as the clip's length demands; else the window begins with the clip, at the smallest stride.
    """

    lengths: tuple[int, ...]
    sizes: tuple[Size, ...]
    stride: tuple[int, int]
    drawn: bool

    def bucket(self, footage: Footage) -> Bucket:
        """Where a clip belongs. Raises ShapeError when it is too short for any length."""
        low, shortest = self.stride[0], min(self.lengths)
        fits = [length for length in self.lengths if (length - 1) * low < footage.frames]
        if not fits:
            raise ShapeError(
                f"has {footage.frames} frames; {shortest} at stride {low} need {(shortest - 1) * low + 1}:"
                " take fewer frames or a smaller stride"
            )
        return Bucket(max(fits), *nearest_size(footage.height, footage.width, self.sizes))

    def window(self, footage: Footage, rng: np.random.Generator) -> Window:
        """A window of a clip. Raises ShapeError when it is too short for any length."""
        bucket, (low, high) = self.bucket(footage), self.stride
        if not self.drawn:
            return Window(0, low, *bucket)
        most = (footage.frames - 1) // (bucket.frames - 1)
        stride = min(int(rng.integers(low, high + 1)), most)
        left = footage.frames - Window(0, stride, *bucket).span
        return Window(int(rng.integers(left + 1)), stride, *bucket)

    def usual_fps(self, footage: Footage) -> float:
        """The rate that a model sees of a clip, at the middle of the strides."""
        return footage.fps / (sum(self.stride) / 2)


def nearest_size(height: int, width: int, sizes: Sequence[Size]) -> Size:
    """Of some (height, width) the one whose aspect ratio is nearest, by the distance of the logarithms."""
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0] * height / width)))


def rng_of(*keys: int | str) -> np.random.Generator:
    """A generator for numbers and names: the same on every machine, another wherever one of them differs."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(keys).encode()).digest()[:16]))


class BucketedOrder:
    """An endless sequence of batches over items that lie in buckets, each batch from one bucket alone.

    An epoch visits every item once, in an order of its own across and within the buckets. The last batch of a bucket
    is filled by going round: it ends with items that the bucket's epoch began with.
    """

    def __init__(self, buckets: Sequence[Bucket], seed: int) -> None:
        """``buckets[n]`` is where item n lies."""
        order = sorted(range(len(buckets)), key=lambda item: buckets[item])
        self._groups = [np.array(list(group)) for _, group in groupby(order, key=lambda item: buckets[item])]
        self._seed = seed
        self._at_hand: tuple[tuple[int, int], list[list[int]]] = ((-1, -1), [])

    def batch(self, step: int, size: int) -> list[int]:
        """The items of batch ``step``, a pure function of the step and the size."""
        epoch, place = divmod(step, sum(math.ceil(len(group) / size) for group in self._groups))
        if self._at_hand[0] != (epoch, size):
            self._at_hand = (epoch, size), self._epoch(epoch, size)
        return self._at_hand[1][place]

    def _epoch(self, epoch: int, size: int) -> list[list[int]]:
        """All batches of an epoch."""
        rng = rng_of("epoch", self._seed, epoch)
        batches: list[list[int]] = []
        for group in self._groups:
            shuffled = np.resize(rng.permutation(group), math.ceil(len(group) / size) * size)
            batches += shuffled.reshape(-1, size).tolist()
        return [batches[place] for place in rng.permutation(len(batches))]
