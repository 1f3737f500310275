"""What a run writes down: one JSON line a step, the same figures for TensorBoard, and the clips that it cannot read."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.loss import LossOutput

METRICS, VALIDATION, HELD_OUT, UNREAD = "metrics.jsonl", "validation.jsonl", "held_out.jsonl", "unread.jsonl"

ENDED = "ended.jsonl"
"""The steps with a checkpoint whose callbacks have all ended."""


class RunRecords:
    """Appends to the lists of a run folder and to its TensorBoard log."""

    def __init__(self, run: Path, start: int, writes: bool = True) -> None:
        """Keep what was recorded for the first ``start`` steps; forget what a killed process did after.

        What callbacks recorded of step ``start`` itself is kept if all of them ended, as they are called again if not.
        ``writes`` False is for all processes but the first: nothing is written.
        """
        self._run, self._board = run, None
        self._unended: int | None = None
        self._unread: set[str] = set()
        if not writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        if not (run / ENDED).is_file():  # a new run, or one of before it was written, when checkpoints came last
            rewrite_jsonl(run / ENDED, [{"step": start}])
        if not any(row["step"] == start for row in read_jsonl(run / ENDED)):
            self._unended = start
        called = start if self._unended is None else start - 1
        for name, last in ((METRICS, start), (UNREAD, start), (ENDED, start), (VALIDATION, called), (HELD_OUT, called)):
            kept = [row for row in read_jsonl(run / name) if int(str(row["step"])) <= last]
            if name in (METRICS, VALIDATION) or (run / name).is_file():
                rewrite_jsonl(run / name, kept)
        self._unread = set(unread_in(run))
        self._board = SummaryWriter(run / "tensorboard", purge_step=start + 1)

    def add(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        """Record the figures of a finished step in the file ``name``."""
        if self._board is None:
            return
        append_jsonl(self._run / name, {"step": step, **figures})
        for key, value in figures.items():
            self._board.add_scalar(f"{name.removesuffix('.jsonl')}/{key}", value, step)

    def unended(self) -> dict[str, float] | None:
        """The figures of the step at which the run goes on, if its callbacks did not all end; None in other processes.

        A failure ended them, or a kill, after the step's checkpoint was written.
        """
        rows = [row for row in read_jsonl(self._run / METRICS) if row["step"] == self._unended]
        if not rows:
            return None
        return {key: math.nan if value is None else float(str(value)) for key, value in rows[-1].items()}

    def end(self, step: int) -> None:
        """Record that the callbacks of a step with a checkpoint have all ended."""
        if self._board is not None:
            append_jsonl(self._run / ENDED, {"step": step})

    def add_unread(self, step: int, unread: Mapping[str, str]) -> None:
        """Record the clips that could not be read, by id, and why: each once, at the first step that missed it."""
        new = {clip: reason for clip, reason in unread.items() if clip not in self._unread}
        if self._board is None:
            return
        for clip, reason in new.items():
            append_jsonl(self._run / UNREAD, {"step": step, "clip": clip, "reason": reason})
        self._unread |= new.keys()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()


def unread_in(run: Path) -> dict[str, str]:
    """The clips that a run could not read, by id, and why."""
    return {str(row["clip"]): str(row["reason"]) for row in read_jsonl(run / UNREAD)}


def summands(output: LossOutput) -> Tensor:
    """What ``figures_of`` needs to know of one part of a step, ``[6]``, detached."""
    stats = output.stats
    moving = stats.moving_loss.nan_to_num() * stats.moving_share
    parts = (output.total, output.diffusion, output.motif, stats.mean_weight, stats.moving_share, moving)
    return torch.stack([part.detach() for part in parts])


def figures_of(parts: Tensor) -> dict[str, float]:
    """The figures of a step from the ``summands`` of its parts ``[N,6]``, which have equally many cells.

    They do not depend on how a step is divided: ``moving_loss`` is the mean over the moving cells of all parts, NaN
    where nothing moves, which is null in ``metrics.jsonl``. They are computed on the CPU: Apple's GPUs have no float64.
    """
    loss, diffusion, motif, weight, share, moving = parts.cpu().double().mean(dim=0).tolist()
    moving_loss = moving / share if share else float("nan")
    return {
        "loss": loss,
        "diffusion": diffusion,
        "motif": motif,
        "moving_loss": moving_loss,
        "loss_ratio": moving_loss / diffusion if diffusion else float("nan"),
        "moving_share": share,
        "mean_weight": weight,
    }
