"""What a run writes down: one JSON line a step, and the same figures for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl

METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"


class RunRecords:
    """Appends to ``metrics.jsonl``, ``validation.jsonl`` and a TensorBoard log of a run folder."""

    def __init__(self, run: Path, start: int) -> None:
        """Keep what was recorded for the first ``start`` steps; forget what a killed process did after."""
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        for name in (METRICS, VALIDATION):
            rewrite_jsonl(run / name, (row for row in read_jsonl(run / name) if int(str(row["step"])) <= start))
        self._board = SummaryWriter(run / "tensorboard", purge_step=start + 1)

    def add(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        """Record the figures of a finished step in the file ``name``."""
        append_jsonl(self._run / name, {"step": step, **figures})
        for key, value in figures.items():
            self._board.add_scalar(f"{name.removesuffix('.jsonl')}/{key}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close()
