"""Tell weights apart: a hash of files that does not read all of them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from motionfocal.models.pipeline_folder import INDEX, PipelineFolder

_MEGABYTE = 2**20
_STRIDE = 64 * _MEGABYTE


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """A short hash of the names below ``root``, the sizes, and a megabyte in 64 of each file, its last among them.

    Reading all of a large model takes minutes; what was trained differs in every megabyte.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(root)} {size}\n".encode())
        with path.open("rb") as file:
            for start in (*range(0, size, _STRIDE), max(0, size - _MEGABYTE)):
                file.seek(start)
                digest.update(file.read(_MEGABYTE))
    return digest.hexdigest()[:16]


def hash_pipeline(folder: PipelineFolder) -> str:
    """The same of the index and all parts of a pipeline folder, which are fetched if they are on the hub."""
    parts = [part for part in folder.index if folder.has(part)]
    folder.fetch(*parts)
    files = [path for part in parts for path in (folder.folder / part).rglob("*")]
    return hash_files([folder.folder / INDEX, *files], folder.folder)


def hash_path(path: Path) -> str:
    """The same of a file, or of all files in a folder."""
    return hash_files(path.rglob("*"), path) if path.is_dir() else hash_files([path], path.parent)
