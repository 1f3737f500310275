"""The noun of the room: a fixed list of questions, each an image and a text."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from motionfocal.errors import UnknownNameError
from motionfocal.video import Frames, content_of, read_image


@dataclass(frozen=True)
class BenchmarkItem:
    """One question to a model: animate a picture by a text.

    ``id`` is unique in a benchmark. ``image`` names the picture: items that share it are siblings. ``file`` is where
    the picture is. ``tags`` say what makes the item hard, such as "several objects" or "new object".
    """

    id: str
    image: str
    file: Path
    text: str
    scenario: str = ""
    tags: frozenset[str] = frozenset()

    def picture(self, size: tuple[int, int] | None = None) -> Frames:
        """The picture, uint8 ``[H,W,3]``, scaled and cropped to ``size = (H, W)`` if given. Raises MediaError."""
        return read_image(self.file, size=size)

    @cached_property
    def content(self) -> str:
        """SHA-256 of the picture. Raises MediaError when it cannot be read."""
        return content_of(self.file)


@dataclass(frozen=True)
class Benchmark:
    """Items in a fixed order, their ids all different."""

    name: str
    items: tuple[BenchmarkItem, ...]

    def item(self, id: str) -> BenchmarkItem:  # noqa: A002 - the field's name
        """The item of an id. Raises UnknownNameError."""
        if id not in self._by_id:
            raise UnknownNameError(f"item of {self.name}", id, list(self._by_id))
        return self._by_id[id]

    def siblings(self, item: BenchmarkItem) -> tuple[BenchmarkItem, ...]:
        """All items of the item's picture, itself among them, in the benchmark's order."""
        return self._by_image[item.image]

    def select(self, wanted: Callable[[BenchmarkItem], bool]) -> "Benchmark":
        """The items that are wanted, as a benchmark of the same name."""
        return replace(self, items=tuple(filter(wanted, self.items)))

    @cached_property
    def _by_id(self) -> dict[str, BenchmarkItem]:
        return {item.id: item for item in self.items}

    @cached_property
    def _by_image(self) -> dict[str, tuple[BenchmarkItem, ...]]:
        return _grouped(self.items)


def _grouped(items: Iterable[BenchmarkItem]) -> dict[str, tuple[BenchmarkItem, ...]]:
    groups: dict[str, tuple[BenchmarkItem, ...]] = {}
    for item in items:
        groups[item.image] = (*groups.get(item.image, ()), item)
    return groups
