"""``motionfocal experiment``: run, status, report."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID
from rich.table import Table

from motionfocal.cli.console import console, finish, progress_bar
from motionfocal.engine import EngineName
from motionfocal.experiments.cluster import run_on_ray
from motionfocal.experiments.plan import ExperimentPlan, RunPlan, load_plan
from motionfocal.experiments.pool import Pending, run_side_by_side
from motionfocal.experiments.report import write_experiment_report
from motionfocal.experiments.result import load_result
from motionfocal.experiments.work import run_folder
from motionfocal.jsonl import read_jsonl
from motionfocal.training.records import METRICS, VALIDATION


@dataclass(frozen=True)
class Opened:
    """An experiment file: its plan, its runs, and where their results are."""

    file: Path
    plan: ExperimentPlan
    runs: tuple[RunPlan, ...]
    results: Path


def _opened(files: Sequence[Path], results: Path | None) -> list[Opened]:
    plans = [(file, load_plan(file)) for file in files]
    return [Opened(file, plan, tuple(plan.runs(file.parent)), results or file.parent) for file, plan in plans]


def run_all(
    files: Sequence[Path], results: Path | None, workers: int | None, engine: EngineName, address: str | None
) -> None:
    """Carry out what is pending of all files, file by file, on this machine or on a Ray cluster."""
    failures: list[str] = []
    for opened in _opened(files, results):
        pending = Pending.of(opened.runs, opened.results)
        console.print(f"{opened.plan.name}: {pending.done} runs are done, {len(pending.runs)} to do")
        with progress_bar() as progress:
            bars = _Bars(progress, pending, opened.results)
            if engine == "ray":
                failed = run_on_ray(pending.runs, opened.results, address, bars.count)
            else:
                failed = run_side_by_side(pending.runs, opened.results, workers or os.cpu_count() or 1, bars.update)
        failures += [f"{run.run.arm}, seed {run.run.seed}: {run.reason}" for run in failed]
    finish("runs", failures)
    console.print("tables and figures: motionfocal experiment report " + " ".join(map(str, files)), soft_wrap=True)


class _Bars:
    """A bar for all runs, and one for each run at work."""

    def __init__(self, progress: Progress, pending: Pending, out: Path) -> None:
        self._progress, self._out = progress, out
        self._seen: set[str] = set()
        self._all = progress.add_task("runs", total=len(pending.runs), note="")
        self._bars: dict[str, TaskID] = {}

    def update(self, active: Sequence[RunPlan]) -> None:
        """Read how far the runs at work are, and take away the bars of those that ended."""
        at_work = {run.fingerprint: run for run in active}
        self._seen |= at_work.keys()
        for key in self._bars.keys() - at_work.keys():
            self._progress.remove_task(self._bars.pop(key))
        for key, run in at_work.items():
            if key not in self._bars:
                title = f"{run.arm}, seed {run.seed}"
                self._bars[key] = self._progress.add_task(title, total=run.config.steps, note="")
            done, note = _progress_of(run, self._out)
            self._progress.update(self._bars[key], completed=done, note=note)
        self.count(len(self._seen) - len(at_work))

    def count(self, ended: int) -> None:
        """So many runs have ended."""
        self._progress.update(self._all, completed=ended)


def _progress_of(run: RunPlan, out: Path) -> tuple[int, str]:
    """Steps that a run has trained, and what its last point of the curve says."""
    folder = run_folder(out, run)
    points = read_jsonl(folder / VALIDATION)
    note = f"followed {float(str(points[-1]['followed'])):.0%}" if points else ""
    return len(read_jsonl(folder / METRICS)), note


def show_status(files: Sequence[Path], results: Path | None) -> None:
    """A table of each experiment: its arms, how many seeds are done, and how far the others are."""
    for opened in _opened(files, results):
        table = Table(title=opened.plan.name)
        for column in ("arm", "seeds done", "under way"):
            table.add_column(column)
        for arm in opened.plan.arms:
            runs = [run for run in opened.runs if run.arm == arm]
            left = [run for run in runs if load_result(opened.results, run) is None]
            steps = {run.seed: _progress_of(run, opened.results)[0] for run in left}
            under_way = [f"seed {seed}: step {step} of {runs[0].config.steps}" for seed, step in steps.items() if step]
            table.add_row(arm, f"{len(runs) - len(left)} of {len(runs)}", "; ".join(under_way))
        console.print(table)


def write_reports(files: Sequence[Path], results: Path | None, out: Path | None) -> None:
    """Write each experiment's report, and say where it is."""
    for opened in _opened(files, results):
        folder = (out or opened.results / "reports") / opened.file.stem
        console.print(str(write_experiment_report(opened.plan, opened.runs, opened.results, folder)), soft_wrap=True)
