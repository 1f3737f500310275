"""``motionfocal animate``: one image from a text, or a world's benchmark into a gallery."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from motionfocal.cli.console import console, list_notes, progress_bar
from motionfocal.errors import CheckpointError
from motionfocal.generation.animators.checkpoint import model_folder
from motionfocal.generation.sampler import sample, sampling_of
from motionfocal.generation.world import animate_world, upscale_of
from motionfocal.models.build import best_device, load_card, load_model
from motionfocal.training.config import load_config
from motionfocal.training.run import benchmark_of
from motionfocal.video import read_image, write_clip


def run_one(
    image: Path, text: str, model: Path, out: Path | None, asked: Mapping[str, object], mask: Path | None, seed: int
) -> None:
    """Animate one image; ``asked`` are values of ``SamplingSettings``."""
    loaded = load_model(model_folder(model), best_device())
    sampling = sampling_of(loaded.card, asked)
    list_notes(loaded.card.model.notes_on([text]))
    shape = loaded.card.shape
    size = (shape.height, shape.width)
    picture = read_image(image, size=size)
    movable = None if mask is None else read_image(mask, size=size).mean(axis=2, dtype=np.float32)[None] / 255
    with progress_bar() as progress:
        task = progress.add_task("denoising", total=sampling.steps, note="")
        step = partial(progress.advance, task)
        clip = sample(loaded, picture[None], [text], [seed], sampling, after_step=step, motion_mask=movable)[0]
    path = out or Path(f"{image.stem}.mp4")
    write_clip(path, clip, shape.fps, upscale=upscale_of(shape.height))
    console.print(f"{path}: {shape.frames} frames of {shape.width}x{shape.height} at {shape.fps:g} fps")


def run_world(model: Path, out: Path | None, images: int, texts: int, asked: Mapping[str, object], seed: int) -> None:
    """Animate the held-out items of the world that a run was trained on; ``asked`` as for ``run_one``."""
    if not (model / "config.yaml").is_file():
        raise CheckpointError(f"{model}: not a run folder; --world needs the run, to know its world")
    benchmark = benchmark_of(load_config(model / "config.yaml"), images, texts)
    folder = out or model / "gallery"
    sampling = sampling_of(load_card(model_folder(model)), asked)
    with progress_bar() as progress:
        task = progress.add_task("animating", total=images * texts, note="")
        animate_world(model, folder, benchmark, sampling, seed, partial(progress.advance, task))
    console.print(f"gallery in {folder}")
