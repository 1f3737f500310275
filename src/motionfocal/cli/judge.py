"""``motionfocal judge``: the oracle compares two galleries of one world."""

from pathlib import Path

from rich.table import Table

from motionfocal.cli.console import console, finish, progress_bar
from motionfocal.errors import GalleryError
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.origin import load_origin
from motionfocal.intervals import Interval
from motionfocal.study.contest import Contest, Contestants, hold_contest, save_contestants


def run(ours: Path, theirs: Path, out: Path) -> None:
    """Judge, print the table, and write everything into ``out``; the exit code is 1 when a pair failed."""
    finish("pairs", failures_of(judge(ours, theirs, out)))


def failures_of(contest: Contest) -> list[str]:
    """The pairs that could not be judged, and why."""
    return [str(failure.error) for failure in contest.failures]


def judge(ours: Path, theirs: Path, out: Path) -> Contest:
    """Judge, print the table, and write everything into ``out``."""
    benchmark = load_origin(ours).benchmark
    if load_origin(theirs).benchmark != benchmark:
        raise GalleryError(f"{ours} and {theirs} are of different benchmarks; animate both with the same options")
    out.mkdir(parents=True, exist_ok=True)
    save_contestants(out, Contestants(ours=ours, theirs=theirs))
    with progress_bar() as progress:
        task = progress.add_task("judging", total=None, note="")
        contest = hold_contest(
            Gallery.open(ours),
            Gallery.open(theirs),
            benchmark,
            out,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    _print(contest)
    return contest


def _print(contest: Contest) -> None:
    """Figure 4's row, turned upright so that it fits a terminal."""
    row = contest.table
    table = Table("", row.model, row.baseline, title=f"{row.items} pairs, judged by the oracle")
    score = row.item_score
    table.add_row("TI2V score", _percent(score), f"{100 * (1 - score.estimate):.1f} %")
    for reason, (ours, theirs) in row.reasons.items():
        table.add_row(reason, f"{100 * ours:.1f} %", f"{100 * theirs:.1f} %")
    followed = contest.followed
    table.add_row("text followed", _percent(followed[row.model]), _percent(followed[row.baseline]))
    console.print(table)
    gain = contest.difference
    console.print(
        f"{row.model} follows {100 * gain.estimate:+.1f} points more texts than {row.baseline}"
        f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] (95 %, images drawn whole),"
        f" p = {contest.p_value:.2g} (exact, signs of whole images flipped)"
    )


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
