"""Lists that survive ``kill -9``: one JSON object a line, each on disk before it counts.

JSON knows no NaN and no infinity: where a row has one, the line has null.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from motionfocal.errors import DamagedFileError

Row = dict[str, object]


def without_nan(row: Mapping[str, object]) -> Row:
    """The same with null for each number that JSON does not have, NaN and the infinities, however deep it lies."""
    return {key: _finite(value) for key, value in row.items()}


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return without_nan(value)
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_jsonl(path: Path) -> list[Row]:
    """All rows of a file, none if there is no file. A last line that was never finished is left out.

    Raises:
        DamagedFileError: any other line is not a JSON object.
    """
    *lines, _unfinished = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{path}, line {number}: not JSON ({error}); mend or delete the line") from error
        if not isinstance(row, dict):
            raise DamagedFileError(f"{path}, line {number}: expected an object, found {type(row).__name__}")
        rows.append(row)
    return rows


def append_jsonl(path: Path, row: Mapping[str, object]) -> None:
    """Add one row; it is on disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(row))
        file.flush()
        os.fsync(file.fileno())


def rewrite_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Replace the file by these rows, whole or not at all. Do this before appending to a file of a killed process."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(map(_line, rows))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _line(row: Mapping[str, object]) -> str:
    try:
        text = json.dumps(row, allow_nan=False)
    except ValueError:
        text = json.dumps(without_nan(row), allow_nan=False)
    return f"{text}\n"
