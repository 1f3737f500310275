"""The loss of clips that are not trained on, while it trains: does the model still learn, or only remember?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from motionfocal.data.batches import BatchSource, ClipBatch, EncodedBatch, batches_of
from motionfocal.data.cache import CacheSource
from motionfocal.data.sources import FolderSource
from motionfocal.errors import DamagedFileError, ManifestError, MediaError
from motionfocal.generation.generate import item_seed
from motionfocal.loss import StrengthSchedule
from motionfocal.models.protocol import ClipShape
from motionfocal.training.config import ValidationSettings
from motionfocal.training.loop import Trainer
from motionfocal.training.objective import ClipSeeds
from motionfocal.training.processes import merged, same_everywhere
from motionfocal.training.records import HELD_OUT, RunRecords, summands

HeldOutClips = FolderSource | CacheSource

_CLIPS = 64
"""Default of ``validation.clips``."""

_DRAWS = 4
"""Noise levels at which a clip is measured: drawn as in training, for each clip the same at every step of every run."""


class HeldOutLoss:
    """A callback that measures the unweighted loss of held-out clips, with the averaged weights, in all processes.

    It records means over ``clips``: ``diffusion`` over their cells, ``moving_loss`` over their moving cells, where any
    are, ``loss_ratio`` of the two, and ``moving_share``. Clips of a shape that is not trained on are left out.
    """

    def __init__(self, settings: ValidationSettings, clips: HeldOutClips, trained: Sequence[ClipShape]) -> None:
        """``trained`` are the shapes of the clips that are trained on."""
        shapes = {(shape.frames, shape.height, shape.width) for shape in trained}
        fitting = {name: n for name, n in clips.numbers.items() if tuple(clips.bucket(n)) in shapes}
        chosen = sorted(fitting, key=lambda name: item_seed(settings.seed, name))[: settings.clips or _CLIPS]
        self._settings, self._clips = settings, clips
        self._numbers = {name: fitting[name] for name in chosen}
        self._batches: BatchSource | None = None

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``. Raises ManifestError where the processes see different clips."""
        if step % self._settings.every and step != trainer.config.steps:
            return
        if self._batches is None:
            if not same_everywhere(self._clips.fingerprint):
                raise ManifestError("the processes see different held-out clips: share their folder")
            self._batches = batches_of(self._clips, trainer.config.motion, trainer.model.spec)
        unread: dict[str, str] = {}
        with trainer.learner.averaged(), torch.no_grad():
            measured = merged(dict(self._measured(trainer, self._batches, unread)))
        trainer.unread |= merged(unread)
        records.add_unread(step, trainer.unread)
        if measured:
            records.add(HELD_OUT, step, _means([measured[name] for name in sorted(measured)]))

    def _measured(
        self, trainer: Trainer, batches: BatchSource, unread: dict[str, str]
    ) -> Iterator[tuple[str, list[float]]]:
        """``summands`` by clip, means over the draws, of this process's share.

        Sharded processes must make equally many passes: a share that is too short measures a clip again.
        """
        objective = replace(trainer.objective, strength=StrengthSchedule(), text_dropout=0.0, image_noise=0.0)
        names = list(self._numbers)
        share = math.ceil(len(names) / trainer.processes.num_processes)
        first = share * trainer.processes.process_index
        for place in range(first, first + share):
            found = self._readable(batches, names, min(place, len(names) - 1), unread)
            if found is None:
                return
            name, batch = found[0], trainer.encoded(found[1])
            seed = item_seed(self._settings.seed, name)
            draws = [summands(objective(batch, ClipSeeds(seed, draw, range(1)))) for draw in range(_DRAWS)]
            yield name, torch.stack(draws).mean(0).tolist()

    def _readable(
        self, batches: BatchSource, names: list[str], place: int, unread: dict[str, str]
    ) -> tuple[str, ClipBatch | EncodedBatch] | None:
        """A clip, or the next one that can be read, whose own figures these then are; None where none can."""
        for name in names[place:] + names[:place]:
            try:
                return name, batches.alone(self._numbers[name])
            except (MediaError, DamagedFileError) as error:
                unread[name] = str(error)
        return None


def _means(clips: list[list[float]]) -> dict[str, float]:
    """The figures of clips by their ``summands``."""
    _, diffusion, _, _, share, moving = torch.tensor(clips, dtype=torch.float64).unbind(1)
    moves: Tensor = share > 0
    moving_loss = float((moving[moves] / share[moves]).mean())  # NaN where nothing moves at all
    mean = float(diffusion.mean())
    return {
        "clips": float(len(clips)),
        "diffusion": mean,
        "moving_loss": moving_loss,
        "loss_ratio": moving_loss / mean if mean else float("nan"),
        "moving_share": float(share.mean()),
    }
