"""The verbs to begin with; light, as ``motionfocal --help`` reads them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from motionfocal.cli.options import Changes


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the demo; a half-finished one is resumed.")
    ] = Path("runs/demo"),
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of each model; default: the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws weights, clips and noise, the same for both models.")] = 0,
    images: Annotated[int, typer.Option(min=1, help="Held-out images.")] = 32,
    texts: Annotated[int, typer.Option(min=1, max=24, help="Texts per image.")] = 4,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser at the end.")] = True,
) -> None:
    """Train a small TI2V model with and without the motion focal loss, and have an exact judge compare them.

    Both models see the same clips and the same noise, side by side on two cores. Then each animates held-out images by
    several texts each, the oracle of the sprites world judges every pair, and the result is a page.
    """
    from motionfocal.cli.demo import run

    run(out, steps, seed, images, texts, open_page)


def doctor(
    configs: Annotated[
        list[str] | None, typer.Argument(help="Config files or recipes: say what training by them would need.")
    ] = None,
    overrides: Changes = None,
) -> None:
    """Say what works on this machine, what is missing, and what to do about it. Nothing is installed.

    [bold]motionfocal doctor[/bold] tries a video, its flow, its heatmap and a step of training, and lists the extras
    and weights that are here; [bold]motionfocal doctor wan22-ti2v-5b -s data.videos=CLIPS[/bold] the base, clips,
    memory and time of a training: for these a base's configs, some kilobytes, are downloaded into the hub's cache, its
    weights never. The exit code is 1 when something does not work, or a training could not begin.
    """
    from motionfocal.cli.doctor import run

    run(configs or [], overrides or [])


def heatmap(
    clips: Annotated[
        list[Path] | None, typer.Argument(help="Videos, or folders of videos; default: the data set of --config.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the overlays.")] = Path("heatmaps"),
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", help="A YAML file or recipe: what its training sees, in place of the options below."
        ),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(metavar="farneback|dis|raft_large|raft_small", help="Optical flow; default: farneback."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="robust|clip_max|diagonal|NUMBER",
            help="What motion is divided by, NUMBER in pixels above 0; default: robust.",
        ),
    ] = None,
    camera: Annotated[
        Literal["raw", "compensated"] | None,
        typer.Option(metavar="raw|compensated", help="compensated: subtract the camera's motion; default: raw."),
    ] = None,
    floor: Annotated[
        float | None, typer.Option(min=0, help="Motion below this many pixels per frame counts as none; default: 0.5.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=2, help="Frames per clip; default: all of them.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Take every n-th frame; default: 1, all.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Look at N clips, evenly spread over all; default: all of them.")
    ] = None,
) -> None:
    """Compute motion heatmaps of clips: an overlay as a video and as a picture, and the moving share of each.

    [bold]motionfocal heatmap my_clips/[/bold] takes clips as they are; [bold]--config my.yaml[/bold] as its training
    sees them: its motion settings, at its frames, stride and size. Without clips these are the config's own, in
    subfolders and tar shards too, and their overlays are named by their ids.
    A clip that cannot be read is listed at the end, the rest is processed; the exit code is then 1.
    """
    from motionfocal.cli.heatmap import clips_at, clips_of, look_by, look_of, run

    motion = {"estimator": estimator, "scale": scale, "camera": camera, "floor": floor}
    reading = {"frames": frames, "stride": stride}
    beside = [f"--{name}" for name, value in {**motion, **reading}.items() if value is not None]
    if config and beside:
        raise typer.BadParameter(f"{', '.join(beside)}: the config says it; leave it out, or --config")
    look = look_by(config) if config else look_of(motion, frames, stride or 1)
    if clips:
        run(clips_at(clips), out, look, limit)
    elif config:
        run(clips_of(config), out, look, limit)
    else:
        raise typer.BadParameter("CLIPS are needed, or --config for those of its data set")
