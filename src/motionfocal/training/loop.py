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

from motionfocal.data.batches import ClipBatch, EncodedBatch, Split, batches_of, load_parts
from motionfocal.data.cache import CacheSource
from motionfocal.data.sources import ClipSource
from motionfocal.errors import ConfigError, ManifestError, TrainingError
from motionfocal.loss import MotionFocalLoss
from motionfocal.models.build import (
    LoadedModel,
    ModelCard,
    build_model,
    recompute_activations,
    save_model,
    trained_weights,
)
from motionfocal.models.lora import add_lora
from motionfocal.models.protocol import ClipShape, VideoModel
from motionfocal.motion import run_networks_on
from motionfocal.training.checkpoint import (
    TrainingState,
    alone_in,
    claim,
    last_checkpoint,
    load_checkpoint,
    refuse_other_run,
    save_checkpoint,
)
from motionfocal.training.config import OptimizerSettings, TrainingConfig
from motionfocal.training.dropout import ClipDropouts
from motionfocal.training.learner import START_LOWER, Learner
from motionfocal.training.objective import ClipSeeds, DiffusionObjective, dropout_seed, require_image_latent
from motionfocal.training.processes import (
    distribute,
    join_processes,
    merged,
    of_the_first,
    same_everywhere,
    without_exchange,
)
from motionfocal.training.records import METRICS, RunRecords, figures_of, summands


class Callback(Protocol):
    """Something that happens after a step: a progress bar, a validation. It is called in every process.

    The step's checkpoint is written before, so that a callback that fails loses no step. If one fails, or is killed,
    a run that goes on from this checkpoint calls them all again, and keeps nothing that they had recorded of the step.
    """

    def after_step(self, step: int, figures: dict[str, float], trainer: "Trainer", records: RunRecords) -> None:
        """``step`` counts the finished steps, ``figures`` are what the step measured."""
        ...


class Trainer:
    """A model in training, in one process or one of many.

    ``unread`` says, by id, which clips could not be read so far in any process, and why.
    """

    def __init__(self, config: TrainingConfig, source: ClipSource | CacheSource) -> None:
        self.config, self.step = config, 0
        self.unread: dict[str, str] = {}
        self.processes = join_processes(config.device)
        if not isinstance(source, CacheSource):
            refuse_forked_networks(config, self.processes.device)
        run_networks_on(self.processes.device)
        self.split = split_of(config, self.processes.num_processes)
        self.data = source.fingerprint
        if not same_everywhere(self.data):
            raise ManifestError(
                "the processes see different clips, and each would train on its own: share their folder"
            )
        self.card = ModelCard(
            name=config.name,
            model=config.model,
            shape=source.shape,
            lora=config.lora,
            guidance_scale=config.validation.guidance_scale if config.validation else None,
            seed=config.seed,
        )
        self.model = trainable_model(config, source.shapes)
        self.dropouts = ClipDropouts(self.model.network)
        if config.validation:  # steps that cannot be sampled are refused now, and not at the first validation
            cells = self.model.spec.grid(source.shape.frames, source.shape.height, source.shape.width)
            self.model.schedule.sampler(config.validation.steps, math.prod(cells))
        # Training from a cache asks no frozen part: they come to the process's device for sampling alone.
        self.model.device = torch.device("cpu") if isinstance(source, CacheSource) else self.processes.device
        distribute(self.model, self.processes, torch.bfloat16 if config.precision == "bf16" else torch.float32)
        self.learner = Learner(self.model.network, config.optimizer, config.ema_decay)
        self.source = batches_of(source, config.motion, self.model.spec)
        device = self.processes.device
        self.objective = DiffusionObjective(
            self.model,
            MotionFocalLoss(config.loss.strength, config.loss.weighting, difference=config.loss.difference),
            config.loss.schedule(config.steps),
            config.text_dropout,
            {name: tensor.to(device) for name, tensor in self.source.no_text(self.model).items()},
            config.image_noise,
        )

    @property
    def parts(self) -> range:
        """The parts of every step's batch that belong to this process."""
        each = self.split.count // self.processes.num_processes
        return range(self.processes.process_index * each, (self.processes.process_index + 1) * each)

    def train_step(self, batches: Iterator[ClipBatch | EncodedBatch]) -> dict[str, float]:
        """Forward and backward of this process's parts of a step, then one update; returns what was measured.

        The gradient is that of the mean over all clips of the step, however they are divided.

        Raises:
            TrainingError: the loss or a gradient is not finite; nothing was updated.
        """
        from accelerate.utils import gather

        started = time.perf_counter()
        torch.manual_seed(dropout_seed(self.config.seed, self.step, self.processes.process_index))
        unread: dict[str, str] = {}
        parts = gather(torch.stack([self._backward(part, next(batches), unread) for part in self.parts]))
        figures = figures_of(parts[:, :-1])
        if parts[:, -1].any():
            self.unread |= merged(unread)
        if not math.isfinite(figures["loss"]):
            raise TrainingError(f"step {self.step}: the loss is {figures['loss']}; {START_LOWER}")
        rate = learning_rate(self.config.optimizer, self.step, self.config.steps)
        norm = self.learner.update(rate, self.step)
        self.step += 1
        return figures | {"learning_rate": rate, "grad_norm": norm, "seconds": time.perf_counter() - started}

    def _backward(self, part: int, batch: ClipBatch | EncodedBatch, unread: dict[str, str]) -> Tensor:
        """Add one part's gradient, and to ``unread`` its clips that could not be read; returns ``summands`` and a flag.

        Processes exchange gradients at the last part only. The flag is 1 where a clip could not be read.
        """
        missed = batch.unread if isinstance(batch, ClipBatch) else {}
        unread.update(missed)
        encoded = self.encoded(batch)
        seeds = ClipSeeds(self.config.seed, self.step, self.split.clips(part))
        with nullcontext() if part == self.parts[-1] else without_exchange(self.model.network):
            self.dropouts.clips = seeds
            output = self.objective(encoded, seeds)
            (output.total / len(self.parts)).backward()
        found = summands(output)
        return torch.cat([found, found.new_tensor([bool(missed)])])

    def encoded(self, batch: ClipBatch | EncodedBatch) -> EncodedBatch:
        """A batch as the objective takes it, on this process's device."""
        device = self.processes.device
        return batch.to(device) if isinstance(batch, EncodedBatch) else batch.encode(self.model, device)

    @contextmanager
    def averaged(self) -> Iterator[LoadedModel]:
        """The model as it would be the result now, in evaluation mode, for as long as the context lasts."""
        before, self.model.device = self.model.device, self.processes.device
        try:
            with self.learner.averaged():
                yield LoadedModel(self.card, self.model)
        finally:
            self.model.device = before

    def state(self) -> TrainingState:
        """Everything that ``resume`` needs. All processes must call it together; the first one's is whole."""
        return TrainingState(step=self.step, data=self.data, learner=self.learner.state())

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint, which all processes must be able to read. Raises CheckpointError."""
        state = load_checkpoint(path, self.learner.weights, self.config.ema_decay is not None, self.data)
        self.step = state["step"]
        self.learner.resume(state["learner"])


def refuse_forked_networks(config: TrainingConfig, device: torch.device) -> None:
    """Raise ConfigError where processes that read ahead would compute flow on a GPU that this one works on already."""
    if config.workers and device.type == "cuda" and config.motion.uses_network:
        raise ConfigError(
            f"workers is {config.workers}, and CUDA cannot be used in processes that are forked from one that uses it,"
            f" as motion.estimator={config.motion.estimator} would: set workers=0, or prepare the clips once"
            " (data.cache)"
        )


def trainable_model(config: TrainingConfig, shapes: Sequence[ClipShape]) -> VideoModel:
    """The model of a config, ready to learn from clips of these shapes; its trained weights are float32.

    Raises:
        ConfigError: a target of LoRA is no layer, the family cannot compute activations again, the network computes in
            bfloat16 and what is new of it in float32, or noise is to go on an image's latent that there is not.
        ShapeError: the family cannot take one of the shapes.
    """
    model = build_model(config.model, shapes[0], config.seed)
    for shape in shapes:
        model.check(shape)
    ready_to_learn(model, config, shapes[0])
    return model


def ready_to_learn(model: VideoModel, config: TrainingConfig, shape: ClipShape) -> None:
    """Let the weights learn that the config trains, on clips of a shape; they become float32.

    A network that is trained whole becomes float32 whole, with what its family keeps frozen in it.

    Raises:
        ConfigError: see ``trainable_model``.
    """
    if config.image_noise:
        require_image_latent(model, shape)
    learning = list(model.network.parameters())
    if config.lora is not None:
        add_lora(model, config.lora, config.seed)
        learning = list(trained_weights(model.network).values())
    for weight in learning:
        weight.data = weight.data.float()  # rounding to bfloat16 would swallow small updates
    narrow = any(weight.dtype != torch.float32 for weight in model.network.parameters())
    if model.fresh and narrow and config.precision == "fp32":
        raise ConfigError(
            f"precision=fp32: {min(model.fresh)} and other new weights learn in float32, inside of a bfloat16 network;"
            " set precision=bf16, or model.dtype=float32"
        )
    if config.gradient_checkpointing:
        recompute_activations(model)
    model.network.train()


def train(
    config: TrainingConfig, source: ClipSource | CacheSource, run: Path, callbacks: Sequence[Callback] = ()
) -> None:
    """Train in a run folder, or go on where the folder's last checkpoint stands; write the model to ``run/model``.

    Of several processes, the first one alone writes.

    Raises:
        CheckpointError: the folder belongs to a run with other settings or clips, or another process trains there.
        TrainingError: the loss is no longer finite.
    """
    refuse_other_run(run, config)
    if config.threads:
        torch.set_num_threads(config.threads)
        cv2.setNumThreads(config.threads)
    trainer = Trainer(config, source)
    with alone_in(run) if trainer.processes.is_main_process else nullcontext():
        _train_in(run, trainer, callbacks)


def _train_in(run: Path, trainer: Trainer, callbacks: Sequence[Callback]) -> None:
    config, writes = trainer.config, trainer.processes.is_main_process
    if (found := last_checkpoint(run)) is not None:
        trainer.resume(found)
    if writes:
        claim(run, config)
    steps = range(trainer.step, config.steps)
    parts = load_parts(trainer.source, trainer.split, steps, trainer.parts, config.workers)
    with RunRecords(run, trainer.step, writes) as records:
        if not steps:
            _save_result(run, trainer)
        if (figures := of_the_first(records.unended())) is not None:
            _call(callbacks, figures, trainer, records)
            records.end(trainer.step)
        for _ in steps:
            figures = trainer.train_step(parts)
            records.add(METRICS, trainer.step, figures)
            records.add_unread(trainer.step, trainer.unread)
            if saved := trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
                _save(run, trainer)
            _call(callbacks, figures, trainer, records)
            if saved:
                records.end(trainer.step)
    trainer.processes.wait_for_everyone()


def _call(callbacks: Sequence[Callback], figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
    for callback in callbacks:
        callback.after_step(trainer.step, figures, trainer, records)


def _save(run: Path, trainer: Trainer) -> None:
    """Write the checkpoint of a step, and after the last one the model."""
    state = trainer.state()
    if trainer.processes.is_main_process:
        save_checkpoint(run, state)
    if trainer.step == trainer.config.steps:
        _save_result(run, trainer)


def _save_result(run: Path, trainer: Trainer) -> None:
    result = trainer.learner.result()
    if trainer.processes.is_main_process:
        save_model(run / "model", trainer.card, result)


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
