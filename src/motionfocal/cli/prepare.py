"""``motionfocal prepare``: encode clips and texts and measure motion once, so that training only reads."""

from collections.abc import Sequence
from functools import partial

import cv2
import torch
from rich.filesize import decimal
from rich.progress import Progress, TaskID
from rich.table import Table

from motionfocal.cli.console import console, list_failures, progress_bar
from motionfocal.cli.train import recipe as config_file
from motionfocal.data.cache_folder import KINDS, WHOLE, Shard
from motionfocal.data.plan import Amount, Plan, plan
from motionfocal.data.prepare import Report, prepare
from motionfocal.data.sources import FolderData, Rejected
from motionfocal.errors import ConfigError
from motionfocal.training.config import TrainingConfig, load_config
from motionfocal.training.run import cache_spec, frozen_model


def run(config: str, overrides: Sequence[str], dry_run: bool, shard: str | None) -> None:
    """Resolve the config, fill its cache or say what that would do, and list the clips that failed."""
    resolved = load_config(config_file(config), overrides)
    part = WHOLE if shard is None else parse_shard(shard)
    if not isinstance(resolved.data, FolderData):
        raise ConfigError(
            f"data.kind={resolved.data.kind}: there is nothing to prepare; its clips are drawn when needed"
        )
    if resolved.threads:
        torch.set_num_threads(resolved.threads)
        cv2.setNumThreads(resolved.threads)
    spec, device = cache_spec(resolved, resolved.data), _device(resolved)
    with progress_bar() as progress:
        bars = Bars(progress)
        if dry_run:
            planned = plan(spec, shard=part, progress=bars)
        else:
            model = partial(frozen_model, resolved, resolved.data, device)
            report = prepare(spec, model, device=device, shard=part, workers=resolved.workers, progress=bars)
    if dry_run:
        show_plan(planned)
        _finish(planned.rejected)
    else:
        show_report(report)
        console.print(f"cache in {spec.folder.root}")
        _finish(report.rejected)


def parse_shard(text: str) -> Shard:
    """``i/n`` as a shard, i from 1 to n. Raises ConfigError."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise ConfigError(f"--shard {text}: expected I/N, such as 1/4 on the first of four machines")
    return Shard(int(index), int(count))


def show_plan(planned: Plan) -> None:
    """Print what there is and what would be made."""
    table = Table("frames x height x width", "clips", "windows", "latent grid", "cells", "latents", "heatmaps")
    for bucket in planned.buckets:
        grid = "x".join(map(str, bucket.grid))
        counts = [f"{number:,}" for number in (bucket.clips, bucket.windows)]
        amounts = [_amount(bucket.latents), _amount(bucket.heatmaps)]
        table.add_row(str(bucket.bucket), *counts, grid, f"{bucket.cells:,}", *amounts)
    console.print(table)
    console.print(f"texts: {_amount(planned.texts)}")


def show_report(report: Report) -> None:
    """Print what was made, and what there was to warn of."""
    table = Table("", "made", "there before")
    for kind in KINDS:
        table.add_row(kind, f"{report.made[kind]:,}", f"{report.kept[kind]:,}")
    console.print(table)
    console.print(f"{report.seconds:.1f} seconds")
    for note in report.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


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


def _device(config: TrainingConfig) -> torch.device:
    return torch.device("cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu")


def _amount(amount: Amount) -> str:
    size = ("" if amount.measured else "at least ") + decimal(amount.bytes) if amount.bytes else "of unknown size"
    return f"{amount.entries:,} ({amount.there:,} there), {size}"


def _finish(rejected: Sequence[Rejected]) -> None:
    """List the clips that cannot be used; the exit code is then 1."""
    list_failures("clips", [clip.reason for clip in rejected])
    if rejected:
        raise SystemExit(1)
