"""Runs side by side: one process each, as many as there are cores, each a thread or as many as its config says."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from motionfocal.experiments.logged import ending, logged
from motionfocal.experiments.plan import RunPlan
from motionfocal.experiments.result import load_result
from motionfocal.experiments.work import carry_out, run_folder
from motionfocal.training.parent import StopWithParent


@dataclass(frozen=True)
class FailedRun:
    """A run that stopped, and why."""

    run: RunPlan
    reason: str


@dataclass(frozen=True)
class Pending:
    """Runs that have no result yet, each once, whatever experiments ask for it."""

    runs: tuple[RunPlan, ...]
    done: int

    @classmethod
    def of(cls, runs: Sequence[RunPlan], out: Path) -> "Pending":
        """The runs without a result in ``out``, in their order."""
        different = {run.fingerprint: run for run in runs}
        left = tuple(run for run in different.values() if load_result(out, run) is None)
        return cls(left, len(different) - len(left))


def run_side_by_side(
    runs: Sequence[RunPlan], out: Path, workers: int, watch: Callable[[Sequence[RunPlan]], None] = lambda active: None
) -> list[FailedRun]:
    """Carry out the runs, ``workers`` at a time; one that fails is told at the end and the others go on.

    ``watch`` is called about twice a second with the runs at work, and at the end with none.
    """
    # Workers are forked from a process that has imported everything once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["motionfocal.experiments.work"])
    waiting, failed = list(runs), list[FailedRun]()
    active: dict[str, tuple[RunPlan, BaseProcess]] = {}
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run = waiting.pop(0)
                worker: BaseProcess = context.Process(target=_work, args=(run, out))  # a daemon can have no readers
                worker.start()
                active[run.fingerprint] = (run, worker)
            time.sleep(0.5)
            watch([run for run, _ in active.values()])
            for key in [key for key, (_, worker) in active.items() if not worker.is_alive()]:
                run, ended = active.pop(key)
                if ended.exitcode:
                    failed.append(FailedRun(run, ending(run_folder(out, run), ended.exitcode)))
        watch([])
    finally:
        for _, left in active.values():
            left.terminate()
    return failed


def _work(run: RunPlan, out: Path) -> None:
    """Carry out one run; output and errors go to a log file in its folder."""
    with logged(run_folder(out, run)):
        carry_out(run, out, [StopWithParent()])
