"""Options that several verbs share; light, as ``motionfocal --help`` reads them."""

from typing import Annotated

import typer

from motionfocal.engine import EngineName
from motionfocal.errors import ConfigError

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a key of the config, as in loss.strength=2."),
]
Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="Do part I of N: one on each machine, into a shared folder.")
]
Engine = Annotated[EngineName, typer.Option(help="Processes of this machine, or workers of a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: host:port, ray://host:port, or auto; unset, $RAY_ADDRESS, or else one is started on"
        " this machine."
    ),
]


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` as (height, width). Raises ConfigError."""
    height, by, width = text.lower().partition("x")
    if not by or not height.isdecimal() or not width.isdecimal() or min(int(height), int(width)) < 1:
        raise ConfigError(f"--size {text}: expected HEIGHTxWIDTH in pixels, such as 320x512")
    return int(height), int(width)
