"""The command line: one thin command a verb. Heavy libraries are imported when a verb runs, never before."""

from motionfocal.cli.app import app
from motionfocal.cli.entry import main

__all__ = ["app", "main"]
