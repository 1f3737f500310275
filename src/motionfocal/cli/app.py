"""The list of verbs."""

from pathlib import Path
from typing import Annotated

import typer

from motionfocal.cli.experiment_app import experiment_app
from motionfocal.cli.gallery_app import gallery_app
from motionfocal.cli.options import Address, Changes, Engine, Shard, parse_size
from motionfocal.cli.study_app import study_app
from motionfocal.engine import engine_of

app = typer.Typer(
    name="motionfocal",
    help="Motion focal loss for text-image-to-video models: from a clip to a judged video.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.add_typer(gallery_app, name="gallery")
app.add_typer(study_app, name="study")
app.add_typer(experiment_app, name="experiment")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the demo; a half-finished one goes on.")] = Path(
        "runs/demo"
    ),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each model; unset, the recipe's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws weights, clips and noise, the same for both models.")] = 0,
    images: Annotated[int, typer.Option(min=1, help="Held-out images.")] = 32,
    texts: Annotated[int, typer.Option(min=1, max=24, help="Texts an image.")] = 4,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser at the end.")] = True,
) -> None:
    """Train a small TI2V model with and without the motion focal loss, and have an exact judge compare them.

    Both models see the same clips and the same noise, side by side on two cores. Then each animates held-out images by
    several texts each, the oracle of the sprites world judges every pair, and the result is a page.
    """
    from motionfocal.cli.demo import run

    run(out, steps, seed, images, texts, open_page)


@app.command()
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


@app.command()
def heatmap(
    clips: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the overlays.")] = Path("heatmaps"),
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", help="A YAML file or recipe: what its training sees, in place of the options below."
        ),
    ] = None,
    estimator: Annotated[str | None, typer.Option(help="farneback (unset), dis, raft_large or raft_small.")] = None,
    scale: Annotated[
        str | None, typer.Option(help="robust (unset), clip_max, diagonal, or a number of pixels above 0.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="raw (unset), or compensated: subtract the camera's motion.")
    ] = None,
    floor: Annotated[
        float | None, typer.Option(min=0, help="Motion below this many pixels a frame counts as none; unset, 0.5.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=2, help="Frames a clip; unset, all of them.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Take every n-th frame; unset, all.")] = None,
) -> None:
    """Compute motion heatmaps of clips: an overlay as a video and as a picture, and the moving share of each.

    [bold]motionfocal heatmap my_clips/[/bold] takes clips as they are; [bold]--config my.yaml[/bold] as its training
    sees them: its motion settings, at its frames, stride and size.
    A clip that cannot be read is listed at the end and the others go on; the exit code is then 1.
    """
    from motionfocal.cli.heatmap import look_by, look_of, run

    motion = {"estimator": estimator, "scale": scale, "camera": camera, "floor": floor}
    reading = {"frames": frames, "stride": stride}
    beside = [f"--{name}" for name, value in {**motion, **reading}.items() if value is not None]
    if config and beside:
        raise typer.BadParameter(f"{', '.join(beside)}: the config says it; leave it out, or --config")
    run(clips, out, look_by(config) if config else look_of(motion, frames, stride or 1))


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe, as in docs/recipes.md.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; one that was begun before goes on.")
    ] = None,
    overrides: Changes = None,
    show: Annotated[bool, typer.Option("--show", help="Print the resolved config and stop.")] = False,
) -> None:
    """Train a model. The run folder holds the resolved config, the figures, samples, checkpoints and the model.

    [bold]motionfocal train sprites -o runs/motif[/bold] trains on the synthetic world;
    [bold]motionfocal train wan22-ti2v-5b -o runs/mine -s data.videos=CLIPS[/bold] a LoRA on your clips, after
    [bold]motionfocal prepare[/bold] with the same config. Recipes: paper, wan22-ti2v-5b, wan22-i2v-a14b, wan21-i2v-14b,
    cogvideox-5b-i2v, cogvideox15-5b-i2v, ltx-video, hunyuanvideo15-i2v, clips, sprites.
    Interrupted at any moment, the same command goes on with the same losses, digit for digit. On several GPUs:
    [bold]accelerate launch -m motionfocal train ...[/bold], with --use_fsdp --fsdp_version 2 to shard the model.
    """
    from motionfocal.cli.train import run, show_config

    if show:
        show_config(config, overrides or [])
        return
    if out is None:
        raise typer.BadParameter("--out is needed, to train into (or --show)")
    run(config, out, overrides or [])


@app.command()
def prepare(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe, as for 'train'.")],
    overrides: Changes = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is, what would be made, and what training would need.")
    ] = False,
    shard: Shard = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Encode clips and texts and measure motion once, so that training only reads. Killed at any moment, it goes on.

    The cache (data.cache in the config) holds latents, text embeddings and heatmaps apart: another heatmap encodes no
    clip anew. A clip that cannot be used is listed at the end and the others go on; the exit code is then 1. On a Ray
    cluster all of that is done there, encoding by its GPUs if it has any; all nodes must have clips and cache at the
    same paths.
    """
    from motionfocal.cli.prepare import run

    run(config, overrides or [], dry_run, shard, engine, address)


@app.command()
def convert(
    kind: Annotated[str, typer.Argument(help="videocrafter2, videocrafter1 (I2V-512) or dynamicrafter (512).")],
    checkpoint: Annotated[Path, typer.Argument(help="The project's model.ckpt, or the same as safetensors.")],
    out: Annotated[Path, typer.Argument(help="A new folder, for model.weights of a config.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of a CLIP tokenizer; unset, open_clip_torch brings the vocabulary.")
    ] = None,
) -> None:
    """Convert a checkpoint of VideoCrafter or DynamiCrafter to diffusers' layout: [bold]model.weights=OUT[/bold].

    A tensor that is missing, left over or of another shape is an error; OUT appears only when all of it is written.
    """
    from motionfocal.cli.convert import run

    run(kind, checkpoint, out, tokenizer)


@app.command()
def animate(
    image: Annotated[
        Path | None, typer.Argument(help="The first frame; scaled and cropped to the model's size.")
    ] = None,
    text: Annotated[str | None, typer.Argument(help="What should happen.")] = None,
    model: Annotated[Path, typer.Option("--model", "-m", help="A run folder, or its model folder.")] = Path(
        "runs/motif"
    ),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The clip (default: IMAGE.mp4), or the gallery's folder.")
    ] = None,
    world: Annotated[
        bool, typer.Option("--world", help="Animate the held-out items of the model's own world.")
    ] = False,
    images: Annotated[int, typer.Option(min=1, help="With --world: held-out images.")] = 32,
    texts: Annotated[int, typer.Option(min=1, max=24, help="With --world: texts an image.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 50,
    guidance: Annotated[
        float | None,
        typer.Option(min=1, help="Classifier-free guidance, 1: without; unset, that of the model's validation."),
    ] = None,
    guidance_rescale: Annotated[
        float, typer.Option(min=0, max=1, help="Pull the spread of guided predictions back; DynamiCrafter ships 0.7.")
    ] = 0.0,
    eta: Annotated[float, typer.Option(min=0, max=1, help="0 samples by DDIM, 1 with fresh noise at each step.")] = 0.0,
    motion_score: Annotated[
        float | None, typer.Option(min=0, help="How much should move, mean pixels a frame (model.motion_score).")
    ] = None,
    motion_mask: Annotated[
        Path | None, typer.Option(help="An image, white where something may move (model.motion_mask).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the noise.")] = 0,
) -> None:
    """Animate an image by a text, or all held-out items of a world into a gallery that can be judged.

    A gallery that was begun before goes on: finished clips are kept, unless another setting or model made them.
    """
    from motionfocal.cli.animate import run_one, run_world

    asked = {
        "steps": steps, "guidance_scale": guidance, "guidance_rescale": guidance_rescale, "eta": eta,
        "motion_score": motion_score,
    }  # fmt: skip
    if world:
        if image or text or motion_mask:
            raise typer.BadParameter("--world brings its own images and texts; leave IMAGE, TEXT and --motion-mask out")
        run_world(model, out, images, texts, asked, seed)
        return
    if image is None or text is None:
        raise typer.BadParameter("IMAGE and TEXT are needed (or --world)")
    run_one(image, text, model, out, asked, motion_mask, seed)


@app.command()
def generate(
    model: Annotated[
        str,
        typer.Argument(help="A run, a converted folder, a pipeline (folder or owner/name), or a baseline's name."),
    ],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="ti2v-bench, animatebench, or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The gallery; one that was begun before goes on.")],
    name: Annotated[str | None, typer.Option(help="What the gallery calls the model; unset, its own name.")] = None,
    weights: Annotated[str | None, typer.Option(help="Folder of an in-process baseline's weights.")] = None,
    checkout: Annotated[Path | None, typer.Option(help="A baseline that is a program: your clone of it.")] = None,
    python: Annotated[Path | None, typer.Option(help="And the python of its environment.")] = None,
    lora: Annotated[Path | None, typer.Option(help="Adapters for a pipeline: a file, or what 'export' wrote.")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Height and width; unset, the model's.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames a clip; unset, the model's.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second; unset, the model's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps; unset, the model's.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="Guidance; unset, the model's.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Anything else, as in eta=1 or negative_prompt=blurry."),
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
    [bold]motionfocal baselines[/bold] lists nine. Killed at any moment, the same command goes on. An item that fails is
    listed at the end and the others go on; the exit code is then 1. More in docs/comparing.md.
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


@app.command()
def baselines(
    name: Annotated[str | None, typer.Argument(help="One of them; unset, all in a table.")] = None,
) -> None:
    """List the nine open models that the paper compares with: licence, size, command, what to install and watch."""
    from motionfocal.cli.baselines import run

    run(name)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or its model folder.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a trained model for diffusers: a LoRA that load_lora_weights takes, or a whole pipeline folder.

    The command prints the lines of Python that load it. OUT appears only when all of it is written.
    """
    from motionfocal.cli.export import run as run_export

    run_export(run, out)


@app.command()
def metrics(
    galleries: Annotated[list[Path], typer.Argument(help="Galleries on one benchmark, one of each model.")],
    benchmark: Annotated[
        str | None,
        typer.Option("--benchmark", "-b", help="A name or a folder; unset, what the galleries remember."),
    ] = None,
    metric_set: Annotated[
        str, typer.Option("--metrics", "-m", help="weights-free, siblings, vbench-i2v, animatebench or all.")
    ] = "weights-free",
    out: Annotated[Path, typer.Option("--out", "-o", help="Rows as JSON: model, id, image, metric, value.")] = Path(
        "results.json"
    ),
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Measure part I of N; then once without, to put them together.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that measure at once; unset or 0, this one.")
    ] = None,
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Measure clips: every clip is decoded once for all metrics, every value kept by content and never computed twice.

    A still video, one that only pans, and the clips with other texts are measured beside the models. Means come with
    intervals that draw whole pictures, differences with a paired test. A clip that cannot be measured is listed at the
    end and the others go on; the exit code is then 1. Killed at any moment, the same command goes on.
    """
    from motionfocal.cli.metrics import run

    run(galleries, benchmark, metric_set, out, shard=shard, engine=engine_of(engine, workers, address))


@app.command()
def fvd(
    galleries: Annotated[list[Path], typer.Argument(help="Galleries, one of each model.")],
    reference: Annotated[Path, typer.Option("--reference", "-r", help="A folder of videos to compare with.")],
    least: Annotated[
        int | None,
        typer.Option(min=2, help="Clips that each set must have; unset, 401: one more than I3D's 400 features."),
    ] = None,
) -> None:
    """Frechet video distance of galleries to a folder of videos, by I3D: a number about sets, without an interval."""
    from motionfocal.cli.metrics import run_distance

    run_distance(galleries, reference, least)


@app.command()
def judge(
    ours: Annotated[Path, typer.Argument(help="Gallery of the model in question.")],
    theirs: Annotated[Path, typer.Argument(help="Gallery of the model that it is compared with.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the comparison.")] = Path("runs/comparison"),
) -> None:
    """Have the world's oracle compare two galleries: TI2V score, reasons, and followed texts, with intervals."""
    from motionfocal.cli.judge import run

    run(ours, theirs, out)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="A folder that 'judge' or 'demo' wrote, or galleries.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Galleries: the page's folder. Else the page (default: report.html inside)."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark", "-b", help="Galleries: their benchmark, a folder or name; unset, as they remember."
        ),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Galleries: results.json of 'metrics', for values, tables and plots.")
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Galleries: also make motion overlays (a second or more a clip).")
    ] = False,
) -> None:
    """Make a page: of a comparison, one self-contained file; of galleries, a folder to browse, zip and move.

    [bold]motionfocal report runs/comparison[/bold] shows both videos in sync, reasons, tables, curves, settings.
    [bold]motionfocal report GALLERY GALLERY ... --benchmark DIR --out PAGE[/bold] shows all models side by side, with
    filters, sorting, and heatmaps on a key. A clip that cannot be read is listed at the end; the exit code is then 1.
    """
    from motionfocal.cli.report import run

    run(folders, out, benchmark, results, heatmaps)
