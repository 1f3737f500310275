"""``motionfocal report``: the page of a comparison, or of galleries."""

from collections.abc import Sequence
from pathlib import Path

from motionfocal.benchmarks import Benchmark
from motionfocal.cli.console import console, finish, progress_bar
from motionfocal.cli.judge import failures_of
from motionfocal.errors import ConfigError, GalleryError, ManifestError, UnavailableError
from motionfocal.generation.asked import benchmark_of
from motionfocal.generation.gallery import Gallery, index_files
from motionfocal.generation.origin import load_origin
from motionfocal.report.collect import Entrant, report_of
from motionfocal.report.gallery_page import write_gallery_page
from motionfocal.report.page import write_report
from motionfocal.report.results import read_results
from motionfocal.study.contest import Contest, hold_contest, load_contestants

PAGE = "report.html"
"""The page of a comparison, in its folder."""


def run(
    folders: Sequence[Path],
    out: Path | None = None,
    benchmark: str | None = None,
    results: Path | None = None,
    heatmaps: bool = False,
) -> None:
    """Write the page of whatever the folders hold; the exit code is 1 when a pair or a clip failed.

    Raises:
        ConfigError: an option is missing, or would have no effect on this kind of page.
        GalleryError: a folder holds neither, or the folders are of different kinds.
    """
    if all(index_files(folder) for folder in folders):
        if out is None:
            raise ConfigError("--out: the page of galleries is a folder; say which")
        finish("clips or pictures", _galleries(folders, out, benchmark, results, heatmaps))
        return
    if len(folders) > 1:
        strangers = [str(folder) for folder in folders if not index_files(folder)]
        raise GalleryError(f"{', '.join(strangers)}: no gallery here; several folders must all be galleries")
    for option, given in {"--benchmark": benchmark, "--results": results, "--heatmaps": heatmaps}.items():
        if given:
            raise ConfigError(f"{option}: is for galleries, and {folders[0]} holds none")
    finish("pairs", failures_of(page_of(folders[0], out or folders[0] / PAGE)))


def page_of(comparison: Path, page: Path) -> Contest:
    """Measure the clips of a comparison again (judgements are kept) and write its page."""
    galleries = load_contestants(comparison)
    ours, theirs = (Entrant(Gallery.open(folder), load_origin(folder)) for folder in (galleries.ours, galleries.theirs))
    contest = hold_contest(ours.gallery, theirs.gallery, ours.origin.benchmark, comparison)
    written = write_report(report_of(contest, ours, theirs, comparison), page)
    console.print(f"page: {written}", soft_wrap=True)
    return contest


def _galleries(
    folders: Sequence[Path], out: Path, benchmark: str | None, results: Path | None, heatmaps: bool
) -> Sequence[str]:
    """Write the page, continue past clips that cannot be shown, and say which these are."""
    galleries = [Gallery.open(folder) for folder in folders]
    asked = _benchmark(galleries, benchmark)
    with progress_bar() as progress:
        task = progress.add_task(
            "clips and heatmaps" if heatmaps else "clips", total=sum(len(g.rows()) for g in galleries), note=""
        )
        written = write_gallery_page(
            galleries,
            out,
            benchmark=asked,
            results=read_results(results) if results else None,
            heatmaps=heatmaps,
            advance=lambda: progress.advance(task),
        )
    console.print(f"page: {written.page}", soft_wrap=True)
    return written.failures


def _benchmark(galleries: Sequence[Gallery], named: str | None) -> Benchmark | None:
    """The benchmark that is named, or that the galleries remember if it can be had; a page can do without."""
    if named is not None:
        return benchmark_of(galleries, named)
    try:
        return benchmark_of(galleries)
    except (GalleryError, ManifestError, UnavailableError) as error:
        console.print(f"no pictures, scenarios and tags on the page: {error}", soft_wrap=True, markup=False)
        return None
