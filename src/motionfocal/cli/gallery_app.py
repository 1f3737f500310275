"""The verbs of ``motionfocal gallery``; light, as ``motionfocal --help`` reads them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from motionfocal.cli.options import Remembered

gallery_app = typer.Typer(no_args_is_help=True, help="Galleries: bring in videos made elsewhere, check, normalize.")

Benchmark = Annotated[
    str, typer.Option("--benchmark", "-b", help="ti2v-bench, animatebench, or a folder; see docs/benchmarks.md.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="The gallery is on a part of the benchmark: count what is missing.")
]


class Time(StrEnum):
    """How ``normalize`` takes frames out of a clip."""

    whole = "whole"
    real = "real"


@gallery_app.command("import")
def import_(
    videos: Annotated[
        Path, typer.Argument(help="A model's folder of videos: ID.mp4 or ID_SEED.mp4, or other endings.")
    ],
    benchmark: Benchmark,
    name: Annotated[str, typer.Option(help="What the gallery calls the model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The gallery; one that was begun before is resumed.")],
    seed: Annotated[int | None, typer.Option(min=0, help="Of several videos of an item, take this seed's.")] = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Make a gallery of any model's videos, matched to a benchmark's items by their names.

    Everything good is imported. Items without a video, videos without an item, several videos of one item and videos
    that cannot be read are listed at the end, and the exit code is then 1.
    """
    from motionfocal.cli.gallery import run_import

    run_import(videos, benchmark, name, out, seed, allow_missing=allow_missing)


@gallery_app.command()
def check(
    galleries: Annotated[list[Path], typer.Argument(help="Galleries that are to be compared.")],
    benchmark: Remembered = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Check that galleries are whole and alike: names, files, texts, sizes, lengths and rates.

    Everything that is wrong is listed, and the exit code is then 1.
    """
    from motionfocal.cli.gallery import run_check

    run_check(galleries, benchmark, allow_missing=allow_missing)


@gallery_app.command()
def normalize(
    gallery: Annotated[Path, typer.Argument(help="A gallery.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new gallery; one that was begun before is resumed.")],
    size: Annotated[
        str, typer.Option(metavar="HxW", help="Height and width: cover, then keep the centre.")
    ] = "320x320",
    frames: Annotated[int, typer.Option(min=2, help="Frames of every clip.")] = 16,
    fps: Annotated[float, typer.Option(help="Rate at which they are shown.")] = 8.0,
    time: Annotated[
        Time, typer.Option(help="whole: frames spread over the whole clip; real: its beginning, at its own speed.")
    ] = Time.whole,
) -> None:
    """Bring all clips to one size, length and rate, without anything that tells which model made them.

    The defaults are the form of the authors' published clips. A clip that is too short is listed at the end, as is one
    that cannot be read; the rest is processed, and the exit code is then 1.
    """
    from motionfocal.cli.gallery import run_normalize

    run_normalize(gallery, out, size, frames, fps, time.value)
