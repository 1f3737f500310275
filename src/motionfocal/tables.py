"""Tables that people write: CSV or JSONL, row by row, and every fault named by its row."""

import csv
from collections.abc import Iterator
from pathlib import Path

from motionfocal.errors import ManifestError
from motionfocal.reading import parse_json, read_text

Row = dict[str, object]

TEXT_COLUMNS = ("text", "prompt", "caption")


def read_table(table: Path) -> Iterator[tuple[int, Row]]:
    """Rows of a ``.csv`` or ``.jsonl`` with their numbers, the first data row being 1.

    Raises:
        ManifestError: the file is not UTF-8, not CSV, not JSONL, or a row has more fields than there are columns.
    """
    lines = read_text(table, ManifestError).split("\n")
    if table.suffix == ".jsonl":
        yield from (
            (number, as_object(line, f"{table}, row {number}")) for number, line in enumerate(lines, 1) if line.strip()
        )
        return
    try:
        for number, row in enumerate(csv.DictReader(f"{line}\n" for line in lines), 1):
            if None in row:
                raise ManifestError(f"{table}, row {number}: more fields than columns; quote texts with commas")
            yield number, dict(row)
    except csv.Error as error:
        raise ManifestError(f"{table}: not CSV ({error})") from error


def as_object(text: str, where: str) -> Row:
    """A JSON object; ManifestError, which says ``where``, for anything else."""
    row = parse_json(text, where, ManifestError)
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: expected an object, found {type(row).__name__}")
    return row


def text_of(row: Row, where: str) -> str:
    """The row's text; ManifestError when it has none."""
    text = first_of(row, TEXT_COLUMNS, where)
    if not text:
        raise ManifestError(f"{where}: no text; expected a column {' or '.join(TEXT_COLUMNS)}")
    return text


def first_of(row: Row, names: tuple[str, ...], where: str) -> str:
    """The first of the columns that has something in it, else "". ManifestError for what is neither text nor number."""
    for name in names:
        value = row.get(name)
        if value is not None and not isinstance(value, str | int):
            raise ManifestError(f"{where}: {name} is not a text but {value!r}")
        if value is not None and str(value).strip():
            return str(value).strip()
    return ""
