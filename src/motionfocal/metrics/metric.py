"""What a metric is: it sees the frames of a clip one by one, as all other metrics do, and then says its values.

A clip is decoded once for all metrics, and no more than two of its frames are held at a time. A metric that needs more
of a frame (its flow, its grey levels) takes it from ``Frame``, which computes it once for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.metrics.frame import Frame

Better = Literal["higher", "lower", "neither"]

Value = float | str | None
Values = dict[str, Value]
"""By output: a number, a class by its name, or None where a clip has no such value."""


@dataclass(frozen=True)
class Output:
    """One column of the results. ``better`` is how it is read; "neither" describes and does not rank.

    A ``headline`` is a figure that a still video cannot win.
    """

    name: str
    better: Better
    description: str
    headline: bool = False


@dataclass(frozen=True)
class Sample:
    """One clip of a model: its item, the ``text`` that it is held against, and its frame rate.

    The text is the item's own but in the reference row of shuffled texts. ``siblings`` are all items of the picture.
    """

    model: str
    item: BenchmarkItem
    text: str
    siblings: tuple[BenchmarkItem, ...]
    fps: float
    frames: int


class Observer(Protocol):
    """Watches one clip."""

    def see(self, frame: Frame) -> None:
        """The next frame. Keep what you compute, not the frame."""
        ...

    def values(self) -> Values:
        """A value for each of the metric's outputs, when the last frame was seen."""
        ...


class Metric(Protocol):
    """Measures single clips."""

    @property
    def name(self) -> str:
        """Names the metric in caches and on the command line."""
        ...

    @property
    def version(self) -> int:
        """Raise it when the same clip gets other values."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """All else that decides values, JSON: thresholds, hashes of weights, versions of libraries."""
        ...

    @property
    def outputs(self) -> Sequence[Output]:
        """What it measures."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether values depend on the sample's text; the row of shuffled texts is of such metrics only."""
        ...

    @property
    def uses_network(self) -> bool:
        """Whether a network of this process looks at the clip: a cluster measures it where it has GPUs."""
        ...

    def begin(self, sample: Sample) -> Observer:
        """Begin with a clip. What costs (networks) is loaded here, at the first clip.

        Raises:
            UnavailableError: something that the metric needs is not on this machine; the text says how to get it.
        """
        ...
