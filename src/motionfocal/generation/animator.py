"""Anything that animates benchmark items: our checkpoints, pipelines of diffusers, other projects' programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.video import Clip


@dataclass(frozen=True)
class Made:
    """The clip of an item, at the model's own size, length and rate, and the seed that it was made from.

    ``seed`` is None where a program does not let one choose it.
    """

    id: str
    clip: Clip
    seed: int | None


@dataclass(frozen=True)
class Failed:
    """An item that could not be animated, and why; the others go on."""

    id: str
    reason: str


class Animator(Protocol):
    """A model, ready to animate."""

    @property
    def name(self) -> str:
        """What galleries and reports call the model."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """All that decides a clip besides its item and seed, JSON: weights, sampler, size, the program's version."""
        ...

    @property
    def steps(self) -> int | None:
        """Sampling steps; None where nobody knows."""
        ...

    @property
    def group(self) -> int:
        """How many items it is best given at a time: a batch of a GPU, or all for a program that takes a list."""
        ...

    def animate(self, items: Sequence[BenchmarkItem], seeds: Sequence[int]) -> Iterator[Made | Failed]:
        """Each item once, in any order, each as soon as it is there.

        Raises:
            UnavailableError: the model's weights, or the program's checkout or environment, are not on this machine;
                the text says how to get them. Nothing has been animated.
        """
        ...
