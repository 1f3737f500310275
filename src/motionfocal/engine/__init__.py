"""Where work is done: in this process, in processes beside it, or on a Ray cluster. The results are the same."""

from motionfocal.engine.choice import EngineName, engine_of, require_fitting
from motionfocal.engine.local import HERE, Local
from motionfocal.engine.ray_cluster import LIVES, RayCluster, connect, last_line
from motionfocal.engine.work import Engine, Lost, Raised, Stages, as_it_is, kept, raised

__all__ = [
    "HERE", "LIVES", "Engine", "EngineName", "Local", "Lost", "Raised", "RayCluster", "Stages", "as_it_is", "connect",
    "engine_of", "kept", "last_line", "raised", "require_fitting",
]  # fmt: skip
