"""What all verbs show alike: the console, progress bars, and the lists of notes and of what failed."""

import os
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(quiet=os.environ.get("RANK", "0") != "0")
"""Of several processes that work together, the first one alone speaks."""


_RECENT = 3600.0
"""Seconds by whose pace the time left is told: needs two steps in it, and a clip on a large base takes minutes."""


def progress_bar() -> Progress:
    """Count, bar, time spent and time left, and a free text at the end (field ``note``)."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        speed_estimate_period=_RECENT,
    )


def list_notes(notes: Sequence[str]) -> None:
    """What went well, and should be known all the same."""
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def list_failures(what: str, failures: Sequence[str]) -> None:
    """At the end of a run that continued past bad input: what failed, and why."""
    if failures:
        console.print(f"[red]{len(failures)} {what} failed:[/red]")
        for failure in failures:
            console.print(f"  {failure}", markup=False, highlight=False, soft_wrap=True)


def finish(what: str, failures: Sequence[str]) -> None:
    """End a command: list what failed, in which case the exit code is 1."""
    list_failures(what, failures)
    if failures:
        raise SystemExit(1)
