"""``motionfocal metrics``: measure galleries, and say which models differ."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from motionfocal.cli.console import console, finish, list_failures, progress_bar
from motionfocal.engine import HERE, Engine
from motionfocal.errors import ConfigError, UnavailableError
from motionfocal.generation.asked import benchmark_of
from motionfocal.generation.gallery import Gallery
from motionfocal.metrics import vbench_totals
from motionfocal.metrics.engine import Failure, Job, measure
from motionfocal.metrics.metric import Metric, Output
from motionfocal.metrics.references import REFERENCES, STATIC, jobs_of
from motionfocal.metrics.results import Difference, Findings, findings_of, rows_of, write_results
from motionfocal.metrics.sets import metrics_of
from motionfocal.metrics.store import SampleStore
from motionfocal.shard import WHOLE, Shard

_LIBRARIES = ("motionfocal", "numpy", "opencv-python-headless", "av", "torch", "torchvision", "transformers")


def run_distance(galleries: Sequence[Path], reference: Path, least: int | None) -> None:
    """Print FVD of galleries to the videos of a folder; the exit code is 1 when a clip could not be used."""
    from motionfocal.metrics.backbones.weights import BackboneSettings
    from motionfocal.metrics.distance import distances
    from motionfocal.metrics.fvd import i3d_features

    opened = [Gallery.open(folder) for folder in galleries]
    with progress_bar() as progress:
        task = progress.add_task("I3D", total=None, note="")
        extractor = i3d_features(BackboneSettings())
        found, failures = distances(opened, reference, extractor, least, lambda: progress.advance(task))
    table = Table("model", "FVD", "clips", "videos compared with")
    for entry in found:
        table.add_row(entry.model, f"{entry.fvd:.2f}", str(entry.clips), str(entry.reference_clips))
    console.print(table)
    console.print("FVD grows as sets shrink: compare only sets of one size.")
    finish("clips", [_told(failure) for failure in failures])


def run(
    galleries: Sequence[Path],
    benchmark: str | None,
    metric_set: str,
    out: Path,
    *,
    shard: str | None = None,
    engine: Engine = HERE,
) -> None:
    """Measure what the results lack and print the table; the exit code is 1 when something could not be measured."""
    if out.suffix != ".json":
        raise ConfigError(f"--out {out}: results are JSON; end the name in .json")
    opened = [Gallery.open(folder) for folder in galleries]
    asked = benchmark_of(opened, benchmark)
    metrics, unavailable = available(metrics_of(metric_set, opened))
    part = WHOLE if shard is None else Shard.parse(shard)
    jobs = jobs_of(opened, asked, metrics)
    mine = [job for job in jobs if part.holds(job.sample.item.id)]
    store = SampleStore(out.with_suffix(".samples"), "" if part == WHOLE else str(part))
    with progress_bar() as progress:
        task = progress.add_task("measuring", total=len(mine), note="")
        failures = measure(
            mine, store, engine=engine, progress=lambda done, total: progress.update(task, completed=done)
        )
    if part == WHOLE:
        _conclude(jobs, store, failures, out)
    else:
        console.print(f"part {part} is measured; the same command without --shard, after all parts, writes {out}")
    list_failures("clips", [_told(failure) for failure in failures if not failure.metric])
    list_failures("values", [_told(failure) for failure in failures if failure.metric])
    list_failures("metrics", unavailable)
    if failures or unavailable:
        raise SystemExit(1)


def _told(failure: Failure) -> str:
    """A line about what could not be measured."""
    return f"{', '.join(filter(None, (failure.model, failure.id, failure.metric)))}: {failure.reason}"


def available(metrics: Sequence[Metric]) -> tuple[list[Metric], list[str]]:
    """The metrics whose weights and libraries are here, and what the others lack.

    Raises:
        UnavailableError: there is none; the text says what is lacking.
    """
    there, lacking = [], []
    for metric in metrics:
        try:
            _ = metric.settings  # holds the hash of the weights
            there.append(metric)
        except UnavailableError as error:
            lacking.append(f"{metric.name}: {error}")
    if not there:
        raise UnavailableError("none of these metrics can be measured here: " + "; ".join(lacking))
    return there, lacking


def _conclude(jobs: Sequence[Job], store: SampleStore, failures: Sequence[Failure], out: Path) -> None:
    """Write the results and print what they say."""
    rows = rows_of(jobs, store)
    findings = findings_of(rows)
    outputs = {output.name: output for job in jobs for metric in job.metrics for output in metric.outputs}
    report = write_results(out, rows, findings, list(outputs.values()), _versions(), failures)
    for output in outputs.values():
        show(output, findings)
    show_totals(findings)
    console.print(
        "There is no total of our own: a still video wins most of what could go into one."
        f" values in {out}, means and tests in {report}",
        highlight=False,
        soft_wrap=True,
    )


def show(output: Output, findings: Findings) -> None:
    """Print a metric: every model's mean, its interval, and which models it is clearly above or below."""
    summaries = [summary for summary in findings.summaries if summary.metric == output.name]
    classes = [entry for entry in findings.classes if entry.metric == output.name]
    title = f"{output.name}: {output.description}"
    if classes:
        table = Table("model", "clips", "classes", title=title, title_justify="left")
        for found in classes:
            shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.shares.items())
            table.add_row(found.model, str(found.n), shares, style=_style(found.model))
        console.print(table)
    if summaries:
        table = Table("model", "mean", "95 %", "items", "clearly above", title=title, title_justify="left")
        for entry in sorted(summaries, key=lambda summary: -summary.estimate):
            above = _clearly_below(entry.model, output.name, findings.differences)
            interval = f"{entry.low:.4g} .. {entry.high:.4g}"
            cells = entry.model, f"{entry.estimate:.4g}", interval, str(entry.n), ", ".join(above)
            table.add_row(*cells, style=_style(entry.model))
        console.print(table)


def show_totals(findings: Findings) -> None:
    """Print VBench-I2V's own totals, the still video's first, where all of their dimensions were measured."""
    means: dict[str, dict[str, float]] = {}
    for summary in findings.summaries:
        means.setdefault(summary.model, {})[summary.metric] = summary.estimate
    wanted = {*vbench_totals.QUALITY, *vbench_totals.I2V}
    complete = {model: values for model, values in means.items() if wanted <= values.keys()}
    if STATIC not in complete:
        return
    table = Table("model", "quality", "I2V", "total", title="VBench-I2V's totals, which a still video wins")
    for model in sorted(complete, key=lambda name: name != STATIC):
        found = vbench_totals.vbench_totals(complete[model])
        table.add_row(model, *(f"{value:.2f}" for value in (found.quality, found.i2v, found.total)))
    console.print(table)


def _clearly_below(model: str, metric: str, differences: Sequence[Difference]) -> list[str]:
    """The models whose mean is below one's, beyond the interval and beyond chance."""
    found = []
    for difference in differences:
        if difference.metric == metric and difference.is_clear:
            higher, lower = (difference.a, difference.b) if difference.estimate > 0 else (difference.b, difference.a)
            if higher == model:
                found.append(lower)
    return found


def _style(model: str) -> str:
    """References are set back."""
    return "dim" if model in REFERENCES else ""


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{library: version(library) for library in _LIBRARIES}}
