"""The training loop."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import cv2
import torch
from torch import Tensor

from motionfocal.data.batches import ClipBatch, ClipBatches, EncodedBatch, Split, load_parts
from motionfocal.data.sources import ClipSource
from motionfocal.errors import CheckpointError, ConfigError, TrainingError
from motionfocal.loss import LossOutput, MotionFocalLoss
from motionfocal.models.build import LoadedModel, ModelCard, build_model, save_model
from motionfocal.training.checkpoint import TrainingState, checkpoints, load_checkpoint, save_checkpoint
from motionfocal.training.config import OptimizerSettings, TrainingConfig, dump_config, load_config
from motionfocal.training.objective import ClipSeeds, DiffusionObjective, stable_seed
from motionfocal.training.records import METRICS, RunRecords


class Callback(Protocol):
    """Something that happens after a step: a progress bar, a validation."""

    def after_step(self, step: int, figures: dict[str, float], trainer: "Trainer", records: RunRecords) -> None:
        """``step`` counts the finished steps, ``figures`` are what the step measured."""
        ...


class Trainer:
    """A model in training: network, optimizer and averaged weights, on one process or on many."""

    def __init__(self, config: TrainingConfig, source: ClipSource) -> None:
        from accelerate import Accelerator
        from diffusers.training_utils import EMAModel

        self.config, self.step = config, 0
        self.card = ModelCard(name=config.name, model=config.model, shape=source.shape)
        self.model = build_model(config.model, source.shape, config.seed)
        self.accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=config.precision)
        self.split = split_of(config, self.accelerator.num_processes)
        self.source = ClipBatches(source, config.motion, self.model.spec)
        self._prepare()
        self.average = EMAModel(self.trained(), decay=config.ema_decay)
        device = self.accelerator.device
        self.objective = DiffusionObjective(
            self.model,
            MotionFocalLoss(config.loss.strength, config.loss.weighting),
            config.loss.over_noise,
            config.text_dropout,
            {name: tensor.to(device) for name, tensor in self.source.no_text(self.model).items()},
        )

    def _prepare(self) -> None:
        """Hand the network to accelerate, which may move and wrap it, and make its optimizer."""
        optimizer = torch.optim.AdamW(
            self.trained(), betas=self.config.optimizer.betas, weight_decay=self.config.optimizer.weight_decay
        )
        self.model.network, self.optimizer = self.accelerator.prepare(self.model.network, optimizer)

    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that learn."""
        return [parameter for parameter in self.model.network.parameters() if parameter.requires_grad]

    @property
    def parts(self) -> range:
        """The parts of every step's batch that belong to this process."""
        each = self.split.count // self.accelerator.num_processes
        return range(self.accelerator.process_index * each, (self.accelerator.process_index + 1) * each)

    def train_step(self, batches: Iterator[ClipBatch | EncodedBatch]) -> dict[str, float]:
        """Forward and backward of this process's parts of a step, then one update; returns what was measured.

        The gradient is that of the mean over all clips of the step, however they are divided.
        """
        started = time.perf_counter()
        torch.manual_seed(stable_seed(self.config.seed, self.step, self.accelerator.process_index))  # for dropout
        rate = learning_rate(self.config.optimizer, self.step, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        outputs = [self._backward(part, next(batches)) for part in self.parts]
        figures = self._mean([figures_of(output) for output in outputs])
        if not math.isfinite(figures["loss"]):
            raise TrainingError(
                f"step {self.step}: the loss is {figures['loss']}; lower optimizer.learning_rate and resume"
            )
        norm = self.accelerator.clip_grad_norm_(self.trained(), self.config.optimizer.max_grad_norm)
        self.optimizer.step()
        self.average.step(self.trained())
        self.step += 1
        return figures | {
            "learning_rate": rate,
            "grad_norm": float(norm),
            "seconds": time.perf_counter() - started,
        }

    def _backward(self, part: int, batch: ClipBatch | EncodedBatch) -> LossOutput:
        """Add one part's gradient; processes exchange gradients at the last one only."""
        device = self.accelerator.device
        encoded = batch.to(device) if isinstance(batch, EncodedBatch) else batch.encode(self.model, device)
        seeds = ClipSeeds(self.config.seed, self.step, self.split.clips(part))
        wait = nullcontext() if part == self.parts[-1] else self.accelerator.no_sync(self.model.network)
        with wait:
            output = self.objective(encoded, seeds)
            self.accelerator.backward(output.total / len(self.parts))
        return output

    def _mean(self, figures: list[dict[str, Tensor]]) -> dict[str, float]:
        """Each figure's mean over the parts of all processes; parts where it is not defined are left out."""
        mine = torch.stack([torch.stack(list(one.values())) for one in figures])
        means = self.accelerator.gather(mine).nanmean(dim=0)
        return dict(zip(figures[0], means.tolist(), strict=True))

    @contextmanager
    def averaged(self) -> Iterator[LoadedModel]:
        """The model with its averaged weights, in evaluation mode, for as long as the context lasts."""
        trained = self.trained()
        self.average.store(trained)
        self.average.copy_to(trained)
        self.model.network.eval()
        try:
            yield LoadedModel(self.card, self.model)
        finally:
            self.average.restore(trained)
            self.model.network.train()

    def state(self) -> TrainingState:
        """Everything that ``resume`` needs."""
        return TrainingState(
            step=self.step,
            network=self.model.network.state_dict(),
            average=self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
        )

    def resume(self, state: TrainingState) -> None:
        """Continue from a state."""
        self.step = state["step"]
        self.model.network.load_state_dict(state["network"])
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
    trainer.model.network.train()
    steps = range(trainer.step, config.steps)
    parts = iter(load_parts(trainer.source, trainer.split, steps, trainer.parts, config.workers))
    with RunRecords(run, trainer.step) as records:
        for _ in steps:
            figures = trainer.train_step(parts)
            records.add(METRICS, trainer.step, figures)
            for callback in callbacks:
                callback.after_step(trainer.step, figures, trainer, records)
            if trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
                save_checkpoint(run, trainer.state())
    with trainer.averaged() as result:
        save_model(run / "model", result.card, result.model.network.state_dict())


def split_of(config: TrainingConfig, processes: int) -> Split:
    """How a step's clips are divided over processes and accumulation.

    Raises:
        ConfigError: they cannot be divided equally.
    """
    share, left = divmod(config.batch_size, processes)
    if left:
        raise ConfigError(f"batch_size is {config.batch_size}, which {processes} processes cannot share equally")
    size = config.micro_batch_size or share
    if share % size:
        raise ConfigError(f"micro_batch_size is {size}, which does not divide the {share} clips of a process's step")
    return Split(config.batch_size, processes * share // size)


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


def figures_of(output: LossOutput) -> dict[str, Tensor]:
    """What is recorded of a loss, detached scalars."""
    return {
        "loss": output.total.detach(),
        "diffusion": output.diffusion.detach(),
        "motif": output.motif.detach(),
        "moving_loss": output.stats.moving_loss,
        "loss_ratio": output.stats.loss_ratio,
        "moving_share": output.stats.moving_share,
        "mean_weight": output.stats.mean_weight,
    }
