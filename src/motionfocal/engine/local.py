"""One machine as an engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from motionfocal.engine.work import Raised, Stages, as_it_is, kept, raised

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Local:
    """Processes of this machine, each on one thread; 0: this process."""

    workers: int = 0

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """See ``Engine``; a worker that dies ends it."""
        if isinstance(work, Stages) and not work.together:
            return map(work.second, self.map(work.first, items))
        workers = min(self.workers, len(items))
        if not workers:
            return map(work, items)
        import cv2
        from torch.utils.data import DataLoader

        results: Any = _Mapped(work, items)  # torch's Dataset, without its class
        loader = DataLoader(results, batch_size=None, num_workers=workers, collate_fn=as_it_is)
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # a fork of a process whose OpenCV has threads hangs when it asks for others
        try:
            return map(raised, iter(loader))
        finally:
            cv2.setNumThreads(threads)


class _Mapped(Generic[T, R]):
    """A data set of results."""

    def __init__(self, work: Callable[[T], R], items: Sequence[T]) -> None:
        self._work, self._items = work, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> R | Raised:
        return kept(self._work, self._items[index])


HERE = Local()
"""This process."""
