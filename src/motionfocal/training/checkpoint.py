"""Checkpoints: everything that a run needs to continue as if it had never stopped.

Clips, timesteps and noise are functions of the seed and the step, so the step stands for the position of every
random stream; what is left are the weights, their average and the optimizer.
"""

import os
from pathlib import Path
from typing import TypedDict

import torch

from motionfocal.errors import CheckpointError

_KEPT = 2


class TrainingState(TypedDict):
    """What a checkpoint holds. ``step`` counts the finished steps."""

    step: int
    network: dict[str, torch.Tensor]
    average: dict[str, object]
    optimizer: dict[str, object]


def save_checkpoint(run: Path, state: TrainingState) -> None:
    """Write the checkpoint of a step and delete all but the newest two.

    The file is complete on disk before it takes its name: a process killed at any moment leaves the last one whole.
    """
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / f"{state['step']:08d}.pt")
    for old in checkpoints(run)[:-_KEPT]:
        old.unlink()


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("[0-9]*.pt"))


def load_checkpoint(path: Path) -> TrainingState:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        state: TrainingState = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({error}); delete it to resume from an older one") from error
    return state
