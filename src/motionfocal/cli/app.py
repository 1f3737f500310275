"""The list of verbs."""

from typing import Annotated

import typer

from motionfocal import __version__
from motionfocal.cli.compare_verbs import baselines, benchmark, fvd, generate, judge, metrics, report
from motionfocal.cli.experiment_app import experiment_app
from motionfocal.cli.gallery_app import gallery_app
from motionfocal.cli.start_verbs import demo, doctor, heatmap
from motionfocal.cli.study_app import study_app
from motionfocal.cli.train_verbs import animate, convert, export, prepare, train

app = typer.Typer(
    name="motionfocal",
    help="Motion focal loss for text-image-to-video models: from a clip to a judged video.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_VERBS = {
    "Start": (demo, doctor, heatmap),
    "Train": (train, prepare, convert, animate, export),
    "Compare": (benchmark, generate, baselines, metrics, fvd, judge, report),
}
_GROUPS = {
    "gallery": ("Compare", gallery_app),
    "experiment": ("Compare", experiment_app),
    "study": ("Ask people", study_app),
}
"""Panels of ``--help``, and what it shows in each; verbs of verbs come last in theirs."""

for _panel, _verbs in _VERBS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
for _name, (_panel, _group) in _GROUPS.items():
    app.add_typer(_group, name=_name, rich_help_panel=_panel)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"motionfocal {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """What is said before a verb."""
