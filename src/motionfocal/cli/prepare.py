"""``motionfocal prepare``: encode clips and texts and measure motion once, so that training only reads."""

import os
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

import cv2
import torch
from rich.filesize import decimal
from rich.progress import Progress, TaskID
from rich.table import Table

from motionfocal.cli.console import console, finish, list_notes, progress_bar
from motionfocal.data.cache_folder import KINDS
from motionfocal.data.plan import Plan, plan
from motionfocal.data.prepare import Report, prepare
from motionfocal.data.sources import FolderData
from motionfocal.engine import EngineName, engine_of
from motionfocal.errors import ConfigError
from motionfocal.models.build import best_device
from motionfocal.models.protocol import ClipShape
from motionfocal.motion import run_networks_on
from motionfocal.shard import WHOLE, Shard
from motionfocal.training.config import TrainingConfig, load_config
from motionfocal.training.config import recipe as config_file
from motionfocal.training.estimate import A100, H100
from motionfocal.training.need import Need, training_need
from motionfocal.training.run import cache_spec, frozen_model


def run(
    config: str,
    overrides: Sequence[str],
    dry_run: bool,
    shard: str | None,
    name: EngineName = "local",
    address: str | None = None,
) -> None:
    """Resolve the config, fill its cache or say what that would do, and list the clips that failed."""
    _refuse_launchers()
    resolved = load_config(config_file(config), overrides)
    engine = engine_of(name, resolved.workers if name == "local" else None, address)  # its workers are this machine's
    part = WHOLE if shard is None else Shard.parse(shard)
    if not isinstance(resolved.data, FolderData):
        raise ConfigError(
            f"data.kind={resolved.data.kind}: there is nothing to prepare; its clips are drawn when needed"
        )
    if resolved.threads:
        torch.set_num_threads(resolved.threads)
        cv2.setNumThreads(resolved.threads)
    run_networks_on(best_device(resolved.device))
    spec = cache_spec(resolved, resolved.data)
    with progress_bar() as progress:
        bars = Bars(progress)
        model = partial(frozen_model, resolved, resolved.data)
        if dry_run:
            planned = plan(spec, model().blank, shard=part, progress=bars)
        else:
            report = prepare(spec, model, shard=part, engine=engine, progress=bars)
    if resolved.model.words is not None:
        list_notes(resolved.model.notes_on(caption.text for caption in spec.captions(part)))
    if dry_run:
        show_plan(planned)
        if planned.buckets:
            show_need(_largest_need(resolved, planned), resolved)
        finish("clips", [clip.reason for clip in planned.rejected])
    else:
        show_report(report)
        console.print(f"cache in {spec.folder.root}")
        finish("clips", [clip.reason for clip in report.rejected])


def _refuse_launchers() -> None:
    """Raise ConfigError where torchrun or accelerate started several processes: each would prepare all clips."""
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ConfigError(
            f"WORLD_SIZE={processes}: prepare does not share its clips out among processes of torchrun or accelerate;"
            f" start one a GPU with --shard 1/{processes} and so on, each with its CUDA_VISIBLE_DEVICES"
        )


def show_plan(planned: Plan) -> None:
    """Print what there is and what would be made."""
    table = Table("frames x height x width", "clips", "windows", "latent grid", "cells", title="clips")
    for bucket in planned.buckets:
        grid = "x".join(map(str, bucket.grid))
        table.add_row(str(bucket.bucket), f"{bucket.clips:,}", f"{bucket.windows:,}", grid, f"{bucket.cells:,}")
    console.print(table)
    table = Table("", "entries", "there", "size of all", title="cache")
    for kind, amount in planned.amounts.items():
        table.add_row(kind, f"{amount.entries:,}", f"{amount.there:,}", decimal(amount.bytes))
    console.print(table)


def _largest_need(config: TrainingConfig, planned: Plan) -> Need:
    """What training needs for the clips with the most cells."""
    frames, height, width = max(planned.buckets, key=attrgetter("cells")).bucket
    with console.status("estimating what training needs"):
        return training_need(config, ClipShape(frames=frames, height=height, width=width, fps=1))


def show_need(need: Need, config: TrainingConfig) -> None:
    """Print what training would take of a GPU."""
    memory, shape = need.memory, need.shape
    clips = f"{need.clips} of {shape.frames}x{shape.height}x{shape.width}"
    parts = {
        f"weights ({need.weights / 1e6:,.1f} million)": memory.weights,
        f"gradients ({need.trained / 1e6:,.1f} million)": memory.gradients,
        "optimizer": memory.optimizer,
        "averaged weights": memory.average,
        f"activations (clips a pass: {clips})": memory.activations,
        "at the highest": memory.total,
    }
    table = Table("of one GPU", "memory", title="training")
    for part, size in parts.items():
        if size:
            table.add_row(part, decimal(size))
    console.print(table)
    hours = ", ".join(f"{gpu.hours(need.run_flops):,.1f} hours on one {gpu.name}" for gpu in (A100, H100))
    each = need.cost.flops / need.clips / 1e12
    console.print(
        f"{config.steps:,} steps of {config.batch_size} clips, {each:,.4g} TFLOP each: {hours} (docs/recipes.md says"
        " how this is estimated, and what it leaves out)",
        highlight=False,
    )


def show_report(report: Report) -> None:
    """Print what was made, and what there was to warn of."""
    table = Table("", "made", "there before")
    for kind in KINDS:
        table.add_row(kind, f"{report.made[kind]:,}", f"{report.kept[kind]:,}")
    console.print(table)
    console.print(f"{report.seconds:.1f} seconds")
    list_notes(report.notes)


class Bars:
    """One bar for each thing that is done; see ``motionfocal.data.prepare.Progress``."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar of ``what``."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, note="")
        self._progress.update(self._tasks[what], completed=done, total=total)
