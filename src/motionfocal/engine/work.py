"""What is done, and what an engine is that does it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from motionfocal.errors import MotionFocalError

T = TypeVar("T")
M = TypeVar("M")
R = TypeVar("R")


@dataclass(frozen=True)
class Raised:
    """In place of a result: the error that the work raised. Torch would bring the text of its traceback instead."""

    error: MotionFocalError


def kept(work: Callable[[T], R], item: T) -> R | Raised:
    """What ``work`` gives of an item, or the error that it raised, to be raised in another process."""
    try:
        return work(item)
    except MotionFocalError as error:
        return Raised(error)


def raised(result: R | Raised) -> R:
    """The result; raises the error that is in its place."""
    if isinstance(result, Raised):
        raise result.error
    return result


@dataclass(frozen=True)
class Lost:
    """In place of a result: the worker died of it, each time that it was tried."""

    reason: str


@dataclass(frozen=True)
class Stages(Generic[T, M, R]):
    """Work in two stages: the ``first`` is a processor's, the ``second`` an accelerator's, where there is one.

    Processes beside this one do the first, and this one the second. On a cluster with GPUs the second is done by a
    worker for each of them; on one without, each worker does both.

    ``together`` does both with less work, for whoever does both; processes beside this one then do, too.
    """

    first: Callable[[T], M]
    second: Callable[[M], R]
    together: Callable[[T], R] | None = None

    def __call__(self, item: T) -> R:
        """Both, one after the other or together."""
        return self.together(item) if self.together else self.second(self.first(item))


class Engine(Protocol):
    """Something that works."""

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R | Lost]:
        """What ``work`` (which may be ``Stages``) gives of each item, in their order. What it raises, this raises.

        Each worker has a copy of ``work`` of its own, which may keep for the next item what it has loaded for one.
        Where a result is an iterator, a cluster gives all of it at once, as a list.
        """
        ...


def as_it_is(value: T) -> T:
    """The value: a first stage that does nothing."""
    return value
