"""What was measured, kept by content: a value is never computed twice, and nothing is lost on ``kill -9``."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from motionfocal.errors import DamagedFileError
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.metrics.metric import Values


class SampleStore:
    """A folder of JSONL files of ``{"key": ..., "values": {...}}``; each shard appends to one of its own."""

    def __init__(self, folder: Path, shard: str = "") -> None:
        """``shard`` names the file that is written to; all files are read.

        Raises:
            DamagedFileError: a file is not of this form.
        """
        self._path = folder / f"samples{shard and '.'}{shard}.jsonl"
        self._values: dict[str, Values] = {}
        for path in sorted(folder.glob("samples*.jsonl")):
            for row in read_jsonl(path):
                if not isinstance(row.get("key"), str) or not isinstance(row.get("values"), dict):
                    raise DamagedFileError(f"{path}: a row without key and values; delete the file, it is made anew")
                self._values[str(row["key"])] = cast("Values", row["values"])
        if self._path.is_file():
            rewrite_jsonl(self._path, read_jsonl(self._path))  # without the line that a killed process left unfinished

    def get(self, key: str) -> Values | None:
        """The values of a key, None where nothing was measured."""
        return self._values.get(key)

    def add(self, key: str, values: Values) -> None:
        """Keep values; they are on disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        append_jsonl(self._path, {"key": key, "values": values})
        self._values[key] = values


def key_of(parts: Mapping[str, object]) -> str:
    """A name for everything that decides values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
