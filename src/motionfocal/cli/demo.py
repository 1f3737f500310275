"""``motionfocal demo``: the whole way through the house, on one machine without a GPU."""

import multiprocessing
import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.progress import Progress, TaskID

from motionfocal.cli.console import console, finish, progress_bar
from motionfocal.cli.judge import failures_of, judge
from motionfocal.cli.report import PAGE, page_of
from motionfocal.errors import TrainingError
from motionfocal.experiments.logged import ending, logged
from motionfocal.generation.gallery import INDEX
from motionfocal.generation.sampler import SamplingSettings
from motionfocal.generation.world import animate_world
from motionfocal.jsonl import read_jsonl
from motionfocal.training.config import TrainingConfig, load_config, recipe
from motionfocal.training.parent import StopWithParent
from motionfocal.training.records import METRICS
from motionfocal.training.run import benchmark_of, open_data, run_training
from motionfocal.worlds.benchmark import SpritesBenchmark

ARMS = {"motif": (), "plain": ("loss.weighting=none",)}
"""The two models, and what sets each apart from the recipe."""

GUIDANCE = 2.0
"""Guidance of the demo's clips: the paper's 7.5 is for latents of photographs; see docs/choices.md."""


@dataclass(frozen=True)
class Arm:
    """One of the two models: its config, where it goes, and what it is asked."""

    config: TrainingConfig
    folder: Path
    benchmark: SpritesBenchmark
    sampling: SamplingSettings

    @property
    def gallery(self) -> Path:
        """Where its clips go."""
        return self.folder / "gallery"


def run(out: Path, steps: int | None, seed: int, images: int, texts: int, open_page: bool) -> None:
    """Train both arms side by side, animate, judge, and make the page."""
    started = time.monotonic()
    arms = [_arm(out, name, changes, steps, seed, images, texts) for name, changes in ARMS.items()]
    _run_side_by_side(arms)
    comparison = out / "comparison"
    judge(arms[0].gallery, arms[1].gallery, comparison)
    contest = page_of(comparison, comparison / PAGE)
    console.print(f"took {(time.monotonic() - started) / 60:.1f} minutes")
    if open_page and sys.stdout.isatty():
        webbrowser.open((comparison / PAGE).absolute().as_uri())
    finish("pairs", failures_of(contest))


def _arm(out: Path, name: str, changes: tuple[str, ...], steps: int | None, seed: int, images: int, texts: int) -> Arm:
    threads = max(1, (os.cpu_count() or 2) // len(ARMS))
    overrides = [f"name={name}", f"seed={seed}", f"threads={threads}", *changes]
    if steps is not None:
        overrides += [f"steps={steps}", f"optimizer.warmup_steps={min(50, steps)}"]
    config = load_config(recipe("sprites"), overrides)
    return Arm(config, out / name, benchmark_of(config, images, texts), SamplingSettings(guidance_scale=GUIDANCE))


def _run_side_by_side(arms: list[Arm]) -> None:
    """One process an arm; each leaves its progress in its files, from which a killed demo resumes, too."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(arm,), daemon=True) for arm in arms]
    for worker in workers:
        worker.start()
    with progress_bar() as progress:
        bars = [_Bars(progress, arm) for arm in arms]
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.5)
            for bar in bars:
                bar.update()
            _raise_if_failed(arms, workers)
    _raise_if_failed(arms, workers)


def _raise_if_failed(arms: Sequence[Arm], workers: Sequence[BaseProcess]) -> None:
    for arm, worker in zip(arms, workers, strict=True):
        if worker.exitcode:
            for other in workers:
                other.terminate()
            raise TrainingError(f"{arm.config.name} stopped: {ending(arm.folder, worker.exitcode)}")


class _Bars:
    """Two bars for one arm: steps trained and clips made."""

    def __init__(self, progress: Progress, arm: Arm) -> None:
        self._progress, self._arm = progress, arm
        total = arm.benchmark.images * arm.benchmark.texts
        self._training = progress.add_task(f"training {arm.config.name}", total=arm.config.steps, note="")
        self._animating: TaskID = progress.add_task(f"animating {arm.config.name}", total=total, note="", start=False)

    def update(self) -> None:
        """Read how far the arm's process is."""
        rows = read_jsonl(self._arm.folder / METRICS)
        if rows:
            recent = [float(str(value)) for row in rows[-50:] if (value := row["moving_loss"]) is not None]
            mean = sum(recent) / max(1, len(recent))
            self._progress.update(self._training, completed=len(rows), note=f"moving loss {mean:.4f}")
        if len(rows) >= self._arm.config.steps:
            self._progress.start_task(self._animating)
            self._progress.update(self._animating, completed=len(read_jsonl(self._arm.gallery / INDEX)))


def _work(arm: Arm) -> None:
    """Train one arm and animate its items; output and errors go to a log file."""
    with logged(arm.folder):
        run_training(arm.config, open_data(arm.config), arm.folder, [StopWithParent()])
        animate_world(arm.folder, arm.gallery, arm.benchmark, arm.sampling, arm.config.seed)
