"""A gallery: the clips of one model on one benchmark, with one line about each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from motionfocal.errors import GalleryError
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl

INDEX = "gallery.jsonl"


@dataclass(frozen=True)
class GalleryRow:
    """One clip. ``file`` is relative to the gallery; ``native_size`` is the model's (height, width) in pixels.

    ``steps`` and ``seed`` are None where nobody knows them, as of clips that were made elsewhere; ``settings`` is a
    hash of all that decided the clip besides its item, "" where unknown. ``content`` is the SHA-256 of the file, and
    ``salt`` went into its name where names must not tell the model; ``picture`` is the SHA-256 of the picture that was
    animated. All three are "" where nobody wrote them down.
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
    content: str = ""
    salt: str = ""
    picture: str = ""


_ROW = TypeAdapter(GalleryRow)


class Gallery:
    """A folder of clips of one model and its ``gallery.jsonl``."""

    def __init__(self, folder: Path, rows: Sequence[GalleryRow]) -> None:
        self.folder, self._rows = folder, {row.id: row for row in rows}

    @classmethod
    def open(cls, folder: Path) -> "Gallery":
        """Read a gallery, of several machines' lists all together; a last line that was never finished is dropped.

        Raises:
            GalleryError: there is no gallery, it is empty, or a line is damaged.
        """
        rows: dict[str, GalleryRow] = {}
        for row in (row for path in index_files(folder) for row in read_rows(path)):
            rows.setdefault(row.id, row)
        gallery = cls(folder, list(rows.values()))
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


def index_files(folder: Path) -> list[Path]:
    """The lists of a gallery: that of the whole, if it is there, and then those of shards (see ``generate``)."""
    shards = sorted(folder.glob(f"{Path(INDEX).stem}.*-of-*.jsonl"))
    return [path for path in (folder / INDEX, *shards) if path.is_file()]


def read_rows(path: Path) -> list[GalleryRow]:
    """The rows of an index, none if there is no file. Raises GalleryError for a row of another kind."""
    try:
        return [_ROW.validate_python(row) for row in read_jsonl(path)]
    except ValidationError as error:
        raise GalleryError(f"{path}: not the index of a gallery: {error}") from error


def write_row(folder: Path, rows: dict[str, GalleryRow], row: GalleryRow) -> None:
    """Add a row to ``rows`` and to the gallery's index; one that takes another's place goes where that was."""
    replaced = row.id in rows
    rows[row.id] = row
    if replaced:
        rewrite_jsonl(folder / INDEX, map(asdict, rows.values()))
    else:
        append_jsonl(folder / INDEX, asdict(row))
