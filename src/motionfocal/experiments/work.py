"""One run of an experiment: train, ask, write the result. Killed at any moment, it goes on."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from motionfocal.experiments.machine import this_machine
from motionfocal.experiments.measure import answers, error_by_noise
from motionfocal.experiments.plan import RunPlan
from motionfocal.experiments.result import Asked, RunResult, load_result, save_result
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import best_device, load_model, trained_weights
from motionfocal.training.checkpoint import alone_in
from motionfocal.training.config import TrainingConfig
from motionfocal.training.loop import Callback, Trainer
from motionfocal.training.records import METRICS, VALIDATION, RunRecords
from motionfocal.training.run import open_data, run_training


def run_folder(out: Path, run: RunPlan) -> Path:
    """Where a run trains."""
    return out / "runs" / run.fingerprint


def carry_out(run: RunPlan, out: Path, callbacks: Sequence[Callback] = ()) -> RunResult:
    """Train one arm with one seed and have the oracle judge it; a result that is there already is given back.

    The training's checkpoints are deleted once the result is there; its model and its records stay.
    """
    folder, config = run_folder(out, run), training_config(run)
    with alone_in(folder, ".result.lock"):  # a run whose command was killed may still be at the judging
        if (found := load_result(out, run)) is not None:
            return found
        run_training(config, open_data(config), folder, [_Curve(run), *callbacks])
        result = _judged(run, folder)
        save_result(out, result)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return result


def training_config(run: RunPlan) -> TrainingConfig:
    """The config to train with, the same for every experiment that shares the run; others train beside it."""
    shared = {"name": run.fingerprint, "validation": None, "checkpoint_every": run.plan.curve_every}
    return run.config.model_copy(update={**shared, "threads": run.config.threads or 1})


def _judged(run: RunPlan, folder: Path) -> RunResult:
    loaded = load_model(folder / "model", best_device(run.config.device))
    seconds = [float(str(row["seconds"])) for row in read_jsonl(folder / METRICS)]
    curve = [(int(str(row["step"])), float(str(row["followed"]))) for row in read_jsonl(folder / VALIDATION)]
    worlds = {}
    for name, asked in run.asked.items():
        items, measured = answers(loaded, asked, run.plan.sampling, run.seed)
        worlds[name] = Asked.of([item.id for item in items], measured)
    return RunResult(
        run=run.fingerprint,
        arm=run.arm,
        seed=run.seed,
        settings=run.config.model_dump(mode="json"),
        curve=tuple(curve),
        worlds=worlds,
        noise=error_by_noise(loaded, run.world),
        steps=len(seconds),
        seconds=round(sum(seconds), 2),
        parameters=sum(weight.numel() for weight in trained_weights(loaded.model.network).values()),
        machine=this_machine(run.config.device),
    )


class _Curve:
    """A callback that asks the model, as it would be the result now, how many texts it follows."""

    def __init__(self, run: RunPlan) -> None:
        self._run = run

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``."""
        if step % self._run.plan.curve_every and step != trainer.config.steps:
            return
        state = torch.get_rng_state()
        with trainer.averaged() as loaded:
            _, measured = answers(loaded, self._run.curve, self._run.plan.sampling, self._run.seed)
        torch.set_rng_state(state)
        followed = [seen.followed for seen in measured]
        records.add(VALIDATION, step, {"followed": float(np.mean(followed)), "items": len(followed)})
