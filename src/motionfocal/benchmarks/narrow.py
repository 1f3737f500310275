"""A part of a benchmark, by what items are."""

from collections.abc import Iterable, Sequence

from motionfocal.benchmarks.benchmark import Benchmark, BenchmarkItem
from motionfocal.errors import ConfigError, UnknownNameError


def narrowed(
    benchmark: Benchmark,
    *,
    ids: Sequence[str] = (),
    scenarios: Sequence[str] = (),
    tags: Sequence[str] = (),
    images: Sequence[str] = (),
) -> Benchmark:
    """The items that have one of the ids, one of the scenarios, one of the tags and one of the images.

    A filter that is empty lets all pass. Names are exact.

    Raises:
        UnknownNameError: a name does not occur in the benchmark; the text lists those that do.
        ConfigError: every name occurs, and no item has them together.
    """
    _require_known(f"item of {benchmark.name}", ids, (item.id for item in benchmark.items))
    _require_known(f"scenario of {benchmark.name}", scenarios, (item.scenario for item in benchmark.items))
    _require_known(f"tag of {benchmark.name}", tags, (tag for item in benchmark.items for tag in item.tags))
    _require_known(f"image of {benchmark.name}", images, (item.image for item in benchmark.items))

    def wanted(item: BenchmarkItem) -> bool:
        return (
            (not ids or item.id in ids)
            and (not scenarios or item.scenario in scenarios)
            and (not tags or bool(item.tags & set(tags)))
            and (not images or item.image in images)
        )

    part = benchmark.select(wanted)
    if not part.items:
        raise ConfigError(f"{benchmark.name}: no item passes all of these filters together; leave one out")
    return part


def _require_known(kind: str, names: Sequence[str], known: Iterable[str]) -> None:
    there = set(known) - {""}
    for name in names:
        if name not in there:
            raise UnknownNameError(kind, name, list(there))
