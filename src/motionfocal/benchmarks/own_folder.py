"""A benchmark of your own: a folder of pictures and one table of questions."""

from collections.abc import Iterator
from pathlib import Path

from motionfocal.benchmarks.benchmark import Benchmark, BenchmarkItem
from motionfocal.benchmarks.rows import IMAGE_COLUMNS, find_picture, item_id, require_usable_ids
from motionfocal.errors import ManifestError
from motionfocal.tables import first_of, read_table, text_of

TABLES = tuple(name + ending for name in ("prompts", "prompt", "metadata") for ending in (".csv", ".jsonl"))


def load_folder(folder: Path) -> Benchmark:
    """The questions of a folder's table: ``prompts``, ``prompt`` or ``metadata``, as ``.csv`` or ``.jsonl``.

    Columns: ``image`` (or ``file_name``), a path from the folder, and ``prompt`` (or ``text``, ``caption``); if you
    like ``id``, ``scenario``, and ``tags`` with ``;`` between them. Others are left alone. An id that is not given is
    ``<picture>_<text>``, see ``item_id``. The benchmark has the folder's name.

    Raises:
        ManifestError: there is no table or more than one, a picture is missing, or a row is odd; the text names it.
    """
    table = _table(folder)
    items = require_usable_ids(_items(table, folder))
    if not items:
        raise ManifestError(f"{table}: has no row")
    return Benchmark(folder.resolve().name, items)


def _table(folder: Path) -> Path:
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder")
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(found) > 1:
        raise ManifestError(f"{folder}: several tables ({', '.join(path.name for path in found)}); keep one")
    if not found:
        raise ManifestError(f"{folder}: no benchmark here; expected a table {', '.join(TABLES)}")
    return found[0]


def _items(table: Path, folder: Path) -> Iterator[tuple[str, BenchmarkItem]]:
    for number, row in read_table(table):
        where = f"{table}, row {number}"
        name, text = first_of(row, IMAGE_COLUMNS, where), text_of(row, where)
        if not name:
            raise ManifestError(f"{where}: names no image; expected a column {' or '.join(IMAGE_COLUMNS)}")
        file = find_picture(folder, name, where)
        tags = frozenset(tag.strip() for tag in first_of(row, ("tags",), where).split(";") if tag.strip())
        yield (
            where,
            BenchmarkItem(
                id=first_of(row, ("id",), where) or item_id(file.stem, text),
                image=file.relative_to(folder).as_posix(),
                file=file,
                text=text,
                scenario=first_of(row, ("scenario",), where),
                tags=tags,
            ),
        )
