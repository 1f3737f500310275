"""Options that several verbs share; light, as ``motionfocal --help`` reads them."""

from typing import Annotated

import typer

from motionfocal.engine import EngineName

Engine = Annotated[EngineName, typer.Option(help="Processes of this machine, or workers of a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: host:port, ray://host:port, or auto; unset, $RAY_ADDRESS, or else one is started on"
        " this machine."
    ),
]
