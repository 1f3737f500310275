"""``motionfocal train``: one run, with a bar that says how it goes."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress, TaskID, track

from motionfocal.cli.console import console, list_failures, list_notes, progress_bar
from motionfocal.jsonl import Row, read_jsonl
from motionfocal.training.checkpoint import checkpoints
from motionfocal.training.config import dump_config, load_config, recipe
from motionfocal.training.loop import Trainer
from motionfocal.training.records import HELD_OUT, RunRecords, unread_in
from motionfocal.training.run import open_data, run_training


def show_config(config: str, overrides: Sequence[str]) -> None:
    """Print the resolved config."""
    resolved = load_config(recipe(config), overrides)
    console.print(dump_config(resolved), markup=False, highlight=False, soft_wrap=True)


def run(config: str, out: Path, overrides: Sequence[str]) -> None:
    """Resolve the config, train, and say where the results are."""
    resolved = load_config(recipe(config), overrides)
    data = open_data(resolved, lambda captions: track(captions, "reading clips", console=console))
    list_failures("clips", [rejected.reason for rejected in data.rejected])
    list_notes(data.notes)
    started = int(checkpoints(out)[-1].stem) if checkpoints(out) else 0
    if started:
        console.print(f"resuming after step {started}")
    with progress_bar() as progress:
        task = progress.add_task(resolved.name, total=resolved.steps, completed=started, note="")
        run_training(resolved, data, out, [StepBar(progress, task)])
    console.print(f"model in {out / 'model'}, samples in {out / 'samples'}")
    if held_out := read_jsonl(out / HELD_OUT):
        console.print(held_out_line(held_out))
    list_failures("clips", list(unread_in(out).values()))


def held_out_line(rows: Sequence[Row]) -> str:
    """What a run's ``held_out.jsonl`` says of its end, and of the step at which it was best by the same clips."""
    alike = [row for row in rows if row["clips"] == rows[-1]["clips"]]
    losses = {str(row["step"]): math.inf if row["diffusion"] is None else float(str(row["diffusion"])) for row in alike}
    last, best = list(losses)[-1], min(losses, key=losses.__getitem__)
    lowest = "its lowest" if best == last else f"the lowest was {losses[best]:.4f}, after {best} steps"
    return f"loss of {rows[-1]['clips']:g} held-out clips: {losses[last]:.4f} after {last} steps; {lowest}"


class StepBar:
    """A callback that moves a progress bar and shows smoothed losses."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._smooth: dict[str, float] = {}

    def after_step(self, step: int, figures: dict[str, float], trainer: Trainer, records: RunRecords) -> None:
        """See ``Callback``."""
        for key in ("loss", "moving_loss"):
            if figures[key] == figures[key]:  # NaN where nothing moves in the batch
                self._smooth[key] = 0.95 * self._smooth.get(key, figures[key]) + 0.05 * figures[key]
        note = "  ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in self._smooth.items())
        self._progress.update(self._task, completed=step, note=note)
