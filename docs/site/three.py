"""Draw docs/three.webp: held-out texts of the sprites world, each animated by three models that differ in their loss.

    python docs/site/three.py plain=RUN MotiF=RUN ours=RUN

RUN are folders of ``motionfocal train`` on the same world. The first text of each of the first scenes is shown,
whatever became of it; a green frame says that the oracle found the text followed.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from motionfocal.generation.generate import item_seed
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.models.build import load_model
from motionfocal.training.config import load_config
from motionfocal.worlds import SpritesWorld
from motionfocal.worlds.benchmark import SpritesBenchmark
from motionfocal.worlds.oracle import SpritesOracle

SCENES, SEED, SAMPLING = 6, 0, SamplingSettings(steps=16, guidance_scale=2.0)
TILE, GAP, LEFT, TOP = 112, 10, 58, 62
FOLLOWED, NOT, INK, PAPER = (46, 140, 80), (205, 208, 214), (24, 28, 34), (255, 255, 255)
MOMENTS = [900, 220, 220, 220, 220, 1100]
"""Milliseconds of each frame: the first is the picture that was given, and the last stays for a while."""


def answered(run: Path) -> list[tuple[str, np.ndarray, bool]]:
    """Text, clip uint8 [T,H,W,3], and whether it was followed, of the first text of each scene."""
    world = load_config(run / "config.yaml").data.world
    asked = SpritesBenchmark(world=world, images=SCENES)
    drawn, items = SpritesWorld(world), asked.items()[:: asked.texts]
    pictures = np.stack([drawn.first_frame(item.scene) for item in items])
    seeds, texts = [item_seed(SEED, item.id) for item in items], [item.text for item in items]
    clips = sample(load_model(run / "model"), pictures, texts, seeds, SAMPLING)
    oracle = SpritesOracle(drawn)
    return [(item.text, clip, oracle.measure(clip, item).followed) for item, clip in zip(items, clips, strict=True)]


def wrapped(text: str, font: ImageFont.ImageFont, width: int) -> str:
    """The text in lines of at most so many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width else [*lines, word]
    return "\n".join(lines)


def frame(moment: int, rows: dict[str, list[tuple[str, np.ndarray, bool]]]) -> Image.Image:
    """One frame of the picture: a row for each model, a column for each text."""
    step, font = TILE + GAP, ImageFont.load_default(13)
    page = Image.new("RGB", (LEFT + step * SCENES, TOP + step * len(rows)), PAPER)
    draw = ImageDraw.Draw(page)
    for column, (text, _, _) in enumerate(next(iter(rows.values()))):
        draw.text((LEFT + column * step, 6), wrapped(text, font, TILE), INK, font, spacing=2)
    for row, (name, answers) in enumerate(rows.items()):
        top = TOP + row * step
        draw.text((6, top + TILE / 2 - 8), name, INK, font)
        for column, (_, clip, followed) in enumerate(answers):
            left = LEFT + column * step
            tile = Image.fromarray(clip[moment]).resize((TILE, TILE), Image.Resampling.NEAREST)
            page.paste(tile, (left, top))
            edge = (left - 3, top - 3, left + TILE + 2, top + TILE + 2)
            draw.rectangle(edge, outline=FOLLOWED if followed else NOT, width=3)
    return page


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs=3, metavar="NAME=RUN")
    torch.set_num_threads(1)
    named = (run.partition("=") for run in parser.parse_args().runs)
    rows = {name: answered(Path(run)) for name, _, run in named}
    frames = [frame(moment, rows) for moment in range(len(MOMENTS))]
    out = Path(__file__).parents[1] / "three.webp"
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=MOMENTS, loop=0, lossless=True, quality=100)


if __name__ == "__main__":
    main()
