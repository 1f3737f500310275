"""From what a command was asked for to an engine."""

from typing import Literal

from motionfocal.engine.local import Local
from motionfocal.engine.ray_cluster import RayCluster
from motionfocal.engine.work import Engine
from motionfocal.errors import ConfigError

EngineName = Literal["local", "ray"]


def engine_of(name: EngineName, workers: int | None, address: str | None) -> Engine:
    """The engine that a command was asked for. Raises what ``require_fitting`` raises."""
    require_fitting(name, workers, address)
    return RayCluster(address) if name == "ray" else Local(workers or 0)


def require_fitting(name: EngineName, workers: int | None, address: str | None) -> None:
    """Raise ConfigError when a number of workers is given to Ray, or an address to this machine."""
    if name == "ray" and workers is not None:
        raise ConfigError("the engine ray has as many workers as its cluster has cores; leave their number out")
    if name == "local" and address is not None:
        raise ConfigError(f"--address {address}: is the address of a Ray cluster; add --engine ray")
