"""The loss of clips that are not trained on, while it trains: does the model still learn, or only remember?"""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from motionfocal.data.batches import BatchSource, ClipBatch, batches_of
from motionfocal.data.cache import CacheSource
from motionfocal.data.sources import FolderSource
from motionfocal.training.config import ValidationSettings
from motionfocal.training.loop import Trainer
from motionfocal.training.objective import ClipSeeds
from motionfocal.training.processes import merged
from motionfocal.training.records import HELD_OUT, RunRecords, figures_of, summands

HeldOutClips = FolderSource | CacheSource

_DRAWS = 4
"""Noise levels at which each clip is measured. They and the noise are the same at every step and for every loss."""

_SHOWN = ("diffusion", "moving_loss", "loss_ratio", "moving_share")
"""The figures of a step that do not depend on how the loss is weighted, so that all runs can be compared by them."""


class HeldOutLoss:
    """A callback that measures the unweighted loss of held-out clips, with the averaged weights, in all processes.

    It goes clip by clip, each at some noise levels that are drawn as in training, and records ``diffusion``, the mean
    over clips, and what concerns the cells that move, as in ``metrics.jsonl``.
    """

    def __init__(self, settings: ValidationSettings, clips: HeldOutClips) -> None:
        self._settings, self._clips = settings, clips
        self._batches: BatchSource | None = None

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``."""
        from accelerate.utils import gather_object

        if step % self._settings.every and step != trainer.config.steps:
            return
        self._batches = self._batches or batches_of(self._clips, trainer.config.motion, trainer.model.spec)
        unread: dict[str, str] = {}
        with trainer.averaged(), torch.no_grad():
            mine = dict(self._measured(trainer, self._batches, unread))
        trainer.unread |= merged(unread)
        records.add_unread(step, trainer.unread)
        found = {place: row for one in gather_object([mine]) for place, row in one.items()}
        measured = figures_of(torch.tensor([found[place] for place in sorted(found)]))
        clips = float(len(found) // _DRAWS)
        records.add(HELD_OUT, step, {"clips": clips} | {name: measured[name] for name in _SHOWN})

    def _measured(
        self, trainer: Trainer, batches: BatchSource, unread: dict[str, str]
    ) -> Iterator[tuple[tuple[int, int], list[float]]]:
        """``summands`` by clip and draw, of this process's share, whose last clip comes again where it is too short."""
        objective = replace(trainer.objective, text_dropout=0.0, image_noise=0.0)
        total = min(len(self._clips), self._settings.clips)
        processes, mine = trainer.processes.num_processes, trainer.processes.process_index
        share = math.ceil(total / processes)
        for clip in (min(place, total - 1) for place in range(mine * share, (mine + 1) * share)):
            loaded = batches.load(clip, 1, range(1))
            unread.update(loaded.unread if isinstance(loaded, ClipBatch) else {})
            batch = trainer.encoded(loaded)
            for draw in range(_DRAWS):
                output = objective(batch, ClipSeeds(self._settings.seed, draw, range(clip, clip + 1)))
                yield (clip, draw), summands(output).tolist()
