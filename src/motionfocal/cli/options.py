"""Options that several verbs share; light, as ``motionfocal --help`` reads them."""

from typing import Annotated

import typer

from motionfocal.engine import EngineName
from motionfocal.errors import ConfigError

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Change a key of the config, as --set loss.strength=2; may be repeated.",
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Sampling steps; default: 50 for a run, else the model's own.")]
Guidance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Classifier-free guidance, 1: without; default: that of its validation for a run, else the model's own.",
    ),
]
Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="Do part I of N: one on each machine, into a shared folder.")
]
Engine = Annotated[EngineName, typer.Option(metavar="local|ray", help="This machine, or workers of a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: host:port, ray://host:port, or auto; default: $RAY_ADDRESS, or else one is started on"
        " this machine."
    ),
]
Remembered = Annotated[
    str | None,
    typer.Option("--benchmark", "-b", help="A name or a folder; default: what the galleries remember."),
]


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` as (height, width). Raises ConfigError."""
    height, by, width = text.lower().partition("x")
    if not by or not height.isdecimal() or not width.isdecimal() or min(int(height), int(width)) < 1:
        raise ConfigError(f"--size {text}: expected HEIGHTxWIDTH in pixels, such as 320x512")
    return int(height), int(width)
