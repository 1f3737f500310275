"""``motionfocal report``: the page of a comparison, or of galleries."""

from collections.abc import Sequence
from pathlib import Path

from motionfocal.benchmarks import Benchmark
from motionfocal.cli.console import console, list_failures, progress_bar
from motionfocal.errors import ConfigError, GalleryError, ManifestError, UnavailableError
from motionfocal.generation.asked import benchmark_of
from motionfocal.generation.gallery import Gallery, index_files
from motionfocal.generation.origin import load_origin
from motionfocal.report.collect import Entrant, report_of
from motionfocal.report.gallery_page import write_gallery_page
from motionfocal.report.page import write_report
from motionfocal.report.results import read_results
from motionfocal.study.contest import hold_contest, load_contestants


def run(
    folders: Sequence[Path],
    out: Path | None = None,
    benchmark: str | None = None,
    results: Path | None = None,
    heatmaps: bool = False,
) -> Path:
    """Write the page of whatever the folders hold; returns its path.

    Raises:
        ConfigError: an option is missing, or would have no effect on this kind of page.
        GalleryError: a folder holds neither, or the folders are of different kinds.
    """
    if all(index_files(folder) for folder in folders):
        if out is None:
            raise ConfigError("--out: the page of galleries is a folder; say which")
        return _galleries(folders, out, benchmark, results, heatmaps)
    if len(folders) > 1:
        strangers = [str(folder) for folder in folders if not index_files(folder)]
        raise GalleryError(f"{', '.join(strangers)}: no gallery here; several folders must all be galleries")
    for option, given in {"--benchmark": benchmark, "--results": results, "--heatmaps": heatmaps}.items():
        if given:
            raise ConfigError(f"{option}: is for galleries, and {folders[0]} holds none")
    return _comparison(folders[0], out)


def _comparison(comparison: Path, out: Path | None) -> Path:
    """Measure the clips again (judgements are kept) and write the page."""
    galleries = load_contestants(comparison)
    ours, theirs = (Entrant(Gallery.open(folder), load_origin(folder)) for folder in (galleries.ours, galleries.theirs))
    contest = hold_contest(ours.gallery, theirs.gallery, ours.origin.benchmark, comparison)
    page = write_report(report_of(contest, ours, theirs, comparison), out or comparison / "report.html")
    console.print(f"page: {page}", soft_wrap=True)
    return page


def _galleries(folders: Sequence[Path], out: Path, benchmark: str | None, results: Path | None, heatmaps: bool) -> Path:
    """Write the page, go on past clips that cannot be shown, and list them at the end."""
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
    list_failures("clips or pictures", written.failures)
    if written.failures:
        raise SystemExit(1)
    return written.page


def _benchmark(galleries: Sequence[Gallery], named: str | None) -> Benchmark | None:
    """The benchmark that is named, or that the galleries remember if it can be had; a page can do without."""
    if named is not None:
        return benchmark_of(galleries, named)
    try:
        return benchmark_of(galleries)
    except (GalleryError, ManifestError, UnavailableError) as error:
        console.print(f"no pictures, scenarios and tags on the page: {error}", soft_wrap=True, markup=False)
        return None
