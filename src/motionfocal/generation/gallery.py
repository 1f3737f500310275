"""A gallery: the clips of one model on one benchmark, with one line about each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from motionfocal.errors import GalleryError
from motionfocal.jsonl import read_jsonl

INDEX = "gallery.jsonl"


@dataclass(frozen=True)
class GalleryRow:
    """One clip. ``file`` is relative to the gallery; ``native_size`` is the model's (height, width) in pixels.

    ``steps`` and ``seed`` are None where nobody knows them, as of clips that were made elsewhere; ``settings`` is a
    hash of all that decided the clip besides its item, "" where unknown.
    """

    id: str
    image: str
    text: str
    file: str
    model: str
    native_size: tuple[int, int]
    frames: int
    fps: float
    steps: int | None = None
    seed: int | None = None
    settings: str = ""


_ROW = TypeAdapter(GalleryRow)


class Gallery:
    """A folder of clips of one model and its ``gallery.jsonl``."""

    def __init__(self, folder: Path, rows: Sequence[GalleryRow]) -> None:
        self.folder, self._rows = folder, {row.id: row for row in rows}

    @classmethod
    def open(cls, folder: Path) -> "Gallery":
        """Read a gallery; a last line that a killed process left half written is dropped.

        Raises:
            GalleryError: there is no gallery, it is empty, or a line is damaged.
        """
        gallery = cls(folder, read_rows(folder / INDEX))
        if not gallery._rows:
            raise GalleryError(f"{folder}: no gallery here; expected {INDEX} with at least one clip")
        return gallery

    @property
    def model(self) -> str:
        """The model whose clips these are."""
        return next(iter(self._rows.values())).model

    def rows(self) -> list[GalleryRow]:
        """All clips in the order in which they were made."""
        return list(self._rows.values())

    def row(self, item: str) -> GalleryRow:
        """The clip of an item; GalleryError when there is none."""
        if item not in self._rows:
            raise GalleryError(f"{self.folder}: no clip for item {item}")
        return self._rows[item]

    def path(self, item: str) -> Path:
        """The file of an item's clip."""
        return self.folder / self.row(item).file


def read_rows(path: Path) -> list[GalleryRow]:
    """The rows of an index, none if there is no file. Raises GalleryError for a row of another kind."""
    try:
        return [_ROW.validate_python(row) for row in read_jsonl(path)]
    except ValidationError as error:
        raise GalleryError(f"{path}: not the index of a gallery: {error}") from error
