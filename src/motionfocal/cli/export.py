"""``motionfocal export``: a run's model for diffusers."""

from pathlib import Path

from motionfocal.cli.console import console
from motionfocal.generation.animators.checkpoint import model_folder
from motionfocal.models.export import export_model


def run(run: Path, out: Path) -> None:
    """Export, and say how to load what was exported."""
    with console.status("exporting"):
        exported = export_model(model_folder(run), out)
    console.print(f"exported to {exported.folder}; load it with", soft_wrap=True)
    for line in exported.usage:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
