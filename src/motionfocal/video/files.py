"""Files on disk: say clearly why one cannot be read, and never leave half of one behind."""

import hashlib
import secrets
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from motionfocal.errors import MediaError

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif", ".m4v", ".ts")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def require_file(path: Path) -> None:
    """Raise MediaError unless ``path`` is a file with something in it."""
    if path.is_dir():
        raise MediaError(f"{path}: is a folder; give the path of a file in it")
    if not path.exists():
        raise MediaError(f"{path}: there is no such file; check the path")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes); copy or download it again")


def item_of(stem: str, ids: Container[str]) -> tuple[str, int | None] | None:
    """The item and the seed that a video's name tells: ``<id>``, which has no seed, or ``<id>_<seed>``; else None.

    A name that is an id as a whole belongs to that id: where there are ``dog`` and ``dog_2``, ``dog_2.mp4`` is the
    second's.
    """
    if stem in ids:
        return stem, None
    item, _, seed = stem.rpartition("_")
    return (item, int(seed)) if item in ids and seed.isascii() and seed.isdigit() else None


def content_of(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises MediaError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes ``path``'s place only when the block ends well.

    Makes the parent folder. A process that is killed leaves the old file, or none, and never half of
    one; the name it leaves ends in ``.part``, so that no search for clips or images finds it.
    """
    try:
        if path.is_dir():  # which of a name that is too long is an error of its own
            raise MediaError(f"{path}: is a folder; give the path of a file in it")
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error}); check the folder and its rights") from error
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all. Raises MediaError when it cannot be written."""
    with replacing(path) as partial:
        try:
            partial.write_text(text, encoding="utf-8")
        except OSError as error:
            raise MediaError(
                f"{path}: cannot be written ({error.strerror or error}); see that the disk has room"
            ) from error
