"""Runs on a Ray cluster: each is a task of its own, its result travels back, and no disc needs to be shared."""

import importlib
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from motionfocal.errors import UnavailableError
from motionfocal.experiments.plan import RunPlan
from motionfocal.experiments.pool import FailedRun
from motionfocal.experiments.result import RunResult, save_result
from motionfocal.experiments.work import carry_out

_LIVES = 3
"""How often a run is begun again, perhaps elsewhere, when its worker or its node is lost."""

_PATIENCE = 10.0
"""Seconds within which a cluster's address must answer."""


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
    ray = _connected(address)
    try:
        work = ray.remote(max_retries=_LIVES)(_work)
        waiting = {work.options(num_cpus=run.config.threads or 1).remote(run): run for run in runs}
        failed: list[FailedRun] = []
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=0.5)
            for reference in ready:
                run = waiting.pop(reference)
                try:
                    save_result(out, RunResult.model_validate_json(ray.get(reference)))
                except ray.exceptions.RayError as error:
                    failed.append(FailedRun(run, _last_line(error)))
            watch(len(runs) - len(waiting))
        return failed
    finally:
        ray.shutdown()


def _connected(address: str | None) -> Any:  # noqa: ANN401 - a module without types
    """Ray, connected."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise UnavailableError("the engine ray needs Ray: pip install 'motionfocal[ray]'") from error
    try:
        _listens(address)
        ray.init(address=address, logging_level="warning", log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(f"no Ray cluster at {address or 'this machine'}: {_last_line(error)}") from error
    return ray


def _listens(address: str | None) -> None:
    """Raise OSError when nothing answers at ``host:port``: Ray itself tries for minutes, then ends the process."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def scratch_of(run: RunPlan) -> Path:
    """Where a run trains on its node."""
    return Path(tempfile.gettempdir()) / "motionfocal" / run.fingerprint


def _work(run: RunPlan) -> str:
    """Carry out a run on a node: its result as JSON. Nothing of it stays there."""
    result = carry_out(run, scratch_of(run))
    shutil.rmtree(scratch_of(run), ignore_errors=True)
    return result.model_dump_json()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
