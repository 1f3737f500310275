"""How the engine's schedule holds up at many workers: its own code on a simulated cluster, whose clock costs nothing.

    python benchmarks/cluster_schedule.py [--clips-a-worker 40] [--work 1.9] [--spread 0.5] [--head 1.0]

A clip takes ``work`` seconds of a worker, log-normal with the spread given (long clips, slow discs), and ``head``
milliseconds of the process that hands work out and keeps the lists. Utilisation is the share of the workers' time that
is work. Where workers are slow, one in a hundred takes ten times as long for every clip.

A second table is of two stages, on 96 cores and 8 GPUs: how busy both are, and how many clips lie between them at most.
"""

import argparse
import heapq
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from figures import Figure, tell

from motionfocal.engine import Stages, ray_cluster


class Promise:
    """What a worker will have done at a moment."""

    def __init__(self, done: float, place: int, stage: int) -> None:
        self.done, self.place, self.stage = done, place, stage

    def __lt__(self, other: "Promise") -> bool:
        return self.done < other.done


class Cluster:
    """Stands in for the module ``ray``: an actor's call takes simulated seconds, and ``wait`` moves the clock.

    ``seconds`` are those of each clip, by stage: the first is that of cores, the second that of GPUs, if there are any.
    """

    exceptions = SimpleNamespace(RayTaskError=RuntimeError, RayError=OSError)

    def __init__(self, workers: Sequence[int], seconds: np.ndarray, head: float, slow: float = 0.0) -> None:
        self.workers, self.seconds, self.head, self.slow = workers, seconds, head, slow
        self.clock, self.busy, self.made = 0.0, [0.0] * len(workers), 0
        self.between, self.most_between = 0, 0
        self._running: list[Promise] = []

    def cluster_resources(self) -> dict[str, float]:
        """See Ray."""
        return dict(zip(("CPU", "GPU"), self.workers, strict=False))

    def remote(self, *, num_gpus: int, **_: object) -> Any:  # noqa: ANN401 - as ray's
        """See Ray: what makes workers."""
        return lambda _: SimpleNamespace(remote=lambda _: self._worker(stage=num_gpus))

    def _worker(self, stage: int) -> object:
        factor = 10.0 if self.slow and self.made % round(1 / self.slow) == 0 else 1.0
        self.made += 1

        def call(item: int | Promise) -> Promise:
            place = item.place if isinstance(item, Promise) else item
            seconds = factor * self.seconds[stage, place]
            self.busy[stage] += seconds
            self.between -= stage
            promise = Promise(self.clock + seconds, place, stage)
            heapq.heappush(self._running, promise)
            return promise

        return SimpleNamespace(work=SimpleNamespace(remote=call))

    def wait(self, _: Sequence[Promise], *, fetch_local: bool) -> tuple[list[Promise], list[Promise]]:
        """The earliest; the head then works on it, while others go on."""
        promise = heapq.heappop(self._running)
        self.clock = max(self.clock, promise.done) + self.head
        if promise.stage + 1 < len(self.workers):
            self.between += 1
            self.most_between = max(self.most_between, self.between)
        return [promise], []

    def get(self, promise: Promise) -> int:
        """The item's place, which stands for its result."""
        return promise.place

    def used(self, stage: int) -> float:
        """Share of the time of a stage's workers that is work."""
        return self.busy[stage] / (self.workers[stage] * self.clock)


def run(workers: Sequence[int], clips: int, works: Sequence[float], spread: float, head: float, slow: float) -> Cluster:
    """A cluster that has done its work, which takes so many seconds a clip, by stage."""
    rng = np.random.default_rng(0)
    seconds = np.array(works)[:, None] * np.exp(spread * rng.standard_normal((len(works), clips)) - spread**2 / 2)
    cluster: Any = Cluster(workers, seconds, head, slow)
    work = Stages(here, there) if len(works) > 1 else here
    pools = ray_cluster._pools(cluster, work, clips)
    if list(ray_cluster._in_order(cluster, pools, range(clips))) != list(range(clips)):
        raise SystemExit("the schedule lost a clip, or their order")
    return cluster


def here(value: int) -> int:
    return value


def there(value: int) -> int:
    return value


def tell_two_stages(clips_a_worker: int, work: float, spread: float, head: float) -> None:
    """Print the table of a cluster with GPUs: as it is, and without a bound on what waits for them."""
    print("\n| GPU seconds a clip | cores are busy | GPUs are busy | clips between | unbounded: cores | GPUs | clips |")
    print("|---|---|---|---|---|---|---|")
    workers = (96, 8)
    clips, bound = clips_a_worker * sum(workers), ray_cluster._WAITING
    for seconds in (0.1, work * workers[1] / workers[0], 0.2, 1.0):
        cells = []
        for waiting in (bound, clips):
            ray_cluster._WAITING = waiting
            cluster = run(workers, clips, [work, seconds], spread, head, slow=0.0)
            cells += [f"{cluster.used(0):.0%}", f"{cluster.used(1):.0%}", f"{cluster.most_between:,}"]
        print(f"| {seconds:.2f} | {' | '.join(cells)} |", flush=True)
    ray_cluster._WAITING = bound


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
            clips = args.clips_a_worker * workers
            cluster = run([workers], clips, [args.work], args.spread, args.head / 1000, slow)
            rate, used = clips / cluster.clock, cluster.used(0)
            hours = 1e6 / rate / 3600
            took = f"{hours:,.1f} hours" if hours < 72 else f"{hours / 24:,.0f} days"
            print(f"| {workers:,} | {slow:.0%} | {rate:,.1f} | {used:.0%} | {took} |", flush=True)
    tell_two_stages(args.clips_a_worker, args.work, args.spread, args.head / 1000)
    tell(Figure("time of 1,000 simulated workers that is work, one in a hundred ten times as slow", f"{used:.0%}"))


if __name__ == "__main__":
    main()
