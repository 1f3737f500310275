"""The verbs that compare models; light, as ``motionfocal --help`` reads them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from motionfocal.cli.options import Address, Changes, Engine, Guidance, Remembered, Shard, Steps, parse_size
from motionfocal.engine import engine_of


def benchmark(
    config: Annotated[str, typer.Argument(help="A YAML file that holds clips out (data.held_out), as for 'train'.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The benchmark's folder; a half-finished one is resumed.")],
    overrides: Changes = None,
) -> None:
    """Make a benchmark of the clips that a config holds out: first frames, texts, and a gallery of the real clips.

    Next, for each model: [bold]motionfocal generate RUN -b held_out -o OUT[/bold], where held_out is the new folder.
    Models that were trained with this config, on these clips, have seen none of them.
    A clip that cannot be read is listed at the end, the rest is processed; the exit code is then 1.
    """
    from motionfocal.cli.benchmark import run

    run(config, out, overrides or [])


def generate(
    model: Annotated[
        str,
        typer.Argument(
            help="A run, a converted folder, a pipeline (folder, owner/name or owner/name@revision), or a baseline's"
            " name."
        ),
    ],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="ti2v-bench, animatebench, or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The gallery; one that was begun before is resumed.")],
    name: Annotated[str | None, typer.Option(help="What the gallery calls the model; default: its own name.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="For a baseline that runs in this process: the folder of its weights.")
    ] = None,
    checkout: Annotated[
        Path | None, typer.Option(help="For a baseline that is a program of its own: the folder of your clone of it.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(help="For a baseline that is a program of its own: the python of the environment it runs in."),
    ] = None,
    lora: Annotated[
        Path | None,
        typer.Option(help="For a pipeline of diffusers, not for a run: adapters, a file or what 'export' wrote."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Height and width, not for a run; default: the model's.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames per clip, not for a run; default: the model's.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Rate of the written clips, not for a run; default: the model's. Pipelines that take a rate, as"
            " LTX-Video's, are told it, too; of any other model it does not change the frames."
        ),
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE",
            help="Change a setting of sampling, not a key of a config: of a run, as --set eta=1; of a pipeline, any"
            " keyword of its call, as --set negative_prompt=blurry; may be repeated. docs/comparing.md has the others.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the noise, an item's the same for every model.")] = 0,
    shard: Shard = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Only items of this scenario; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only items with this tag; may be repeated.")] = None,
    id_: Annotated[list[str] | None, typer.Option("--id", help="Only this item; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N of them.")] = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Animate a benchmark with any model, into a gallery that can be measured, judged and shown.

    [bold]motionfocal generate runs/mine -b ti2v-bench -o galleries/mine[/bold] a model that you trained;
    [bold]motionfocal generate Wan-AI/Wan2.2-TI2V-5B-Diffusers -b ti2v-bench -o galleries/wan[/bold] a pipeline;
    [bold]motionfocal generate dynamicrafter --weights FOLDER -b my-items -o galleries/dc[/bold] a baseline, of which
    [bold]motionfocal baselines[/bold] lists nine. Killed at any moment, the same command resumes. An item that fails is
    listed at the end, the rest is processed; the exit code is then 1. More in docs/comparing.md.
    """
    from motionfocal.cli.generate import parse_settings, run
    from motionfocal.generation.open import Options

    options = Options(
        size=None if size is None else parse_size(size),
        frames=frames,
        fps=fps,
        steps=steps,
        guidance=guidance,
        lora=lora,
        weights=weights,
        checkout=checkout,
        python=python,
        more=parse_settings(more or []),
    )
    run(model, benchmark, out, options, name=name, seed=seed, shard=shard, scenarios=scenario or [], tags=tag or [],
        ids=id_ or [], limit=limit, engine=engine_of(engine, None, address))  # fmt: skip


def baselines(
    name: Annotated[str | None, typer.Argument(help="One of them; default: all, in a table.")] = None,
) -> None:
    """List the nine open models that the paper compares with: licence, size, command, what to install and watch."""
    from motionfocal.cli.baselines import run

    run(name)


def metrics(
    galleries: Annotated[list[Path], typer.Argument(help="Galleries on one benchmark, one of each model.")],
    benchmark: Remembered = None,
    metric_set: Annotated[
        Literal["weights-free", "siblings", "vbench-i2v", "animatebench", "all"],
        typer.Option(
            "--metrics",
            "-m",
            metavar="weights-free|siblings|vbench-i2v|animatebench|all",
            help="Which ones: weights-free needs no network; docs/metrics.md explains each.",
        ),
    ] = "weights-free",
    out: Annotated[Path, typer.Option("--out", "-o", help="Rows as JSON: model, id, image, metric, value.")] = Path(
        "results.json"
    ),
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Measure part I of N; then once without, to put them together.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that measure at once; default: 0, this one.")
    ] = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Measure clips: every clip is decoded once for all metrics, every value kept by content and never computed twice.

    A still video, one that only pans, and the clips with other texts are measured beside the models. Means come with
    intervals that draw whole pictures, differences with a paired test. A clip that cannot be measured is listed at the
    end, the rest is processed; the exit code is then 1. Killed at any moment, the same command resumes.
    """
    from motionfocal.cli.metrics import run

    run(galleries, benchmark, metric_set, out, shard=shard, engine=engine_of(engine, workers, address))


def fvd(
    galleries: Annotated[list[Path], typer.Argument(help="Galleries, one of each model.")],
    reference: Annotated[Path, typer.Option("--reference", "-r", help="A folder of videos to compare with.")],
    least: Annotated[
        int | None,
        typer.Option(min=2, help="Clips that each set must have; default: 401, one more than I3D's 400 features."),
    ] = None,
) -> None:
    """Frechet video distance of galleries to a folder of videos, by I3D: a number about sets, without an interval."""
    from motionfocal.cli.metrics import run_distance

    run_distance(galleries, reference, least)


def judge(
    ours: Annotated[Path, typer.Argument(help="Gallery of the model in question.")],
    theirs: Annotated[Path, typer.Argument(help="Gallery of the model that it is compared with.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the comparison.")] = Path("runs/comparison"),
) -> None:
    """Have the world's oracle compare two galleries: TI2V score, reasons, and followed texts, with intervals."""
    from motionfocal.cli.judge import run

    run(ours, theirs, out)


def report(
    folders: Annotated[list[Path], typer.Argument(help="A folder that 'judge' or 'demo' wrote, or galleries.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Galleries: the page's folder, required. Else the page; default: report.html inside."
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark", "-b", help="Galleries: their benchmark, a folder or name; default: what they remember."
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Galleries: results.json of 'metrics', for values, tables and plots.")
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Galleries: also make motion overlays (a second or more per clip).")
    ] = False,
) -> None:
    """Make a page: of a comparison, one self-contained file; of galleries, a folder to browse, zip and move.

    [bold]motionfocal report runs/comparison[/bold] shows both videos in sync, reasons, tables, curves, settings.
    [bold]motionfocal report GALLERY GALLERY ... --benchmark DIR --out PAGE[/bold] shows all models side by side, with
    filters, sorting, and heatmaps on a key. A clip that cannot be read is listed at the end; the exit code is then 1.
    """
    from motionfocal.cli.report import run

    run(folders, out, benchmark, results, heatmaps)
