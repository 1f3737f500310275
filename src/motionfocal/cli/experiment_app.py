"""The verbs of ``motionfocal experiment``; light, as ``motionfocal --help`` reads them."""

from pathlib import Path
from typing import Annotated

import typer

from motionfocal.cli.options import Address, Engine
from motionfocal.engine import require_fitting

experiment_app = typer.Typer(
    no_args_is_help=True,
    help="Train arms that differ in a few settings, several seeds each, and have an exact judge compare them.",
)

File = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="Experiments, as experiments/table2.yaml; docs/experiments.md.")
]
Results = Annotated[
    Path | None,
    typer.Option("--results", "-r", help="Folder of runs/ and results/, which experiments share; default: the file's."),
]


@experiment_app.command()
def run(
    files: File,
    results: Results = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs side by side; default: one per core.")] = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Carry out the runs that have no result yet. Killed at any moment, the same command resumes.

    All arms of a seed see the same clips, timesteps and noise. A run that several experiments share is done once. One
    that fails is listed at the end, the rest is processed; the exit code is then 1.
    """
    from motionfocal.cli.experiment import run_all

    require_fitting(engine, workers, address)
    run_all(files, results, workers, engine, address)


@experiment_app.command()
def status(files: File, results: Results = None) -> None:
    """What is done, what is under way and what is left, arm by arm."""
    from motionfocal.cli.experiment import show_status

    show_status(files, results)


@experiment_app.command()
def report(
    files: File,
    results: Results = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the reports; default: reports/ beside the results.")
    ] = None,
) -> None:
    """Rebuild an experiment's tables and figures from its result files, with intervals over seeds and items."""
    from motionfocal.cli.experiment import write_reports

    write_reports(files, results, out)
