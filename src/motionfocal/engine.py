"""Where work is done: in this process, in processes beside it, or on a Ray cluster. The results are the same."""

import importlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from motionfocal.errors import ConfigError, UnavailableError

T = TypeVar("T")
R = TypeVar("R")
EngineName = Literal["local", "ray"]

LIVES = 3
"""How often work is begun again, perhaps elsewhere, when its worker or its node is lost."""

_AHEAD = 4
"""Results that a cluster may be ahead of the one that is asked for, for each of its workers: what memory holds."""

_PATIENCE = 10.0
"""Seconds within which a cluster's address must answer."""


@dataclass(frozen=True)
class Lost:
    """In place of a result: the worker died of it, each time that it was tried."""

    reason: str


class Engine(Protocol):
    """Something that works."""

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R | Lost]:
        """What ``work`` gives of each item, in the order of the items. What it raises, this raises.

        Each worker has a copy of ``work`` of its own, which may keep for the next item what it has loaded for one.
        """
        ...


@dataclass(frozen=True)
class Local:
    """Processes of this machine, each on one thread; 0: this process."""

    workers: int = 0

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """See ``Engine``; a worker that dies ends it."""
        import cv2
        from torch.utils.data import DataLoader

        results: Any = _Mapped(work, items)  # torch's Dataset, without its class
        workers = min(self.workers, len(items))
        loader = DataLoader(results, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
        if not workers:
            return iter(loader)
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # a fork of a process whose OpenCV has threads hangs when it asks for others
        try:
            return iter(loader)
        finally:
            cv2.setNumThreads(threads)


class _Mapped(Generic[T, R]):
    """A data set of results."""

    def __init__(self, work: Callable[[T], R], items: Sequence[T]) -> None:
        self._work, self._items = work, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> R:
        return self._work(self._items[index])


@dataclass(frozen=True)
class RayCluster:
    """Workers of a Ray cluster, one a core; the files that they read must lie at the same paths on every node.

    ``address`` is as ``ray.init`` takes it: ``auto`` or ``host:port`` of a cluster, ``ray://host:port`` of its client
    server; None joins the one that ``RAY_ADDRESS`` names, or starts one here.
    """

    address: str | None = None

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R | Lost]:
        """See ``Engine``; ``work``, items and results travel, so all three must pickle.

        Raises:
            UnavailableError: Ray is not installed, or there is no cluster at the address.
        """
        ray = connect(self.address)
        try:
            yield from _in_order(ray, work, items)
        finally:
            ray.shutdown()


HERE = Local()
"""This process."""


def engine_of(name: EngineName, workers: int | None, address: str | None) -> Engine:
    """The engine that a command was asked for. Raises what ``require_fitting`` raises."""
    require_fitting(name, workers, address)
    return RayCluster(address) if name == "ray" else Local(workers or 0)


def require_fitting(name: EngineName, workers: int | None, address: str | None) -> None:
    """Raise ConfigError when a number of workers is given to Ray, or an address to this machine."""
    if name == "ray" and workers is not None:
        raise ConfigError("the engine ray has as many workers as its cluster has cores; leave their number out")
    if name == "local" and address is not None:
        raise ConfigError(f"--address {address}: this is of a Ray cluster; give --engine ray with it")


def connect(address: str | None) -> Any:  # noqa: ANN401 - a module without types
    """Ray, connected; who connects must call its ``shutdown``.

    Raises:
        UnavailableError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise UnavailableError("the engine ray needs Ray: pip install 'motionfocal[ray]'") from error
    try:
        _listens(address)
        ray.init(address=address, logging_level="warning", log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(f"no Ray cluster at {address or 'this machine'}: {last_line(error)}") from error
    return ray


def last_line(error: Exception) -> str:
    """What an error that comes with a stack of others says in the end."""
    return str(error).strip().splitlines()[-1]


def _listens(address: str | None) -> None:
    """Raise OSError when nothing answers at ``host:port``: Ray itself tries for minutes, then ends the process."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _in_order(ray: Any, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R | Lost]:  # noqa: ANN401
    """Give each worker an item at a time, not too far ahead of what was taken."""
    cores = int(ray.cluster_resources().get("CPU", 0))
    if cores < 1:
        raise UnavailableError("the Ray cluster has no cores; add a node to it")
    actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=LIVES)(_Worker)
    idle = [actor.remote(work) for _ in range(min(cores, len(items)))]
    ahead = _AHEAD * len(idle)
    at_work: dict[Any, tuple[int, Any]] = {}
    found: dict[int, R | Lost] = {}
    given = 0
    for taken in range(len(items)):
        while taken not in found:
            while idle and given < min(len(items), taken + ahead):
                worker = idle.pop()
                at_work[worker.work.remote(items[given])] = given, worker
                given += 1
            (ready, *_), _ = ray.wait(list(at_work))
            place, worker = at_work.pop(ready)
            idle.append(worker)
            try:
                found[place] = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                found[place] = Lost(f"its worker died, {LIVES + 1} times: {last_line(error)}")
        yield found.pop(taken)


class _Worker:
    """A process of the cluster with a copy of the work."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        import cv2
        import torch

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._work = work

    def work(self, item: Any) -> Any:  # noqa: ANN401 - what Ray carries
        return self._work(item)


def _as_it_is(value: object) -> object:
    return value
