"""Runs on a Ray cluster: each is a task of its own, its result travels back, and no disc needs to be shared."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from motionfocal.engine import LIVES, connect, last_line
from motionfocal.experiments.plan import RunPlan
from motionfocal.experiments.pool import FailedRun
from motionfocal.experiments.result import RunResult, save_result
from motionfocal.experiments.work import carry_out


def run_on_ray(
    runs: Sequence[RunPlan], out: Path, address: str | None, watch: Callable[[int], None] = lambda ended: None
) -> list[FailedRun]:
    """Carry out the runs on the cluster at an address; one that fails is told at the end and the others go on.

    A run takes as many cores as its config has threads, one unless it says. It trains in the temporary folder of its
    node, where it goes on if it stops and is begun there again; its model does not come back. Its result is that of
    ``run_side_by_side``, and is written to ``out`` as soon as it is there. ``watch`` is called about twice a second
    with how many have ended. ``address`` is as ``ray.init`` takes it: ``auto`` or ``host:port`` of a cluster,
    ``ray://host:port`` of its client server; None joins the one that ``RAY_ADDRESS`` names, or starts one here.

    Raises:
        UnavailableError: Ray is not installed, or there is no cluster at the address.
    """
    ray = connect(address)
    try:
        work = ray.remote(max_retries=LIVES)(_work)
        waiting = {work.options(num_cpus=run.config.threads or 1).remote(run): run for run in runs}
        failed: list[FailedRun] = []
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=0.5)
            for reference in ready:
                run = waiting.pop(reference)
                try:
                    save_result(out, RunResult.model_validate_json(ray.get(reference)))
                except ray.exceptions.RayError as error:
                    failed.append(FailedRun(run, last_line(error)))
            watch(len(runs) - len(waiting))
        return failed
    finally:
        ray.shutdown()


def scratch_of(run: RunPlan) -> Path:
    """Where a run trains on its node."""
    return Path(tempfile.gettempdir()) / "motionfocal" / run.fingerprint


def _work(run: RunPlan) -> str:
    """Carry out a run on a node: its result as JSON. Nothing of it stays there."""
    result = carry_out(run, scratch_of(run))
    shutil.rmtree(scratch_of(run), ignore_errors=True)
    return result.model_dump_json()
