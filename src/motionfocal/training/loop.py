"""The training loop."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import torch

from motionfocal.data.batches import BatchDataset, TrainingBatch, batches
from motionfocal.data.sources import ClipSource
from motionfocal.errors import CheckpointError, TrainingError
from motionfocal.loss import LossOutput, MotionFocalLoss
from motionfocal.models.build import LoadedModel, ModelCard, build_model, save_model
from motionfocal.training.checkpoint import TrainingState, checkpoints, load_checkpoint, save_checkpoint
from motionfocal.training.config import OptimizerSettings, TrainingConfig, dump_config, load_config
from motionfocal.training.objective import DiffusionObjective
from motionfocal.training.records import METRICS, RunRecords


class Callback(Protocol):
    """Something that happens after a step: a progress bar, a validation."""

    def after_step(self, step: int, figures: dict[str, float], trainer: "Trainer", records: RunRecords) -> None:
        """``step`` counts the finished steps, ``figures`` are what the step measured."""
        ...


@dataclass(frozen=True)
class StepSeed:
    """The random streams of a step, functions of the run's seed and the step alone."""

    seed: int
    step: int

    def generator(self) -> torch.Generator:
        """Timesteps, noise, dropped texts."""
        return torch.Generator().manual_seed(self._mixed())

    def seed_dropout(self) -> None:
        """Dropout layers draw from the global generator and have no other door."""
        torch.manual_seed(self._mixed() + 1)

    def _mixed(self) -> int:
        return self.seed * 1_000_003 + 2 * self.step


class Trainer:
    """A model in training: network, optimizer and averaged weights."""

    def __init__(self, config: TrainingConfig, source: ClipSource) -> None:
        from diffusers.training_utils import EMAModel

        self.config, self.step = config, 0
        self.card = ModelCard(name=config.name, model=config.model, schedule=config.schedule, shape=source.shape)
        self.model = build_model(config.model, source.shape, config.seed)
        self.network = self.model.network.to(config.device)
        self.objective = DiffusionObjective(
            self.model,
            config.schedule.scheduler(),
            MotionFocalLoss(config.loss.strength, config.loss.weighting),
            config.text_dropout,
        )
        self.dataset = BatchDataset(source, config.batch_size, config.motion, self.model.spec)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), betas=config.optimizer.betas, weight_decay=config.optimizer.weight_decay
        )
        self.average = EMAModel(self.network.parameters(), decay=config.ema_decay)

    def train_step(self, batch: TrainingBatch) -> dict[str, float]:
        """Forward, backward, update; returns what was measured."""
        started = time.perf_counter()
        seed = StepSeed(self.config.seed, self.step)
        seed.seed_dropout()
        rate = learning_rate(self.config.optimizer, self.step, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        output = self.objective(_on(batch, self.config.device), seed.generator())
        if not torch.isfinite(output.total):
            raise TrainingError(
                f"step {self.step}: the loss is {output.total.item()}; lower optimizer.learning_rate and resume"
            )
        self.optimizer.zero_grad()
        output.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.max_grad_norm)
        self.optimizer.step()
        self.average.step(self.network.parameters())
        self.step += 1
        return _figures(output) | {
            "learning_rate": rate,
            "grad_norm": norm.item(),
            "seconds": time.perf_counter() - started,
        }

    @contextmanager
    def averaged(self) -> Iterator[LoadedModel]:
        """The model with its averaged weights, in evaluation mode, for as long as the context lasts."""
        self.average.store(self.network.parameters())
        self.average.copy_to(self.network.parameters())
        self.network.eval()
        try:
            yield LoadedModel(self.card, self.model)
        finally:
            self.average.restore(self.network.parameters())
            self.network.train()

    def state(self) -> TrainingState:
        """Everything that ``resume`` needs."""
        return TrainingState(
            step=self.step,
            network=self.network.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
        )

    def resume(self, state: TrainingState) -> None:
        """Continue from a state."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(config: TrainingConfig, source: ClipSource, run: Path, callbacks: Sequence[Callback] = ()) -> None:
    """Train in a run folder, or go on where the folder's last checkpoint stands; write the model to ``run/model``.

    Raises:
        CheckpointError: the folder belongs to a run with other settings.
        TrainingError: the loss is no longer finite.
    """
    _claim(run, config)
    if config.threads:
        torch.set_num_threads(config.threads)
        cv2.setNumThreads(config.threads)
    trainer = Trainer(config, source)
    for path in checkpoints(run)[-1:]:
        trainer.resume(load_checkpoint(path))
    trainer.network.train()
    with RunRecords(run, trainer.step) as records:
        for batch in batches(trainer.dataset, trainer.step, config.steps, config.workers):
            figures = trainer.train_step(batch)
            records.add(METRICS, trainer.step, figures)
            for callback in callbacks:
                callback.after_step(trainer.step, figures, trainer, records)
            if trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
                save_checkpoint(run, trainer.state())
    with trainer.averaged() as result:
        save_model(run / "model", result.card, result.model.network.state_dict())


def learning_rate(settings: OptimizerSettings, step: int, steps: int) -> float:
    """Linear warm-up, then constant, or a half cosine down to a tenth of the peak."""
    warmup = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    decay = 1.0
    if settings.decay == "cosine":
        decay = 0.1 + 0.45 * (1 + math.cos(math.pi * step / steps))
    return settings.learning_rate * warmup * decay


def _claim(run: Path, config: TrainingConfig) -> None:
    """Write the resolved config into a new run folder, or make sure that an old one is of the same run."""
    path = run / "config.yaml"
    if path.is_file():
        if (before := load_config(path)) != config:
            changed = [key for key in type(config).model_fields if getattr(before, key) != getattr(config, key)]
            raise CheckpointError(
                f"{run}: was begun with another {', '.join(changed)}; choose another folder to start anew"
            )
        return
    run.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_config(config))


def _on(batch: TrainingBatch, device: str) -> TrainingBatch:
    return TrainingBatch(batch.frames.to(device), batch.heat.to(device), batch.texts, batch.fps.to(device))


def _figures(output: LossOutput) -> dict[str, float]:
    return {
        "loss": output.total.item(),
        "diffusion": output.diffusion.item(),
        "motif": output.motif.item(),
        "moving_loss": output.stats.moving_loss.item(),
        "loss_ratio": output.stats.loss_ratio.item(),
        "moving_share": output.stats.moving_share.item(),
        "mean_weight": output.stats.mean_weight.item(),
    }
