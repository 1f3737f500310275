"""Which frames of a clip are taken, at what size, and in which order clips come: pure functions of numbers."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

    An epoch visits every item once, in an order of its own across and within the buckets. What does not fill a batch of
    its bucket waits for the next epoch, so that items of small and of large buckets come equally often. Where there is
    one bucket alone, nothing waits: its last batch is filled by going round, with items that the epoch began with.
    """

    def __init__(self, buckets: Sequence[Bucket], seed: int) -> None:
        """``buckets[n]`` is where item n lies."""
        groups: dict[Bucket, list[int]] = {}
        for item, bucket in enumerate(buckets):
            groups.setdefault(bucket, []).append(item)
        self._groups = [_Group(np.array(groups[bucket]), seed, str(bucket)) for bucket in sorted(groups)]
        self._seed = seed
        self._at_hand: tuple[tuple[int, int], list[list[int]]] = ((-1, -1), [])

    @property
    def scheme(self) -> str:
        """Names the order where it is not the one of the first versions, for what must not go on with another."""
        return "" if len(self._groups) == 1 else "carried over"

    def batch(self, step: int, size: int) -> list[int]:
        """The items of batch ``step``, a pure function of the step and the size."""
        epoch, place = self._find(step, size)
        if self._at_hand[0] != (epoch, size):
            self._at_hand = (epoch, size), self._epoch(epoch, size)
        return self._at_hand[1][place]

    def _find(self, step: int, size: int) -> tuple[int, int]:
        """The epoch that a batch belongs to, and its place there."""
        if len(self._groups) == 1:
            return divmod(step, math.ceil(len(self._groups[0]) / size))

        def before(epoch: int) -> int:
            return sum(group.filled(epoch, size) for group in self._groups)

        epoch = max(0, (step - len(self._groups)) * size // sum(map(len, self._groups)))
        while before(epoch + 1) <= step:
            epoch += 1
        return epoch, step - before(epoch)

    def _epoch(self, epoch: int, size: int) -> list[list[int]]:
        """All batches of an epoch."""
        rng = rng_of("epoch", self._seed, epoch)
        if len(self._groups) == 1:
            batches = self._groups[0].going_round(rng, size)
        else:
            batches = [batch for group in self._groups for batch in group.batches(epoch, size)]
        return [batches[place] for place in rng.permutation(len(batches))]


@dataclass(frozen=True)
class _Group:
    """The items of a bucket, an array of whole numbers."""

    items: NDArray[np.int64]
    seed: int
    name: str

    def __len__(self) -> int:
        return len(self.items)

    def going_round(self, rng: np.random.Generator, size: int) -> list[list[int]]:
        """Every item in batches, the last of which ends with items of the first."""
        shuffled = np.resize(rng.permutation(self.items), math.ceil(len(self) / size) * size)
        found: list[list[int]] = shuffled.reshape(-1, size).tolist()
        return found

    def filled(self, epoch: int, size: int) -> int:
        """How many batches are full before an epoch, where what does not fill one waits for the next epoch."""
        return (epoch * len(self) + self._waiting(size)) // size

    def batches(self, epoch: int, size: int) -> list[list[int]]:
        """The batches that an epoch fills, with items that waited since earlier ones."""
        first, last = (self.filled(number, size) * size - self._waiting(size) for number in (epoch, epoch + 1))
        rounds = range(first // len(self), -(-last // len(self)))
        if first == last:
            return []
        orders = [rng_of("epoch", self.seed, number, self.name).permutation(self.items) for number in rounds]
        skipped = first - rounds.start * len(self)
        found: list[list[int]] = np.concatenate(orders)[skipped : skipped + last - first].reshape(-1, size).tolist()
        return found

    def _waiting(self, size: int) -> int:
        """Items that wait at the beginning: drawn, else a run would end before a small bucket fills a batch.

        So an item comes once an epoch in expectation, from the first on. Where batches divide the bucket, none waits.
        """
        step = math.gcd(len(self), size)
        return step * int(rng_of("waiting", self.seed, self.name, size).integers(size // step))
