"""``motionfocal report``: the page of a comparison."""

from pathlib import Path

from motionfocal.cli.console import console
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.origin import load_origin
from motionfocal.report.collect import Entrant, report_of
from motionfocal.report.page import write_report
from motionfocal.study.contest import hold_contest, load_contestants


def run(comparison: Path, out: Path | None) -> Path:
    """Measure the clips again (judgements are kept) and write the page; returns its path."""
    galleries = load_contestants(comparison)
    ours, theirs = (Entrant(Gallery.open(folder), load_origin(folder)) for folder in (galleries.ours, galleries.theirs))
    contest = hold_contest(ours.gallery, theirs.gallery, ours.origin.benchmark, comparison)
    page = write_report(report_of(contest, ours, theirs, comparison), out or comparison / "report.html")
    console.print(f"page: {page}", soft_wrap=True)
    return page
