"""Checkpoints: everything that a run needs to continue as if it had never stopped.

Clips, timesteps and noise are functions of the seed and the step, so the step stands for the position of every
random stream; what is left are the trained weights, their average and the optimizer, as whole tensors by name, so that
another number of processes can go on.
"""

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NotRequired, TypedDict

import torch
from torch import Tensor

from motionfocal.errors import CheckpointError
from motionfocal.models.build import check_weights
from motionfocal.settings import dotted
from motionfocal.training.config import TrainingConfig, dump_config, load_config
from motionfocal.training.learner import LearnerState
from motionfocal.training.processes import same_everywhere

_KEPT = 2

_PATIENCE = 60.0
"""Seconds that a run waits for its folder."""


class TrainingState(TypedDict):
    """What a checkpoint holds. ``step`` counts the finished steps."""

    step: int
    data: NotRequired[str]
    """The ``fingerprint`` of the clips; checkpoints of before it was written have none, and any clips go on."""
    learner: LearnerState


def refuse_other_run(run: Path, config: TrainingConfig) -> None:
    """Make sure that a run folder is new, or of the same run: what changes no digit of it may be another.

    Raises:
        CheckpointError: it was begun with other settings.
    """
    path = run / "config.yaml"
    if not path.is_file():
        return
    before, now = _decisive(load_config(path)), _decisive(config)
    if changed := [key for key in before | now if before.get(key) != now.get(key)]:
        raise CheckpointError(
            f"{run}: was begun with another {', '.join(changed)}; choose another folder to start anew"
        )


def _decisive(config: TrainingConfig) -> dict[str, object]:
    """The settings that a run's digits depend on, by dotted key; of a cache that there is one, not where it lies."""
    values = dotted(config.model_dump(mode="json", exclude={"workers", "checkpoint_every", "validation"}))
    if "data.cache" in values:
        values["data.cache"] = values["data.cache"] is not None
    return values


@contextmanager
def alone_in(run: Path, lock: str = ".lock") -> Iterator[None]:
    """Have a run folder for this process alone, which ends when the process does, however it ends.

    ``lock`` is a file in the folder; who holds one may take another.

    A run whose command was killed may still finish its step, so that this waits a minute before it gives up. Where the
    platform or the file system has no such locks, nothing is held.

    Raises:
        CheckpointError: another process trains in the folder, or it may not be written to.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / lock).open("w")
    except OSError as error:
        raise CheckpointError(f"{run}: cannot be written to ({error}); choose another folder") from error
    with file:
        give_up = time.monotonic() + _PATIENCE
        while not _lock(file):
            if time.monotonic() > give_up:
                raise CheckpointError(f"{run}: another process trains here; wait for it, or end it")
            time.sleep(0.1)
        yield


def _lock(file: IO[str]) -> bool:
    """Lock a file for the process, children excluded, until it is closed; False where another process has it."""
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def claim(run: Path, config: TrainingConfig) -> None:
    """Write the resolved config into a run folder, complete before it takes its name.

    Raises:
        CheckpointError: it was begun with other settings.
    """
    refuse_other_run(run, config)
    partial = run / ".config.partial"
    partial.write_text(dump_config(config))
    partial.replace(run / "config.yaml")


def save_checkpoint(run: Path, state: TrainingState) -> None:
    """Write the checkpoint of a step and delete all but the newest two.

    The file is complete on disk before it takes its name: a process killed at any moment leaves the last one whole.

    Raises:
        CheckpointError: the disk is full, or the folder may not be written to.
    """
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".partial"
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch reports what the disk said as a RuntimeError of its own
        why = error.__context__ or error
        raise CheckpointError(
            f"{folder}: step {state['step']} cannot be written ({why}); make room: the same command resumes from the"
            " last checkpoint"
        ) from error
    partial.replace(folder / f"{state['step']:08d}.pt")
    for old in checkpoints(run)[:-_KEPT]:
        old.unlink()


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("[0-9]*.pt"))


def last_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint, None where there is none; all processes must call it together.

    Raises:
        CheckpointError: the processes do not see the same one.
    """
    newest = next(reversed(checkpoints(run)), None)
    if not same_everywhere(newest.name if newest else None):
        raise CheckpointError(
            f"{run}: the processes see different checkpoints; choose a folder that all machines share"
        )
    return newest


def load_checkpoint(path: Path, weights: Mapping[str, Tensor], averaged: bool, data: str) -> TrainingState:
    """Read a checkpoint of these weights and of the ``data`` of this fingerprint.

    Only tensors and plain values are unpickled.

    Raises:
        CheckpointError: the file is damaged, its tensors are not those of the weights, or the clips are others.
    """
    try:
        state: TrainingState = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        learner = state["learner"]
        moments = {name: entry["exp_avg"] for name, entry in learner["optimizer"]["state"].items()}
    except Exception as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({error}); delete it to resume from an older one") from error
    check_weights(learner["weights"], weights, path)
    check_weights(learner["average"], weights if averaged else {}, path)
    check_weights(moments, {name: weights[name] for name in moments if name in weights}, path)
    if state.get("data", data) != data:
        raise CheckpointError(
            f"{path}: was written with other clips: some were added, removed, changed or could not be read, which"
            " reorders every later batch, or they lie in several buckets, which older versions ordered otherwise; bring"
            " them back, or choose another folder to start anew"
        )
    return state
