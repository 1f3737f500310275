"""Trainings that a command has started as processes of its own, and that end with it."""

import multiprocessing

from motionfocal.errors import TrainingError
from motionfocal.training.loop import Trainer
from motionfocal.training.records import RunRecords


class StopWithParent:
    """A callback that ends a run whose command was killed: it would train on unseen, beside the next command's."""

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``."""
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise TrainingError(f"the command was killed at step {step}; give it again and it resumes")
