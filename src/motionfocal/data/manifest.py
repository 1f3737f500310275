"""Tables that say which text belongs to which clip."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from motionfocal.errors import ManifestError

TEXT_COLUMNS = ("text", "prompt", "caption")
FILE_COLUMNS = ("file_name", "video", "file")
VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif", ".m4v", ".ts")


@dataclass(frozen=True)
class Caption:
    """One clip with its text."""

    id: str
    video: Path
    text: str


def read_captions(table: Path, videos: Path) -> list[Caption]:
    """Read a CSV or JSONL table and find each row's clip below the folder ``videos``.

    A row has its text in ``text``, ``prompt`` or ``caption``, and names its clip in ``file_name``, ``video`` or
    ``file`` (a path below the folder), or by ``id``: then the clips are ``<id>.mp4`` or, several to a row,
    ``<id>_<seed>.mp4``. Rows named by id may lack a clip (a benchmark's table is longer than one model's folder);
    a file that a row names must exist.

    Raises:
        ManifestError: a column is missing, a row has no text, a named file does not exist, or nothing was found.
    """
    if not videos.is_dir():
        raise ManifestError(f"{videos}: no such folder of clips")
    by_stem = {path.stem: path for path in sorted(videos.iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES}
    found: list[Caption] = []
    for number, row in _rows(table):
        text = _first(row, TEXT_COLUMNS)
        if not text:
            raise ManifestError(f"{table}, row {number}: no text; expected a column {' or '.join(TEXT_COLUMNS)}")
        found += [Caption(path.stem, path, text) for path in _clips(row, videos, by_stem, f"{table}, row {number}")]
    if not found:
        raise ManifestError(f"{table}: none of its rows has a clip in {videos}; clips are found by file name or by id")
    return found


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their numbers in the file, the first data row being 1."""
    if not table.is_file():
        raise ManifestError(f"{table}: no such table of texts")
    with table.open(newline="", encoding="utf-8") as file:
        if table.suffix == ".jsonl":
            yield from ((number, json.loads(line)) for number, line in enumerate(file, 1) if line.strip())
        else:
            yield from enumerate(csv.DictReader(file), 1)


def _first(row: dict[str, str], names: tuple[str, ...]) -> str:
    return next((str(row[name]) for name in names if row.get(name)), "")


def _clips(row: dict[str, str], videos: Path, by_stem: dict[str, Path], where: str) -> list[Path]:
    """The clips of one row."""
    name = _first(row, FILE_COLUMNS)
    if name:
        if not (videos / name).is_file():
            raise ManifestError(f"{where}: no clip {name} in {videos}")
        return [videos / name]
    item = row.get("id", "")
    if not item:
        raise ManifestError(f"{where}: names no clip; expected a column {', '.join(FILE_COLUMNS)} or id")
    return [path for stem, path in by_stem.items() if stem == item or _is_seed_of(stem, item)]


def _is_seed_of(stem: str, item: str) -> bool:
    """Whether ``stem`` is ``<item>_<seed>``."""
    return stem.startswith(f"{item}_") and stem[len(item) + 1 :].isdigit()
