"""``motionfocal baselines``: the nine models of the paper's comparison, and how to run each."""

from rich.table import Table

from motionfocal.cli.console import console
from motionfocal.generation.baselines import BASELINES, Baseline, baseline


def run(name: str | None) -> None:
    """Print all, or all about one."""
    if name is None:
        console.print(_table())
        console.print("motionfocal baselines NAME says how to get and run one, and what to look out for")
    else:
        _print(baseline(name))


def _table() -> Table:
    table = Table(title="baselines")
    for name in ("name", "runs", "size, frames, fps"):
        table.add_column(name, no_wrap=True)
    for name in ("repository", "licence of the code"):
        table.add_column(name, overflow="fold")
    for entry in BASELINES.values():
        table.add_row(entry.name, entry.runs, _form(entry), entry.repository, entry.code_licence)
    return table


def _form(entry: Baseline) -> str:
    return f"{entry.size[0]}x{entry.size[1]}, {entry.frames}, {entry.fps:g}"


def _print(entry: Baseline) -> None:
    lines = {
        "repository": entry.repository,
        "licence of the code": entry.code_licence,
        "licence of the weights": entry.weights_licence,
        "built on": entry.base,
        "size, frames, fps": f"{_form(entry)}; {entry.steps} sampling steps",
        "runs": "in this process" if entry.runs == "in-process" else "as a program of its own, from your checkout",
        "to set up": "; ".join(entry.setup),
        "then": entry.usage,
        "its own command": entry.command,
    }
    console.print(entry.title, style="bold", markup=False)
    for key, text in lines.items():
        console.print(f"{key}: {text}", markup=False, highlight=False, soft_wrap=True)
    for note in entry.notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
