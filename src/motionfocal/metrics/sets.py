"""Sets of metrics by name."""

from collections.abc import Sequence

from motionfocal.errors import UnknownNameError
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.origin import has_origin, load_origin
from motionfocal.metrics.dynamics import FlowDynamics
from motionfocal.metrics.fidelity import FirstFrameFidelity
from motionfocal.metrics.flickering import TemporalFlickering
from motionfocal.metrics.metric import Metric
from motionfocal.metrics.objects import ObjectMotion

SETS = ("weights-free", "siblings", "vbench-i2v", "animatebench", "all")


def weights_free() -> list[Metric]:
    """What needs no weights and no GPU."""
    return [TemporalFlickering(), FirstFrameFidelity(), FlowDynamics(), ObjectMotion()]


def metrics_of(name: str, galleries: Sequence[Gallery]) -> list[Metric]:
    """The metrics of a set, those with networks by the weights of this machine; none is loaded yet.

    Of galleries of a world, siblings are told apart by its oracle, which needs no weights.

    Raises:
        UnknownNameError: there is no such set.
    """
    if name not in SETS:
        raise UnknownNameError("set of metrics", name, list(SETS))
    found: dict[str, Metric] = {}
    for part in SETS[:-1] if name == "all" else (name,):
        found |= {metric.name: metric for metric in _part(part, galleries)}
    return list(found.values())


def _part(name: str, galleries: Sequence[Gallery]) -> list[Metric]:
    of_world = has_origin(galleries[0].folder)
    if name == "weights-free":
        return weights_free() + (_siblings(galleries[0]) if of_world else [])
    if name == "siblings":
        return _siblings(galleries[0])
    if name == "vbench-i2v":
        from motionfocal.metrics.vbench import vbench_i2v

        return vbench_i2v()
    from motionfocal.metrics.animatebench import animatebench

    return animatebench()


def _siblings(gallery: Gallery) -> list[Metric]:
    from motionfocal.metrics.oracle import OracleScorer
    from motionfocal.metrics.scorers import ClipScorer
    from motionfocal.metrics.siblings import SiblingAccuracy

    if has_origin(gallery.folder):
        return [SiblingAccuracy(OracleScorer(load_origin(gallery.folder).benchmark))]
    return [SiblingAccuracy(ClipScorer())]
