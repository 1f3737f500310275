"""How the engine's schedule holds up at many workers: its own code on a simulated cluster, whose clock costs nothing.

    python benchmarks/cluster_schedule.py [--clips-a-worker 40] [--work 1.9] [--spread 0.5] [--head 1.0]

A clip takes ``work`` seconds of a worker, log-normal with the spread given (long clips, slow discs), and ``head``
milliseconds of the process that hands work out and keeps the lists. Utilisation is the share of the workers' time that
is work. Where workers are slow, one in a hundred takes ten times as long for every clip.
"""

import argparse
import heapq
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from figures import Figure, tell

from motionfocal.engine import ray_cluster


class Promise:
    """What a worker will have done at a moment."""

    def __init__(self, done: float, place: int) -> None:
        self.done, self.place = done, place

    def __lt__(self, other: "Promise") -> bool:
        return self.done < other.done


class Cluster:
    """Stands in for the module ``ray``: an actor's call takes simulated seconds, and ``wait`` moves the clock."""

    exceptions = SimpleNamespace(RayTaskError=RuntimeError, RayError=OSError)

    def __init__(self, cores: int, seconds: np.ndarray, head: float, slow: float) -> None:
        self.cores, self.seconds, self.head, self.slow = cores, seconds, head, slow
        self.clock, self.busy, self.made = 0.0, 0.0, 0
        self._running: list[Promise] = []

    def cluster_resources(self) -> dict[str, float]:
        """See Ray."""
        return {"CPU": self.cores}

    def remote(self, **_: object) -> Any:  # noqa: ANN401 - as ray's
        """See Ray: what makes workers."""
        return lambda _: SimpleNamespace(remote=self._worker)

    def _worker(self, _: object) -> object:
        factor = 10.0 if self.slow and self.made % round(1 / self.slow) == 0 else 1.0
        self.made += 1

        def call(place: int) -> Promise:
            seconds = factor * self.seconds[place]
            self.busy += seconds
            promise = Promise(self.clock + seconds, place)
            heapq.heappush(self._running, promise)
            return promise

        return SimpleNamespace(work=SimpleNamespace(remote=call))

    def wait(self, _: Sequence[Promise]) -> tuple[list[Promise], list[Promise]]:
        """The earliest; the head then works on it, while others go on."""
        promise = heapq.heappop(self._running)
        self.clock = max(self.clock, promise.done) + self.head
        return [promise], []

    def get(self, promise: Promise) -> int:
        """The item's place, which stands for its result."""
        return promise.place


def run(workers: int, clips: int, work: float, spread: float, head: float, slow: float) -> tuple[float, float]:
    """Clips a second, and utilisation."""
    rng = np.random.default_rng(0)
    seconds = work * np.exp(spread * rng.standard_normal(clips) - spread**2 / 2)
    cluster: Any = Cluster(workers, seconds, head, slow)
    pools = ray_cluster._pools(cluster, as_it_is, clips)
    if list(ray_cluster._in_order(cluster, pools, range(clips))) != list(range(clips)):
        raise SystemExit("the schedule lost a clip, or their order")
    return clips / cluster.clock, cluster.busy / (workers * cluster.clock)


def as_it_is(value: int) -> int:
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips-a-worker", type=int, default=40)
    parser.add_argument("--work", type=float, default=1.9, help="seconds a clip")
    parser.add_argument("--spread", type=float, default=0.5, help="standard deviation of its logarithm")
    parser.add_argument("--head", type=float, default=1.0, help="milliseconds a clip")
    args = parser.parse_args()
    print("| workers | slow ones | clips a second | utilisation | 1 M clips take |\n|---|---|---|---|---|")
    for workers in (1, 10, 100, 1000):
        for slow in (0.0, 0.01) if workers >= 100 else (0.0,):
            rate, used = run(workers, args.clips_a_worker * workers, args.work, args.spread, args.head / 1000, slow)
            hours = 1e6 / rate / 3600
            took = f"{hours:,.1f} hours" if hours < 72 else f"{hours / 24:,.0f} days"
            print(f"| {workers:,} | {slow:.0%} | {rate:,.1f} | {used:.0%} | {took} |", flush=True)
    tell(Figure("time of 1,000 simulated workers that is work, one in a hundred ten times as slow", f"{used:.0%}"))


if __name__ == "__main__":
    main()
