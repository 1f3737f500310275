"""A Ray cluster as an engine."""

import importlib
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from motionfocal.engine.work import Lost, Stages, as_it_is
from motionfocal.errors import UnavailableError

T = TypeVar("T")
R = TypeVar("R")

LIVES = 3
"""How often work is begun again, perhaps elsewhere, when its worker or its node is lost."""

_AHEAD = 32
"""Results that a cluster may be ahead of the one that is asked for, for each of its workers. With 4, one worker in a
hundred that is ten times as slow leaves half of a hundred workers idle, and four fifths of a thousand; with 32, a
twentieth of either (benchmarks/cluster_schedule.py)."""

_WAITING = 4
"""Results of a first stage that may wait for each worker of the second, beside as many as are in work: a clip's frames
each, in the memory of the nodes. On 96 cores and 8 GPUs at most 128 wait then, not thousands, and neither stage is idle
for a fiftieth more of its time (benchmarks/cluster_schedule.py)."""

_PATIENCE = 10.0
"""Seconds within which a cluster's address must answer."""


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
            yield from _in_order(ray, _pools(ray, work, len(items)), items)
        finally:
            ray.shutdown()


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


class _Pool:
    """Workers that have a copy of the work each, and what waits for one of them. Items are told by their places.

    Workers that have no GPU see none, which newer versions of Ray leave to us. ``then`` is the pool of the next stage.
    """

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        work: Callable[[Any], Any],
        workers: int,
        *,
        gpus: int = 0,
        then: "_Pool | None" = None,
    ) -> None:
        actor = ray.remote(
            num_cpus=0 if gpus else 1,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=LIVES,
            runtime_env={} if gpus else {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}},
        )(_Worker)
        self.size, self._then = workers, then
        self.at_work: dict[Any, tuple[int, Any]] = {}
        self._idle = [actor.remote(work) for _ in range(workers)]
        self._waiting = deque[tuple[int, Any]]()

    def add(self, place: int, item: object) -> None:
        """Take an item, or the promise of one."""
        self._waiting.append((place, item))
        self.begin()

    def finished(self, promise: object) -> int:
        """Whose result this is; its worker is idle."""
        place, worker = self.at_work.pop(promise)
        self._idle.append(worker)
        return place

    def begin(self) -> None:
        """Give idle workers what waits, unless the next pool has enough to do."""
        while self._idle and self._waiting and not self._is_ahead:
            worker, (place, item) = self._idle.pop(), self._waiting.popleft()
            self.at_work[worker.work.remote(item)] = place, worker

    @property
    def _is_ahead(self) -> bool:
        """Whether what is in work here, and what waits for the next pool, will keep that at work."""
        if self._then is None:
            return False
        return len(self.at_work) + len(self._then._waiting) >= self.size + _WAITING * self._then.size


def _pools(ray: Any, work: Callable[[T], R], items: int) -> list[_Pool]:  # noqa: ANN401
    """A pool for each stage that does something where there are GPUs for the second, and one for all else."""
    there = ray.cluster_resources()
    cores, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    if cores < 1:
        raise UnavailableError("the Ray cluster has no cores; add a node to it")
    if isinstance(work, Stages) and gpus:
        second = _Pool(ray, work.second, min(gpus, items), gpus=1)
        return [second] if work.first is as_it_is else [_Pool(ray, work.first, min(cores, items), then=second), second]
    return [_Pool(ray, work, min(cores, items))]


def _in_order(ray: Any, pools: Sequence[_Pool], items: Sequence[T]) -> Iterator[Any]:  # noqa: ANN401
    """Send items through the pools, not too far ahead of what was taken; what lies between two pools stays on nodes."""
    ahead = _AHEAD * sum(pool.size for pool in pools)
    found: dict[int, Any] = {}
    given = 0
    for taken in range(len(items)):
        while taken not in found:
            while given < min(len(items), taken + ahead):
                pools[0].add(given, items[given])
                given += 1
            (ready, *_), _ = ray.wait([promise for pool in pools for promise in pool.at_work], fetch_local=False)
            here = next(n for n, pool in enumerate(pools) if ready in pool.at_work)
            place = pools[here].finished(ready)
            if here + 1 < len(pools):
                pools[here + 1].add(place, ready)
            else:
                found[place] = _result(ray, ready)
            for pool in reversed(pools):  # the last first, which makes room for the one before it
                pool.begin()
        yield found.pop(taken)


def _result(ray: Any, promise: object) -> Any:  # noqa: ANN401
    """What was promised, or ``Lost``; what the work raised is raised."""
    try:
        return ray.get(promise)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        return Lost(f"its worker died, {LIVES + 1} times: {last_line(error)}")


class _Worker:
    """A process of the cluster with a copy of the work."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        import cv2
        import torch

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._work = work

    def work(self, item: Any) -> Any:  # noqa: ANN401 - what Ray carries
        made = self._work(item)
        return list(made) if isinstance(made, Iterator) else made
