"""The verbs that train a model and use it; light, as ``motionfocal --help`` reads them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from motionfocal.cli.options import Address, Changes, Engine, Guidance, Shard, Steps


def train(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a recipe, as in docs/recipes.md.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Run folder, required without --show; one that was begun before is resumed."),
    ] = None,
    overrides: Changes = None,
    show: Annotated[bool, typer.Option("--show", help="Print the resolved config and stop.")] = False,
) -> None:
    """Train a model. The run folder holds the resolved config, the figures, samples, checkpoints and the model.

    [bold]motionfocal train sprites -o runs/motif[/bold] trains on the synthetic world;
    [bold]motionfocal train wan22-ti2v-5b -o runs/mine -s data.videos=CLIPS[/bold] a LoRA on your clips, after
    [bold]motionfocal prepare[/bold] with the same config. Recipes: paper, wan22-ti2v-5b, wan22-i2v-a14b, wan21-i2v-14b,
    cogvideox-5b-i2v, cogvideox15-5b-i2v, ltx-video, hunyuanvideo15-i2v, clips, sprites.
    Interrupted at any moment, the same command resumes with the same clips, timesteps and noise. On several GPUs:
    [bold]accelerate launch -m motionfocal train ...[/bold], with --use_fsdp --fsdp_version 2 to shard the model.
    """
    from motionfocal.cli.train import run, show_config

    if show:
        show_config(config, overrides or [])
        return
    if out is None:
        raise typer.BadParameter("--out is needed, to train into (or --show)")
    run(config, out, overrides or [])


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
    """Encode clips and texts and measure motion once, so that training only reads. Killed at any moment, it resumes.

    The cache (data.cache in the config) holds latents, text embeddings and heatmaps apart: another heatmap encodes no
    clip anew. A clip that cannot be used is listed at the end, the rest is processed; the exit code is then 1. On a Ray
    cluster all of that is done there, encoding by its GPUs if it has any; all nodes must have clips and cache at the
    same paths.
    """
    from motionfocal.cli.prepare import run

    run(config, overrides or [], dry_run, shard, engine, address)


def convert(
    kind: Annotated[
        Literal["videocrafter2", "videocrafter1", "dynamicrafter"],
        typer.Argument(help="videocrafter2, videocrafter1 (I2V-512) or dynamicrafter (512)."),
    ],
    checkpoint: Annotated[Path, typer.Argument(help="The project's model.ckpt, or the same as safetensors.")],
    out: Annotated[Path, typer.Argument(help="A new folder, for model.weights of a config.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of a CLIP tokenizer; default: the vocabulary that open_clip_torch brings."),
    ] = None,
) -> None:
    """Convert a checkpoint of VideoCrafter or DynamiCrafter to diffusers' layout: [bold]model.weights=OUT[/bold].

    A tensor that is missing, left over or of another shape is an error; OUT appears only when all of it is written.
    """
    from motionfocal.cli.convert import run

    run(kind, checkpoint, out, tokenizer)


def animate(
    image: Annotated[
        Path | None, typer.Argument(help="The first frame; scaled and cropped to the model's size.")
    ] = None,
    text: Annotated[str | None, typer.Argument(help="What should happen.")] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="A run folder, as 'train' makes it, or its model folder; required."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The clip; default: IMAGE.mp4. With --world: the gallery; default: gallery/ in the run."
        ),
    ] = None,
    world: Annotated[
        bool, typer.Option("--world", help="Animate the held-out items of the model's own world.")
    ] = False,
    images: Annotated[int | None, typer.Option(min=1, help="With --world: held-out images; default: 32.")] = None,
    texts: Annotated[int | None, typer.Option(min=1, max=24, help="With --world: texts per image; default: 4.")] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    guidance_rescale: Annotated[
        float, typer.Option(min=0, max=1, help="Pull the spread of guided predictions back; DynamiCrafter ships 0.7.")
    ] = 0.0,
    eta: Annotated[float, typer.Option(min=0, max=1, help="0 samples by DDIM, 1 with fresh noise at each step.")] = 0.0,
    motion_score: Annotated[
        float | None, typer.Option(min=0, help="How much should move, mean pixels per frame (model.motion_score).")
    ] = None,
    motion_mask: Annotated[
        Path | None, typer.Option(help="An image, white where something may move (model.motion_mask).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the noise.")] = 0,
) -> None:
    """Animate an image from a text, or all held-out items of a world into a gallery that can be judged.

    A gallery that was begun before is resumed: finished clips are kept, unless another setting or model made them.
    """
    from motionfocal.cli.animate import run_one, run_world

    asked = {
        "steps": steps, "guidance_scale": guidance, "guidance_rescale": guidance_rescale, "eta": eta,
        "motion_score": motion_score,
    }  # fmt: skip
    if world:
        if image or text or motion_mask:
            raise typer.BadParameter("--world brings its own images and texts; leave IMAGE, TEXT and --motion-mask out")
        run_world(_named(model), out, images or 32, texts or 4, asked, seed)
        return
    if images or texts:
        raise typer.BadParameter("--images and --texts say how much of a world is asked: they need --world")
    if image is None or text is None:
        raise typer.BadParameter("IMAGE and TEXT are needed (or --world)")
    run_one(image, text, _named(model), out, asked, motion_mask, seed)


def _named(model: Path | None) -> Path:
    """Which model animates. Raises BadParameter when nobody said."""
    if model is None:
        raise typer.BadParameter("--model is needed: the folder of a run, as in --model runs/mine; 'train' makes one")
    return model


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or its model folder.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a trained model for diffusers: a LoRA that load_lora_weights takes, or a whole pipeline folder.

    The command prints the lines of Python that load it. OUT appears only when all of it is written.
    """
    from motionfocal.cli.export import run as run_export

    run_export(run, out)
