"""One run of an experiment: train, ask, write the result. Killed at any moment, it goes on."""

import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from motionfocal import __version__
from motionfocal.experiments.measure import answers, error_by_noise
from motionfocal.experiments.plan import RunPlan
from motionfocal.experiments.result import Asked, Machine, RunResult, load_result, save_result
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
    if (found := load_result(out, run)) is not None:
        return found
    folder, config = run_folder(out, run), training_config(run)
    with alone_in(folder / "result"):  # of a command that was killed, the run may still be at the judging
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
    loaded = load_model(folder / "model")
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


def this_machine(device: Literal["auto", "cpu"]) -> Machine:
    """What trains here, on the device that a config asks for."""
    used = best_device(device)
    processor = torch.cuda.get_device_name(used) if used.type == "cuda" else _cpu()
    return Machine(processor=processor, torch=torch.__version__, motionfocal=__version__)


def _cpu() -> str:
    """The model where the system names it (Linux), else the kind."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


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
